"""``memfs fuse``: mount, umount and list, and the processes behind a mount."""

from __future__ import annotations

import click

from memfs.cli.command import example_text
from memfs.cli.options import (
    PATH,
    LocalPath,
    WholeNumber,
    client_config,
    cluster_options,
    json_option,
    options_of,
    remember,
)
from memfs.cli.shell import write_json


@click.group("fuse", epilog=example_text("memfs fuse mount /data /mnt/data -o ro"))
def fuse() -> None:
    """Show the cluster as a directory of this machine."""


@fuse.command(
    "mount",
    epilog=example_text(
        "memfs fuse mount /mnt/memfs",
        "memfs fuse mount memfs://node1:10500,node2:10500/data /mnt/data -o ro,timeout=60",
    ),
)
@cluster_options
@click.option("-o", "options", multiple=True, metavar="OPTIONS", help="See below; repeatable.")
@click.option("-f", "--foreground", is_flag=True, help="Stay, and log to stderr.")
@click.option("--log-file", metavar="FILE", help="Where to log in the background.")
@click.option(
    "--monitoring-port",
    type=WholeNumber(1, 65535),
    metavar="PORT",
    help="Serve /metrics, /healthz and /readyz on this port of loopback.",
)
@click.option("--log-level", default="warning", show_default=True, help="debug, info, warning...")
@click.argument("operands", nargs=-1, required=True, type=LocalPath(), metavar="[SOURCE] DIRECTORY")
@click.pass_context
def mount(
    ctx: click.Context,
    /,
    options: tuple[str, ...],
    foreground: bool,
    log_file: str | None,
    log_level: str,
    monitoring_port: int | None,
    operands: tuple[str, ...],
    **given: object,
) -> int:
    """Show a directory of the cluster (SOURCE, / unless it is given) as DIRECTORY.

    The command returns when the mount can be used; processes in the background serve it until
    `memfs fuse umount`. What -o takes is described in docs/mount.md.
    """
    from memfs.cli.fuse import serving
    from memfs.fuse.kernel.mounting import check_directory, remount
    from memfs.fuse.options import flags

    remember(ctx, given)
    if len(operands) > 2:
        raise click.UsageError("at most a source and a directory", ctx)
    directory = operands[-1]
    if (words := flags(options)) is not None:
        remount(check_directory(directory), words)
        return 0
    path = PATH.convert(operands[0], None, ctx).bare if len(operands) == 2 else "/"
    file, port = options_of(ctx).config, monitoring_port or 0
    plan = serving.Plan.of(client_config(ctx), file, path, directory, options, port)
    if foreground:
        return serving.keep(plan, log_level)
    return serving.start(plan, log_level, log_file)


@fuse.command("umount", epilog=example_text("memfs fuse umount /mnt/memfs"))
@click.option("-l", "--lazy", is_flag=True, help="Now, and for open files when they are closed.")
@click.argument("directories", nargs=-1, required=True, type=LocalPath(), metavar="DIRECTORY...")
def umount(lazy: bool, directories: tuple[str, ...]) -> int:
    """End mounts. What was written is in the cluster when the command returns."""
    from memfs.fuse.kernel.mounting import MountError, unmount

    status = 0
    for directory in directories:
        try:
            unmount(directory, lazy=lazy)
        except MountError as error:
            click.echo(f"memfs: {error}", err=True)
            status = 1
    return status


@fuse.command("list", epilog=example_text("memfs fuse list --json"))
@json_option
def list_(as_json: bool) -> None:
    """List the mounts of this machine."""
    from memfs.fuse.kernel.mounting import mounts

    for found in mounts():
        if as_json:
            write_json(
                {
                    "directory": found.directory,
                    "source": found.source,
                    "options": list(found.options),
                }
            )
        else:
            click.echo(f"{found.source} on {found.directory} ({','.join(found.options)})")
