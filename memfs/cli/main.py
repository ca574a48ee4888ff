"""Entry of the ``memfs`` command: finds the subcommand, and turns errors into exit codes.

Owns the list of commands and the exit codes: 0, 1 after any error, 2 for wrong usage, 130 after
Ctrl-C, 141 when the reader of the output has gone. Must not know any command: their modules are
imported when they are needed, so that ``memfs --help`` answers at once.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

import click

from memfs import installation

if _wrong := installation.mixture():
    sys.exit(f"memfs: {_wrong}")

from memfs import __version__
from memfs.cli import streams
from memfs.cli.options import cluster_options, remember

FAILURE, USAGE, INTERRUPTED, OUTPUT_CLOSED = 1, 2, 130, 141

_SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Files": {
        "ls": ("files.looking.listing", "List directories."),
        "tree": ("files.looking.tree", "Show a directory as a tree."),
        "find": ("files.looking.find", "Search trees, and act on what is found."),
        "test": ("files.looking.checks", "Tell what a path is."),
        "stat": ("files.looking.inspection", "Show all that is known of a file."),
        "du": ("files.looking.usage", "Show what trees hold."),
        "df": ("files.looking.usage", "Show the memory of the cluster."),
        "cat": ("files.looking.content", "Write files to the output."),
        "head": ("files.looking.content", "Show the beginning of files."),
        "tail": ("files.looking.content", "Show the end of files."),
        "touch": ("files.changing.content", "Create files, or set their times."),
        "truncate": ("files.changing.content", "Set the length of files."),
        "put": ("files.copying.copy", "Copy local files into the cluster."),
        "get": ("files.copying.copy", "Copy files of the cluster to here."),
        "cp": ("files.copying.copy", "Copy inside the cluster."),
        "sync": ("files.copying.sync", "Make a tree equal to another, here or there."),
        "mv": ("files.changing.names", "Rename or move."),
        "ln": ("files.changing.links", "Make links."),
        "readlink": ("files.looking.links", "Show where symbolic links lead."),
        "realpath": ("files.looking.links", "Show paths without symbolic links."),
        "rm": ("files.changing.removing", "Remove files and trees."),
        "mkdir": ("files.changing.names", "Make directories."),
        "rmdir": ("files.changing.names", "Remove empty directories."),
        "chmod": ("files.changing.attributes", "Change permissions."),
        "chown": ("files.changing.attributes", "Change owner and group."),
        "chgrp": ("files.changing.attributes", "Change the group."),
        "setrep": ("files.changing.attributes", "Set how many copies files want."),
        "checksum": ("files.looking.checksums", "Show checksums of files."),
        "xattr": ("files.changing.attributes", "Read and write extended attributes."),
        "getfacl": ("files.changing.access_control", "Show access control lists."),
        "setfacl": ("files.changing.access_control", "Change access control lists."),
        "quota": ("files.changing.access_control", "Show, set and clear quotas of directories."),
        "sign": ("files.changing.signatures", "Sign what files hold."),
        "verify": ("files.changing.signatures", "Check files against their signatures."),
        "keygen": ("files.changing.signatures", "Make keys that seal or sign files."),
        "recover-lease": ("files.changing.attributes", "End the lease of a writer that is gone."),
    },
    "External stores": {
        "mount": ("files.mounts", "Show what a store holds; list the mounts."),
        "unmount": ("files.mounts", "Take mounts away."),
        "load": ("files.mounts", "Fetch what stores hold into memory."),
        "free": ("files.mounts", "Give up the memory of what stores have too."),
        "pin": ("files.mounts", "Keep what is in memory of stores."),
        "persist": ("files.mounts", "Wait until the stores have all changes."),
        "sync-metadata": ("files.mounts", "Ask the stores anew."),
    },
    "Cluster": {
        "dev": ("serve.dev", "Run a cluster on this machine."),
        "node": ("serve.node", "Run one node."),
        "gateway": ("serve.gateway", "Serve WebHDFS for Hadoop, Spark and HTTP."),
        "fuse": ("fuse.group", "Show the cluster as a directory of this machine."),
        "cluster": ("cluster.group", "Show the state of the cluster."),
        "certs": ("cluster.certs", "Make certificates of nodes and users."),
        "user": ("cluster.accounts", "Let users prove themselves by keys."),
        "group": ("cluster.accounts", "Say who is in which group."),
        "token": ("cluster.tokens", "Get, renew and cancel delegation tokens."),
        "fsck": ("cluster.fsck", "Check files against the blocks of the nodes."),
        "bench": ("cluster.bench", "Measure the cluster from here."),
        "config": ("settings", "Show the settings in effect."),
        "completion": ("completion", "Print the completion script of a shell."),
        "tensorflow-hook": ("tensorflow_hook", "Register memfs:// in every TensorFlow here."),
    },
}
_COMMANDS = {name: found for section in _SECTIONS.values() for name, found in section.items()}


class _OutputClosed(Exception):
    """Nobody reads the output any more. Not a BrokenPipeError: click would make that a failure."""


class _Commands(click.Group):
    """A group that imports a command when it is asked for."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise _OutputClosed from None

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"memfs.cli.{_COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            import difflib

            close = difflib.get_close_matches(args[0], list(_COMMANDS), n=1)
            hint = f": did you mean {close[0]!r}?" if close else "; see memfs --help"
            raise click.UsageError(f"no such command {args[0]!r}{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The help texts of the table above: no command is imported for them."""
        for section, commands in _SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name, text) for name, (_, text) in commands.items()])


