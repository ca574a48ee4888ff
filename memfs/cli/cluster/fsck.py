"""``memfs fsck``: what the namespace says, against what the nodes hold.

The cluster goes on working meanwhile, so the order matters: first the nodes are listed, then the
namespace is read, and what seems to be missing is asked for once more at the end. A block that
the namespace names and that two looks do not find is missing; one that a node held before the
namespace was read and that no file names is an orphan (or belongs to a file being written). Names
that are removed or replaced while it walks are passed over; a hole has no copies and needs none.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import click

from memfs import errors, limits
from memfs.cli.command import Failed
from memfs.cli.options import PATH, Operand, json_option
from memfs.cli.shell import VANISHED, Shell, file_command, printable, write_json
from memfs.client.admin import AdminClient, FileReply
from memfs.quantities import counted
from memfs.types import Attributes, BlockRef, BlockVersion

if TYPE_CHECKING:
    from memfs.client.session.session import Session

_MISSING = errors.BlockNotFoundError.code
_UNREACHABLE = errors.UnavailableError.code
_COPIES = ("copy", "copies")


class FileProblem(NamedTuple):
    """One block with a problem."""

    path: str
    block: int
    kind: str
    """lost (no copy left), corrupt, or under-replicated."""
    good: int
    """How many copies exist."""
    wanted: int
    nodes: tuple[str, ...]
    """Where copies are missing or corrupt."""


class _Reference(NamedTuple):
    """A block as the namespace has it."""

    path: str
    ref: BlockRef
    wanted: int

    @property
    def version(self) -> BlockVersion:
        return self.ref.version


@file_command("fsck", example="memfs fsck --verify /data")
@click.argument("path", type=PATH, default="/")
@click.option("--verify", is_flag=True, help="Re-read every copy against its checksum.")
@click.option("-v", "--verbose", is_flag=True, help="Name the orphan blocks too.")
@json_option
async def fsck(shell: Shell, path: Operand, verify: bool, verbose: bool, as_json: bool) -> None:
    """Check files against the blocks of the nodes; exits with 1 if something is wrong.

    Needs the superuser. Orphans, blocks of no file, are swept by the nodes and are no error.
    """
    check = _Check(shell.session, verify)
    await check.list_nodes()
    files = blocks = 0
    suspects: list[_Reference] = []
    async for _, references in _references(shell, path):
        files += 1
        for reference in references:
            blocks += 1
            if check.is_suspect(reference):
                suspects.append(reference)
            check.named.add(reference.version)
    problems = await check.examine(suspects)
    for problem in problems:
        if as_json:
            write_json(problem._asdict())
        else:
            print(_line(problem))
    orphans = check.orphans() if path == "/" else []
    _conclude(files, blocks, problems, orphans, check.advice(problems), verbose, as_json)
    if problems:
        shell.status = 1


async def _references(shell: Shell, top: str) -> AsyncIterator[tuple[str, list[_Reference]]]:
    """Every file at or below ``top`` with its blocks, asked for in batches."""
    found = None
    with shell.attempt("cannot check", top):
        found = await shell.fs.lstat(top)
    if found is None:
        raise Failed
    if found.is_file():
        yield top, await _blocks_of(shell.admin, top, 0, [])
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
    answers = []
    for name, file in zip(batch, await shell.admin.files(batch), strict=True):
        with shell.attempt("cannot check", name, expected=VANISHED):
            if file.code:
                raise errors.from_wire(file.code, file.message, name)
            if file.attributes is not None:
                answers.append((name, await _all_blocks(shell.admin, name, file)))
    return answers


def _references_of(path: str, refs: Iterable[BlockRef], attributes: Attributes) -> list[_Reference]:
    """References of stored blocks: a hole has no copies to check."""
    return [_Reference(path, ref, attributes.replication) for ref in refs if ref.length]


async def _all_blocks(admin: AdminClient, path: str, file: FileReply) -> list[_Reference]:
    """The blocks of a file, those that did not fit the batch's reply included."""
    attributes, first = file.attributes, len(file.blocks)
    assert attributes is not None, "a file that was answered for"
    found = _references_of(path, file.blocks, attributes)
    count = -(-attributes.size // attributes.block_size) if attributes.block_size else 0
    return found if first >= count else await _blocks_of(admin, path, first, found)


async def _blocks_of(
    admin: AdminClient, path: str, start: int, known: list[_Reference]
) -> list[_Reference]:
    found = list(known)
    while True:
        reply = await admin.file_blocks(path, start, limits.BLOCKS_PER_RECORD)
        found += _references_of(path, reply.blocks, reply.attributes)
        start += len(reply.blocks)
        size, block_size = reply.attributes.size, reply.attributes.block_size
        if not reply.blocks or not block_size or start * block_size >= size:
            return found


class _Check:
    """What the nodes hold, and what the namespace names."""

    def __init__(self, session: Session, verify: bool = False) -> None:
        """``verify``: every copy is re-read, not only looked up."""
        self._session = session
        self._admin = AdminClient(session)
        self._verify_all = verify
        self._held: dict[int, set[BlockVersion]] = {}
        self.named: set[BlockVersion] = set()

    async def list_nodes(self) -> None:
        """Ask every member what it holds; one that does not answer holds nothing."""
        for number in self._session.known.members:
            try:
                self._held[number] = await self._admin.held_blocks(number)
            except errors.RetryableError as error:
                click.echo(f"memfs: {self._name(number)} does not answer: {error}", err=True)

    def is_suspect(self, reference: _Reference) -> bool:
        """Whether a copy may be bad, or there are fewer than the file asks for."""
        return self._may_lack(reference) or len(reference.ref.replicas) < reference.wanted

    def _may_lack(self, reference: _Reference) -> bool:
        """Whether the holders of a block have to be asked for their copies."""
        holders = [self._held.get(number, ()) for number in reference.ref.replicas]
        return self._verify_all or not all(reference.version in held for held in holders)

    async def examine(self, suspects: Sequence[_Reference]) -> list[FileProblem]:
        """Ask the nodes for copies that may be bad, then drop what has changed meanwhile."""
        by_member: dict[int, list[BlockVersion]] = defaultdict(list)
        for reference in filter(self._may_lack, suspects):
            for number in reference.ref.replicas:
                by_member[number].append(reference.version)
        codes: dict[tuple[int, BlockVersion], int] = {}
        for number, versions in by_member.items():
            for version, code in zip(versions, await self._verify(number, versions), strict=True):
                codes[number, version] = code
        problems = [self._judge(reference, codes) for reference in suspects]
        return [
            problem
            for reference, problem in zip(suspects, problems, strict=True)
            if problem is not None and await self._is_current(reference)
        ]

    async def _verify(self, number: int, versions: Sequence[BlockVersion]) -> list[int]:
        """A code per version: 0, not found, corrupt, or that the node cannot be asked."""
        codes: list[int] = []
        try:
            while len(codes) < len(versions):
                codes += await self._admin.verify_blocks(number, versions[len(codes) :])
        except errors.RetryableError:
            codes += [_UNREACHABLE] * (len(versions) - len(codes))
        return codes

    def _judge(
        self, reference: _Reference, codes: dict[tuple[int, BlockVersion], int]
    ) -> FileProblem | None:
        replicas = reference.ref.replicas
        bad = {n: code for n in replicas if (code := codes.get((n, reference.version), 0))}
        good = len(replicas) - len(bad)
        if good >= reference.wanted and not bad.keys() & self._session.known.members.keys():
            return None  # what names members that left is about to be tidied up
        corrupt = errors.CorruptBlockError.code in bad.values()
        kind = "lost" if not good else "corrupt" if corrupt else "under-replicated"
        names = tuple(self._name(number) for number in bad)
        return FileProblem(reference.path, reference.ref.index, kind, good, reference.wanted, names)

    async def _is_current(self, reference: _Reference) -> bool:
        """Whether the file still has that version of the block on those nodes."""
        try:
            reply = await self._admin.file_blocks(reference.path, reference.ref.index, 1)
        except errors.RequestError:
            return False
        return reply.blocks[:1] == (reference.ref,)

    def advice(self, problems: Sequence[FileProblem]) -> str:
        """What to do when nodes are too few for the copies that files ask for."""
        wanted = max((problem.wanted for problem in problems), default=0)
        nodes = len(self._session.known.members)
        if nodes >= wanted:
            return ""
        return f"add a node: {counted(nodes, 'node')} cannot hold {counted(wanted, *_COPIES)}"

    def orphans(self) -> list[tuple[str, BlockVersion]]:
        """Blocks that a node held and that no file names."""
        return [
            (self._name(number), version)
            for number, held in self._held.items()
            for version in sorted(held - self.named)
        ]

    def _name(self, number: int) -> str:
        member = self._session.known.members.get(number)
        return member.name if member is not None else f"member {number} (gone)"


def _line(problem: FileProblem) -> str:
    where = f" ({', '.join(problem.nodes)})" if problem.nodes else ""
    return (
        f"{printable(problem.path)}: block {problem.block}: {problem.kind}, "
        f"{problem.good} of {counted(problem.wanted, *_COPIES)}{where}"
    )


def _conclude(
    files: int,
    blocks: int,
    problems: Sequence[FileProblem],
    orphans: Iterable[tuple[str, BlockVersion]],
    advice: str,
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
    damaged = counts["lost"] or counts["corrupt"]
    verdict = "damaged" if damaged else "under-replicated" if problems else "healthy"
    left = counted(len(orphans), "orphan")
    sys.stdout.write(
        f"{counted(files, 'file')}, {counted(blocks, 'block')}: "
        f"{counts['lost']} lost, {counts['corrupt']} corrupt, "
        f"{counts['under-replicated']} under-replicated; {left}: {verdict}"
        f"{'; ' * bool(advice)}{advice}\n"
    )
