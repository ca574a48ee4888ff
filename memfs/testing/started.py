"""What tests start and must not leave behind: processes, containers, networks."""

from __future__ import annotations

import abc
from types import TracebackType
from typing import Self


class Started(abc.ABC):
    """Runs as long as its ``with`` block; its logs are added to an exception that leaves the
    block."""

    @abc.abstractmethod
    def set_up(self) -> None:
        """Start it. When this raises, whatever was already started is closed."""

    def story(self) -> str:
        """The ends of its logs, if it has any."""
        return ""

    @abc.abstractmethod
    def close(self) -> None:
        """Stop and remove everything."""

    def __enter__(self) -> Self:
        try:
            self.set_up()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and (story := self.story()):
            error.add_note(story)
        self.close()
