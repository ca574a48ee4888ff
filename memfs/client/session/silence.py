"""A cluster that does not answer: since when, what was tried, and the sentence for errors.

Owns what a session remembers of answers and failed searches. Must not know requests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from memfs.client.session.discovery import nobody
from memfs.errors import DeadlineError, MemfsError, OutcomeUnknownError, RetryableError

_DOUBT = "sent but not answered, it may or may not have happened; then: "


class Silence:
    """How long no node has answered; any answer resets it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """``clock``: seconds."""
        self.felt = False
        """The budget of a call ended without an answer, and there was none to another since."""
        self._clock = clock
        self._since = clock()
        self._tried: tuple[str, ...] = ()

    def broken(self) -> None:
        """Note that a node has answered."""
        self._since = self._clock()
        self._tried, self.felt = (), False

    def searched(self, tried: Sequence[str], of: int) -> str:
        """Note a search: how many nodes were asked, and which did not answer, with the reasons."""
        self._tried = tuple(tried) if len(tried) >= of else ()
        return self.sentence

    @property
    def sentence(self) -> str:
        """Who was out of reach at the last search, and since when; empty: somebody answered."""
        return nobody(self._tried, self._clock() - self._since) if self._tried else ""

    def end(self, error: MemfsError) -> MemfsError:
        """What a call whose budget is over raises instead of ``error``, its last failure.

        Where no node answers, which one was asked last says nothing.
        """
        said = self.sentence
        self.felt |= bool(said)
        if said and isinstance(error, RetryableError):
            return type(error)(said, path=error.filename)
        if said and isinstance(error, OutcomeUnknownError):
            return in_doubt(said, error.filename)
        return error


def in_doubt(then: str, path: str | None = None) -> OutcomeUnknownError:
    """What is raised for a command that was sent and not answered; ``then``: what came after."""
    return OutcomeUnknownError(f"{_DOUBT}{then}", path=path)


def no_doubt(error: OutcomeUnknownError, path: str | None = None) -> DeadlineError:
    """... for one of which nothing stays, whether it was carried out or not."""
    _, doubt, then = error.message.rpartition(_DOUBT)
    return DeadlineError(then if doubt else "no answer in time, and nothing was changed", path=path)
