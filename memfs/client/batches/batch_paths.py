"""The paths of one call on many files: which are requested, and the results of the others.

Owns the places of results: a name that no file can have fails its own place and no other. Must not
know what is done with the paths. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from memfs.client.calls.arguments import several
from memfs.client.calls.wire import PathLike, WirePath, wire
from memfs.errors import InvalidPathError, MemfsError, NameTooLongError, PathExistsError

T = TypeVar("T")


class BatchPaths:
    """The paths of a call in order; ``wanted`` are those to ask for."""

    def __init__(
        self, paths: Iterable[PathLike], form: Callable[[PathLike], WirePath] = wire
    ) -> None:
        """``form`` makes the wire form of one; a URL of another cluster is refused as a whole."""
        self.wanted: dict[int, WirePath] = {}
        """By their places."""
        self._errors: dict[int, MemfsError] = {}
        self._instead: dict[int, int] = {}
        self._count = 0
        for number, path in enumerate(several(paths)):
            self._count += 1
            try:
                self.wanted[number] = form(path)
            except (InvalidPathError, NameTooLongError) as error:
                self._errors[number] = error

    def check(self) -> None:
        """Raise the error of the first name that cannot be one."""
        for error in self._errors.values():
            raise error

    def only_last(self) -> None:
        """Of files that are written several times the last one wins, as one after the other."""
        last = {path.raw: number for number, path in self.wanted.items()}
        self._instead = {n: last[path.raw] for n, path in self.wanted.items()}
        self.wanted = {number: self.wanted[number] for number in sorted(last.values())}

    def only_first(self) -> None:
        """Of files that are created several times the second finds the first."""
        first: dict[bytes, int] = {}
        for number, path in self.wanted.items():
            if first.setdefault(path.raw, number) != number:
                self._errors[number] = PathExistsError("the name is taken", path=path.given)
        self.wanted = {number: self.wanted[number] for number in first.values()}

    def results(self, answers: Sequence[T], replaced: Sequence[T] = ()) -> list[T | MemfsError]:
        """Answers, which are those of ``wanted``, and errors in the order of the call.

        ``replaced``: what to say, by place, of a file that a later one of the call replaced.
        """
        if not self._errors and not self._instead:
            return list(answers)
        by_place: dict[int, T | MemfsError] = {
            **dict(zip(self.wanted, answers, strict=True)),
            **self._errors,
        }
        for number, other in self._instead.items():
            answer = by_place[other]
            if number != other:
                by_place[number] = answer if isinstance(answer, MemfsError) else replaced[number]
        return [by_place[number] for number in range(self._count)]


def checked(results: list[T], return_errors: bool) -> list[T]:
    """Raise the first error among ``results`` unless errors are results."""
    if not return_errors:
        for result in results:
            if isinstance(result, MemfsError):
                raise result
    return results
