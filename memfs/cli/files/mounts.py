"""``memfs mount``, ``unmount``, ``load``, ``free``, ``pin``, ``persist``, ``sync-metadata``."""

from __future__ import annotations

from posixpath import normpath
from typing import Any

import click
from click.core import ParameterSource

from memfs.cli.files.progress import shown_progress
from memfs.cli.options import PATH, Operand, Quantity, WholeNumber, json_option
from memfs.cli.quoting import in_a_line
from memfs.cli.shell import Shell, file_command, printable, quoted, reason, write_json
from memfs.client.mounts import MODES, MountInfo
from memfs.quantities import counted, parse_duration, parse_size, show_duration, show_size


class _Option(click.ParamType[tuple[str, str]]):
    """``name=value``."""

    name = "name=value"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        name, equals, text = str(value).partition("=")
        if not equals or not name:
            self.fail(f"{value!r} is not NAME=VALUE", param, ctx)
        return name, text


def _interval(raw: object) -> float:
    """A duration, or -1."""
    return -1.0 if str(raw) == "-1" else parse_duration(raw)


@file_command(
    "mount",
    example="memfs mount /training-data s3://bucket/prefix --read-only --shared "
    "-o endpoint=http://s3:9000\nmemfs mount",
)
@click.argument("path", type=PATH, required=False)
@click.argument("store", required=False, metavar="URL")
@click.option(
    "-o", "--option", "options", multiple=True, type=_Option(), help="Of the store; several."
)
@click.option(
    "--read-only/--read-write", default=False, help="Whether nothing can be changed below."
)
@click.option(
    "--shared/--private", default=False, help="For all users, by the mode bits of what is shown."
)
@click.option("--mode", type=click.Choice(list(MODES)), default="dual-async", show_default=True)
@click.option(
    "--policy",
    type=click.Choice(["aged", "keep", "lru"]),
    default="aged",
    show_default=True,
    help="Which blocks stay in memory.",
)
@click.option("--ttl", type=Quantity("duration", parse_duration), default=0.0)
@click.option(
    "--sync-interval",
    type=Quantity("duration", _interval),
    default=60.0,
    help="How long what the store said counts; 0: for one request, -1: for ever.",
)
@click.option("--copies", type=WholeNumber(1), default=1, help="Nodes that keep a block.")
@click.option(
    "--quota",
    type=Quantity("size", parse_size),
    default=0,
    help="Memory for its blocks on all nodes together; 0: as much as there is.",
)
@click.option("--update", is_flag=True, help="Change what is given of how it is mounted.")
@json_option
async def mount(
    shell: Shell,
    path: Operand | None,
    store: str | None,
    options: tuple[tuple[str, str], ...],
    as_json: bool,
    **how: Any,
) -> None:
    """Show what an external store holds below PATH; without arguments: list the mounts.

    Secrets are not options: name a file on the nodes (--option credentials=FILE), or leave them
    to the nodes' environment.
    """
    if path is None:
        found = await shell.fs.mounts()
        if as_json:
            write_json([each._asdict() for each in found])
            return
        for each in found:
            print(_line(each))
        return
    if store is None and not how["update"]:
        raise click.UsageError("what is to be mounted? Give a URL, as s3://bucket/prefix")
    with shell.attempt("cannot mount", path):
        if how["update"]:
            held = [each for each in await shell.fs.mounts() if each.path == normpath(path)]
            options, how = _updated(held, options, how)
        done = await shell.fs.mount(path, store or "", options=dict(options), **how)
        if as_json:
            write_json(done._asdict())


def _updated(
    held: list[MountInfo], options: tuple[tuple[str, str], ...], how: dict[str, object]
) -> tuple[tuple[tuple[str, str], ...], dict[str, object]]:
    """The new settings of a mount: the present ones, replaced by those on the command line."""
    context = click.get_current_context()
    for mount in held:
        kept = {
            name: getattr(mount, name)
            for name in how.keys() & set(MountInfo._fields)
            if context.get_parameter_source(name) is ParameterSource.DEFAULT
        }
        return tuple((mount.options | dict(options)).items()), how | kept
    return options, how


