"""``memfs fsck``: what the namespace says, against what the nodes hold.

The cluster goes on working meanwhile, so the order matters: first the nodes are listed, then the
namespace is read, and what seems to be missing is asked for once more at the end. A block that
the namespace names and that two looks do not find is missing; one that a node held before the
namespace was read and that no file names is an orphan (or belongs to a file being written). Names
that are removed or replaced while it walks are passed over.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from memfs import errors, limits
from memfs.cli.options import PATH, Operand, json_option
from memfs.cli.shell import VANISHED, Shell, file_command, printable, write_json
from memfs.protocol import messages as m
from memfs.types import BlockRef

if TYPE_CHECKING:
    from memfs.client.session import Session

VERIFY_SECONDS = 300.0
_MISSING = errors.BlockNotFoundError.code
_UNREACHABLE = errors.UnavailableError.code
_BATCH = 500


class Problem(NamedTuple):
    """One block that is not as it should be."""

    path: str
    block: int
    kind: str
    """lost (no copy left), corrupt, or under-replicated."""
    good: int
    """Copies that are there."""
    wanted: int
    nodes: tuple[str, ...]
    """Where copies are missing or corrupt."""


class _Reference(NamedTuple):
    """A block as the namespace has it."""

    path: str
    ref: BlockRef
    wanted: int

    @property
    def version(self) -> m.BlockVersion:
        return m.BlockVersion(*self.ref[:4])


@file_command("fsck", example="memfs fsck --verify /data")
@click.argument("path", type=PATH, default="/")
@click.option("--verify", is_flag=True, help="Re-read every copy against its checksum.")
@click.option("-v", "--verbose", is_flag=True, help="Name the orphan blocks too.")
@json_option
async def fsck(shell: Shell, path: Operand, verify: bool, verbose: bool, as_json: bool) -> None:
    """Check files against the blocks of the nodes; exits with 1 if something is wrong.

    Needs the superuser. Orphans, blocks of no file, are swept by the nodes and are no error.
    """
    check = _Check(shell.session)
    await check.list_nodes()
    files = blocks = 0
    suspects: list[_Reference] = []
    async for _, references in _references(shell, path):
        files += 1
        for reference in references:
            blocks += 1
            if verify or check.is_suspect(reference):
                suspects.append(reference)
            check.named.add(reference.version)
    problems = await check.examine(suspects)
    for problem in problems:
        if as_json:
            write_json(problem._asdict())
        else:
            print(_line(problem))
    orphans = check.orphans() if path == "/" else []
    _conclude(files, blocks, problems, orphans, verbose, as_json)
    if problems:
        shell.status = 1


async def _references(shell: Shell, top: str) -> AsyncIterator[tuple[str, list[_Reference]]]:
    """Every file at or below ``top`` with its blocks, asked for in batches."""
    found = await shell.fs.lstat(top)
    if found.is_file():
        yield top, await _blocks_of(shell.session, top, 0, [])
        return
    batch: list[str] = []
    async for path, each in shell.below(top, expected=VANISHED):
        if each.is_file() and each.st_size:
            batch.append(path)
        elif each.is_file():
            yield path, []
        if len(batch) >= limits.FILES_PER_BATCH // 2:
            for pair in await _ask_batch(shell, batch):
                yield pair
            batch = []
    for pair in await _ask_batch(shell, batch):
        yield pair


async def _ask_batch(shell: Shell, batch: list[str]) -> list[tuple[str, list[_Reference]]]:
    session, answers = shell.session, []
    left = batch
    while left:
        paths = _fitting(left)
        reply = await session.ask(m.ReadFiles(paths, 0), deadline=session.deadline())
        for name, file in zip(left, reply.files, strict=False):
            with shell.attempt("cannot check", name, expected=VANISHED):
                if file.code:
                    raise errors.from_wire(file.code, file.message, name)
                if file.attributes is not None:
                    first = [_reference(name, ref, file.attributes) for ref in file.blocks]
                    answers.append((name, await _rest(session, name, file.attributes, first)))
        left = left[max(1, len(reply.files)) :]
    return answers


def _fitting(names: Sequence[str]) -> tuple[bytes, ...]:
    """As many paths as fit one record."""
    taken: list[bytes] = []
    room = limits.RECORD_BYTES // 2
    for name in names:
        raw = name.encode()
        room -= len(raw) + 5
        if room < 0 and taken:
            break
        taken.append(raw)
    return tuple(taken)


def _reference(path: str, ref: BlockRef, attributes: Any) -> _Reference:
    return _Reference(path, ref, attributes.replication)


async def _rest(
    session: Session, path: str, attributes: Any, first: list[_Reference]
) -> list[_Reference]:
    """The blocks that did not fit the batch's reply."""
    count = -(-attributes.size // attributes.block_size) if attributes.block_size else 0
    if len(first) >= count:
        return first
    return await _blocks_of(session, path, len(first), first)


async def _blocks_of(
    session: Session, path: str, start: int, known: list[_Reference]
) -> list[_Reference]:
    found = list(known)
    while True:
        request = m.GetBlocks(path.encode(), start, limits.BLOCKS_PER_RECORD)
        reply: m.BlocksReply = await session.ask(request, path)
        found += [_reference(path, ref, reply.attributes) for ref in reply.blocks]
        start += len(reply.blocks)
        size, block_size = reply.attributes.size, reply.attributes.block_size
        if not reply.blocks or not block_size or start * block_size >= size:
            return [each for each in found if each.ref.length]


class _Check:
    """What the nodes hold, and what the namespace names."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._held: dict[int, set[m.BlockVersion]] = {}
        self.named: set[m.BlockVersion] = set()

    async def list_nodes(self) -> None:
        """Ask every member what it holds; one that does not answer holds nothing."""
        for number in self._session.members:
            try:
                self._held[number] = await self._list(number)
            except errors.RetryableError as error:
                click.echo(f"memfs: {self._name(number)} does not answer: {error}", err=True)

    async def _list(self, number: int) -> set[m.BlockVersion]:
        held: set[m.BlockVersion] = set()
        after: m.BlockVersion | None = None
        while True:
            answer = await self._session.ask_member(
                number, m.ListBlocks(after), deadline=self._session.deadline()
            )
            page = [m.BlockVersion(*block[:4]) for block in answer.record.blocks]
            held.update(page)
            if not answer.record.more or not page:
                return held
            after = page[-1]

    def is_suspect(self, reference: _Reference) -> bool:
        """Whether a copy is missing as far as the lists say, or too few were ever made."""
        replicas = reference.ref.replicas
        wanted = min(reference.wanted, len(self._session.members))
        held = sum(reference.version in self._held.get(number, ()) for number in replicas)
        return held < max(wanted, len(replicas))

    async def examine(self, suspects: Sequence[_Reference]) -> list[Problem]:
        """Ask the nodes for each copy of the suspects, then drop what has changed meanwhile."""
        by_member: dict[int, list[m.BlockVersion]] = defaultdict(list)
        for reference in suspects:
            for number in reference.ref.replicas:
                by_member[number].append(reference.version)
        codes: dict[tuple[int, m.BlockVersion], int] = {}
        for number, versions in by_member.items():
            for version, code in zip(versions, await self._verify(number, versions), strict=True):
                codes[number, version] = code
        problems = [self._judge(reference, codes) for reference in suspects]
        return [
            problem
            for reference, problem in zip(suspects, problems, strict=True)
            if problem is not None and await self._is_current(reference)
        ]

    async def _verify(self, number: int, versions: Sequence[m.BlockVersion]) -> list[int]:
        """A code per version: 0, not found, corrupt, or that the node cannot be asked."""
        codes: list[int] = []
        try:
            for at in range(0, len(versions), _BATCH):
                answer = await self._session.ask_member(
                    number,
                    m.VerifyBlocks(tuple(versions[at : at + _BATCH])),
                    deadline=self._session.deadline(VERIFY_SECONDS),
                )
                codes += answer.record.codes
        except errors.RetryableError:
            codes += [_UNREACHABLE] * (len(versions) - len(codes))
        return codes

    def _judge(
        self, reference: _Reference, codes: dict[tuple[int, m.BlockVersion], int]
    ) -> Problem | None:
        replicas = reference.ref.replicas
        bad = {n: code for n in replicas if (code := codes[n, reference.version])}
        good = len(replicas) - len(bad)
        wanted = min(reference.wanted, len(self._session.members))
        if good >= wanted and not bad.keys() & self._session.members.keys():
            return None  # what names members that left is about to be tidied up
        corrupt = errors.CorruptBlockError.code in bad.values()
        kind = "lost" if not good else "corrupt" if corrupt else "under-replicated"
        names = tuple(self._name(number) for number in bad)
        return Problem(reference.path, reference.ref.index, kind, good, reference.wanted, names)

    async def _is_current(self, reference: _Reference) -> bool:
        """Whether the file still has that version of the block on those nodes."""
        request = m.GetBlocks(reference.path.encode(), reference.ref.index, 1)
        try:
            reply: m.BlocksReply = await self._session.ask(request, reference.path)
        except errors.RequestError:
            return False
        return reply.blocks[:1] == (reference.ref,)

    def orphans(self) -> list[tuple[str, m.BlockVersion]]:
        """Blocks that a node held and that no file names."""
        return [
            (self._name(number), version)
            for number, held in self._held.items()
            for version in sorted(held - self.named)
        ]

    def _name(self, number: int) -> str:
        member = self._session.members.get(number)
        return member.name if member is not None else f"member {number} (gone)"


def _line(problem: Problem) -> str:
    where = f" ({', '.join(problem.nodes)})" if problem.nodes else ""
    return (
        f"{printable(problem.path)}: block {problem.block}: {problem.kind}, "
        f"{problem.good} of {problem.wanted} copies{where}"
    )


def _conclude(
    files: int,
    blocks: int,
    problems: Sequence[Problem],
    orphans: Iterable[tuple[str, m.BlockVersion]],
    verbose: bool,
    as_json: bool,
) -> None:
    orphans = list(orphans)
    if verbose and not as_json:
        for node, version in orphans:
            print(f"orphan on {node}: inode {version.inode:#x} block {version.index}")
    counts = {
        kind: sum(problem.kind == kind for problem in problems)
        for kind in ("lost", "corrupt", "under-replicated")
    }
    if as_json:
        write_json({"files": files, "blocks": blocks, "orphans": len(orphans)} | counts)
        return
    verdict = "damaged" if problems else "healthy"
    sys.stdout.write(
        f"{files} files, {blocks} blocks: {counts['lost']} lost, {counts['corrupt']} corrupt, "
        f"{counts['under-replicated']} under-replicated; {len(orphans)} orphans: {verdict}\n"
    )
