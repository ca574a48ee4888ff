"""Entry points of the installed scripts: from here on an interrupt ends them silently.

Imports nothing at the top, so that a Ctrl-C while the command is still being imported, which is
most of the time that a short command takes, is caught: exit status 130, as later. Before that only
Python's own start and the package's first lines run.
"""

_INTERRUPTED = 130


def main() -> None:
    """``memfs``, and ``python -m memfs.cli``."""
    try:
        from memfs.cli.main import main as command

        command()
    except KeyboardInterrupt:
        raise SystemExit(_INTERRUPTED) from None


def mount_helper() -> None:
    """``mount.memfs SOURCE DIRECTORY [-sfnv] [-o OPTIONS]``, as mount(8) calls it."""
    try:
        import sys

        from memfs.cli.fuse.mount_helper import arguments
        from memfs.cli.main import main as command

        command(arguments(sys.argv[1:]))
    except KeyboardInterrupt:
        raise SystemExit(_INTERRUPTED) from None