@click.command(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    epilog="Example: memfs dev --nodes 3 in one terminal, memfs put -r . /here in another.",
)
@cluster_options
@click.version_option(__version__, "--version", message="memfs %(version)s")
@click.pass_context
def memfs(ctx: click.Context, /, **given: object) -> None:
    """A distributed file system in memory.

    Paths are paths in the cluster: /data/file, or memfs://host:port/data/file. Quoted patterns
    ('/data/*.csv') are expanded there.
    """
    remember(ctx, given)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit."""
    streams.prepare()
    status = run(arguments)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        status = _output_closed()
    except streams.OutputError as error:
        status = _output_failed(error)
    sys.exit(status)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    from memfs.errors import ConfigError, MemfsError

    try:
        result = memfs.main(
            None if arguments is None else list(arguments), "memfs", standalone_mode=False
        )
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.exceptions.NoArgsIsHelpError as help_:  # of a group, without a command
        click.echo(help_.format_message(), err=True)
        return USAGE
    except click.UsageError as error:
        _say(f"{error.format_message()}\nTry 'memfs {_command_path(error)}--help'.")
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except _OutputClosed:
        return _output_closed()
    except streams.OutputError as error:
        return _output_failed(error)
    except (MemfsError, OSError, OverflowError, click.ClickException) as error:
        _say(_sentence(error))
        return USAGE if isinstance(error, ConfigError) else FAILURE


def _sentence(error: Exception) -> str:
    """What an error says, without the number that Python puts before it."""
    if isinstance(error, OSError) and error.errno is not None and str(error).startswith("[Errno"):
        named = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        return f"{named}{error.strerror}"
    return str(error)


def _say(text: str) -> None:
    for line in text.splitlines():
        click.echo(f"memfs: {line}", err=True)


def _command_path(error: click.UsageError) -> str:
    path = error.ctx.command_path if error.ctx else "memfs"
    return f"{path.removeprefix('memfs').strip()} ".lstrip()


def _output_closed() -> int:
    """End as if killed by SIGPIPE."""
    streams.discard()
    return OUTPUT_CLOSED


def _output_failed(error: streams.OutputError) -> int:
    streams.discard()
    _say(str(error))
    return FAILURE