def _line(each: MountInfo) -> str:
    words = [each.mode]
    words += ["read-only"] if each.read_only else []
    words += ["shared"] if each.shared else []
    words += [f"policy={each.policy}", f"sync-interval={show_duration(each.sync_interval)}"]
    words += [f"quota={show_size(each.quota)}"] if each.quota else []
    words += [f"{name}={in_a_line(value)}" for name, value in each.options.items()]
    words += [f"{each.dirty_files} not stored yet"] if each.dirty_files else []
    words += [f"trouble: {in_a_line(each.trouble)}"] if each.trouble else []
    return f"{printable(each.url)}  on  {printable(each.path)}  ({', '.join(words)})"


@file_command("unmount", example="memfs unmount /training-data")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")
@click.option("--discard", is_flag=True, help="Give up changes that the store does not have.")
async def unmount(shell: Shell, paths: tuple[Operand, ...], discard: bool) -> None:
    """Take mounts away; the stores keep what they have."""
    for path in paths:
        with shell.attempt("cannot unmount", path):
            await shell.fs.unmount(path, discard=discard)


@file_command("load", example="memfs load /training-data")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")
@click.option("--metadata-only", is_flag=True, help="Names and attributes, no content.")
@click.option(
    "--bandwidth", type=Quantity("size", parse_size), default=0, help="Bytes a second at most."
)
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
async def load(
    shell: Shell, paths: tuple[Operand, ...], metadata_only: bool, bandwidth: int, quiet: bool
) -> None:
    """Fetch what stores hold below PATH into memory, spread over the nodes.

    On a terminal a bar shows how far it is. What cannot be fetched is named and does not stop the
    rest; the status is 1 then.
    """
    for path in await shell.expand(paths, "cannot load"):
        with shell.attempt("cannot load", path):
            with shown_progress(quiet) as report:
                done = await shell.fs.load(
                    path,
                    metadata_only=metadata_only,
                    bandwidth=bandwidth,
                    progress=report.progress,
                    return_errors=True,
                )
            for failure in done.failures:
                shell.complain(f"cannot load {quoted(failure.path)}: {reason(failure.error)}")
            _say(path, done.files, done.bytes, "listed" if metadata_only else "in memory")


def _say(path: str, files: int, size: int, how: str) -> None:
    print(f"{printable(path)}: {counted(files, 'file')}, {show_size(size)}, {how}")


@file_command("free", example="memfs free /training-data/old")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")
async def free(shell: Shell, paths: tuple[Operand, ...]) -> None:
    """Give up the memory of what stores have too, pinned or not; changes stay."""
    for path in await shell.expand(paths, "cannot free"):
        with shell.attempt("cannot free", path):
            done = await shell.fs.free(path)
            _say(path, done.files, done.bytes, "given up")


@file_command("pin", example="memfs pin /training-data/hot --ttl 2h")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")
@click.option("--ttl", type=Quantity("duration", parse_duration), default=0.0, help="For so long.")
@click.option("--unpin", is_flag=True, help="Do so no more.")
async def pin(shell: Shell, paths: tuple[Operand, ...], ttl: float, unpin: bool) -> None:
    """Keep in memory what is there, or comes there, of PATH, whatever else needs room."""
    for path in await shell.expand(paths, "cannot pin"):
        with shell.attempt("cannot pin", path):
            await shell.fs.pin(path, ttl=ttl, unpin=unpin)


@file_command("persist", example="memfs persist /checkpoints")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")
async def persist(shell: Shell, paths: tuple[Operand, ...]) -> None:
    """Return when the stores have all that was changed below PATH."""
    for path in await shell.expand(paths, "cannot persist"):
        with shell.attempt("cannot persist", path):
            count = await shell.fs.persist(path)
            print(f"{printable(path)}: {counted(count, 'change')} stored")


@file_command("sync-metadata", example="memfs sync-metadata /training-data")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")
async def sync_metadata(shell: Shell, paths: tuple[Operand, ...]) -> None:
    """Ask the stores anew about all that is known below PATH."""
    for path in await shell.expand(paths, "cannot ask about"):
        with shell.attempt("cannot ask about", path):
            await shell.fs.sync_metadata(path)
