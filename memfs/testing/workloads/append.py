"""Appending unique records: to logs that one writer at a time has, and by stealing the lease.

Records have one width, which divides the block size: each lies in one block, so that a writer
that fails half way leaves whole records.
"""

from __future__ import annotations

import asyncio
import random

from memfs.client.filesystem import AsyncFileSystem
from memfs.errors import (
    LeaseHeldError,
    MemfsError,
    OutcomeUnknownError,
    PathNotFoundError,
    RequestError,
)
from memfs.testing.checkers.append_log import LogRead, check_log, log_read
from memfs.testing.checkers.single_writer import check_sessions
from memfs.testing.checkers.violation import Torn, Violation
from memfs.testing.history import Outcome, classify
from memfs.testing.workloads.base import Workload

WIDTH = 64
"""Bytes of a record, its newline included."""
RECORDS_MAX = 1500
"""Records of a log before the next one is used: every reader reads all of it."""


def record_of(name: str) -> str:
    """A record of the right width."""
    return name.ljust(WIDTH - 1, ".") + "\n"


def records_of(data: bytes) -> list[str] | Torn:
    """The records of a log, or what is wrong with it."""
    if len(data) % WIDTH:
        return Torn(f"{len(data)} bytes are no multiple of {WIDTH}")
    records = [data[at : at + WIDTH].decode(errors="replace") for at in range(0, len(data), WIDTH)]
    for number, record in enumerate(records):
        if not record.endswith("\n") or record.count("\n") > 1:
            return Torn(f"record {number} of {len(records)} is {record!r}")
    return records


class AppendLog(Workload):
    """Writers append records to shared logs, one at a time; readers read whole logs."""

    def __init__(self, *args: object, **options: object) -> None:
        """As Workload."""
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self._round = 0
        self._numbers: dict[str, int] = {}
        self._refused: dict[str, int] = {}
        self._logs: dict[str, None] = {}

    async def write(self, fs: AsyncFileSystem, process: str, dice: random.Random) -> None:
        key = self._log(dice)
        number = self._numbers[process] = self._numbers.get(process, 0) + 1
        record = record_of(f"{process}:{number}")
        call = await self.record(process, key, "append", record, self._append(fs, key, record))
        if call.outcome is Outcome.FAIL and LeaseHeldError.__name__ in call.error:
            await self._refuse(fs, key)

    async def read(self, fs: AsyncFileSystem, process: str, dice: random.Random) -> None:
        key = self._log(dice)
        call = await self.record(process, key, "read", None, self._look(fs, key))
        if call.ok and isinstance(call.result, LogRead) and call.result.count > RECORDS_MAX:
            self._round += 1

    async def check_history(self, fs: AsyncFileSystem) -> list[Violation]:
        found = []
        for key in self._logs:
            final = await self.surely(lambda key=key: self._records(fs, key))  # type: ignore[misc]
            found += self._judge_log(key, final)
        return found

    def _judge_log(self, key: str, final: list[str] | Torn) -> list[Violation]:
        calls = self.calls(key)
        if isinstance(final, Torn):
            call = self.history.begin("final", key, "read")
            self.history.end(call, final)
            return check_log(key, [*calls, call], [])
        return check_log(key, calls, final)

    def _log(self, dice: random.Random) -> str:
        key = self.path(f"log-{self._round}-{dice.randrange(self.sizes.keys)}")
        self._logs[key] = None
        return key

    async def _append(self, fs: AsyncFileSystem, key: str, record: str) -> None:
        """Open, append, close: one commit publishes the record."""
        timeout = self.sizes.timeout_seconds
        file = await fs.open(key, "ab", timeout=timeout)
        try:
            await file.write(record.encode(), timeout=timeout)
        except MemfsError as error:
            await _close_anyway(file)
            raise OutcomeUnknownError(f"closing may have published it: {error}") from error
        except BaseException:
            await _close_anyway(file)
            raise
        await file.close()

    async def _refuse(self, fs: AsyncFileSystem, key: str) -> None:
        """After some refusals the holder is taken for dead: its lease is ended."""
        self._refused[key] = self._refused.get(key, 0) + 1
        if self._refused[key] % 5 == 0:
            await _recover(fs, key, self.sizes.timeout_seconds)

    async def _look(self, fs: AsyncFileSystem, key: str) -> LogRead | Torn:
        records = await self._records(fs, key)
        return records if isinstance(records, Torn) else log_read(records)

    async def _records(self, fs: AsyncFileSystem, key: str) -> list[str] | Torn:
        try:
            return records_of(await fs.read_bytes(key, timeout=self.sizes.timeout_seconds))
        except PathNotFoundError:
            return []


class LeaseSteal(AppendLog):
    """Writers that keep a file open and flush, while others end their lease and take it over."""

    async def write(self, fs: AsyncFileSystem, process: str, dice: random.Random) -> None:
        key = self._log(dice)
        timeout = self.sizes.timeout_seconds
        try:
            file = await fs.open(key, "ab", timeout=timeout)
        except LeaseHeldError:
            await _recover(fs, key, timeout)
            return
        except MemfsError:
            return
        session = self._numbers[process] = self._numbers.get(process, 0) + 1
        await self._session(file, f"{process}-{session}", key, process, dice)

    async def _session(
        self, file: object, session: str, key: str, process: str, dice: random.Random
    ) -> None:
        """Flush record after record until the first failure, or long enough."""
        last = dice.randrange(1, 12)
        for number in range(last + 1):
            record = record_of(f"{session}:{number}")
            if not await self._flush(file, record, key, process, number == last):
                return
            await self._pause(dice)

    async def _pause(self, dice: random.Random) -> None:
        await asyncio.sleep(dice.expovariate(1 / self.sizes.pause_seconds))

    async def _flush(self, file: object, record: str, key: str, process: str, last: bool) -> bool:
        """Append one record and publish it; False when the session is over.

        What a failed flush leaves in the writer is published by closing: the outcome is known
        only after that.
        """
        call = self.history.begin(process, key, "append", record)
        failure: MemfsError | None = None
        try:
            await file.write(record.encode(), timeout=self.sizes.timeout_seconds)  # type: ignore[attr-defined]
            if last:
                await file.close()  # type: ignore[attr-defined]
            else:
                await file.flush(timeout=self.sizes.timeout_seconds)  # type: ignore[attr-defined]
        except MemfsError as error:
            failure = error
        except BaseException as error:
            self.history.fail(call, error)
            raise
        if failure is None:
            self.history.end(call)
            return not last
        closing = None if last else await _close_anyway(file)
        if not last and closing is None:
            self.history.fail(call, OutcomeUnknownError(f"{failure}; then closed"))
        else:
            outcomes = [error for error in (failure, closing) if error is not None]
            unsure = [e for e in outcomes if classify(e) is Outcome.UNKNOWN]
            self.history.fail(call, (unsure or outcomes)[-1])
        return False

    def _judge_log(self, key: str, final: list[str] | Torn) -> list[Violation]:
        found = super()._judge_log(key, final)
        if not isinstance(final, Torn):
            found += check_sessions(
                key, self.calls(key), [record.rstrip(".\n") for record in final]
            )
        return found


async def _close_anyway(file: object) -> MemfsError | None:
    """Close after a failure; the error of closing, if any."""
    try:
        await file.close()  # type: ignore[attr-defined]
    except MemfsError as error:
        return error
    return None


async def _recover(fs: AsyncFileSystem, key: str, timeout: float) -> None:
    """End whoever holds the lease; a refusal means that somebody else was faster."""
    try:
        await fs.recover_lease(key, timeout=timeout)
    except (RequestError, MemfsError):
        return
