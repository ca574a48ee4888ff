"""The dictionaries of fsspec's ``info`` and ``ls``. Pure."""

from __future__ import annotations

from memfs.client.stat import Stat
from memfs.types import Residence


def entry(
    path: str, own: Stat, leads_to: Stat | None, target: str | None = None
) -> dict[str, object]:
    """``own``: the attributes of what ``path`` names; ``leads_to``: those behind a symlink.

    A symlink has type and size of what it leads to, as fsspec's local file system has it; a broken
    one is of type ``other``.
    """
    link = own.is_symlink()
    shown = leads_to if link else own
    found: dict[str, object] = {
        "name": path,
        "size": shown.st_size if shown else 0,
        "type": _kind(shown),
        "islink": link,
        "mode": (shown or own).st_mode,
        "uid": (shown or own).st_uid,
        "gid": (shown or own).st_gid,
        "owner": (shown or own).owner,
        "group": (shown or own).group,
        "mtime": (shown or own).st_mtime,
        "created": (shown or own).st_ctime,
        "ino": (shown or own).st_ino,
        "nlink": (shown or own).st_nlink,
        "replication": (shown or own).replication,
        "version": version(shown or own),
    }
    if target is not None:
        found["destination"] = target
    return found


def in_memory(residence: Residence | None) -> dict[str, object]:
    """Further items of ``info`` for files below a mount of an external store."""
    if residence is None:
        return {}
    return {"state": residence.name, "in_memory_percent": residence.percent}


def version(of: Stat) -> str:
    """Identifies the version of a file: changes with every change, and differs between files."""
    return f"{of.st_ino:x}-{of.change:x}"


def _kind(of: Stat | None) -> str:
    if of is None or of.kind.special:
        return "other"
    return "directory" if of.is_dir() else "file"
