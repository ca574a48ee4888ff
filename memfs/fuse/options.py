"""The options of a mount, given by ``-o``. Pure.

Owns their names, their meaning and their defaults; ``docs/mount.md`` is written from here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from memfs import limits
from memfs.errors import ConfigError
from memfs.fuse.kernel.mounting import REMOUNT, is_flag
from memfs.quantities import parse_duration, parse_size

IGNORED = ("_netdev", "noauto", "auto", "nofail", "user", "nouser", "users", "owner", "defaults")
"""Words of /etc/fstab for other programs: mount(8), systemd."""
_OF_THE_KERNEL = ("user_id=", "group_id=", "rootmode=", "max_read=", "default_permissions")
"""Words of the table of mounts, which mount(8) gives back when it mounts again."""
_IGNORED_PREFIXES = ("x-", "comment=", "fsname=", "subtype=")


def option(default: object, text: str, parse: object = None) -> Any:
    """A field of :class:`MountOptions`, set by ``-o``. ``parse``: its value; None: a switch."""
    return field(default=default, metadata={"text": text, "parse": parse})


@dataclass(frozen=True, kw_only=True)
class MountOptions:
    """How one mount behaves."""

    allow_other: bool = option(
        None, "Others than who mounts may enter: yes for root, no for others unless given."
    )
    nowait: bool = option(
        False, "Writing a file that another host writes fails at once (EBUSY) instead of waiting."
    )
    writeback: bool = option(
        False,
        "The kernel gathers writes before it passes them on: small ones get faster, and others see "
        "them later. Only where no other host writes the same files.",
    )
    attr_timeout: float = option(
        0.0, "Seconds that the kernel believes attributes without asking.", parse_duration
    )
    entry_timeout: float = option(
        0.0, "Seconds that the kernel believes names without asking.", parse_duration
    )
    negative_timeout: float = option(
        0.0, "Seconds that the kernel believes that a name does not exist.", parse_duration
    )
    readahead: int = option(
        8 * limits.MIB, "Bytes that the kernel reads ahead of a sequential reader.", parse_size
    )
    timeout: float = option(
        30.0, "Seconds that a call waits for the cluster before it fails (EIO).", parse_duration
    )
    user: str = option(
        "", "On whose behalf the mount works; default: who mounts. Its files are everybody's.", str
    )
    words: tuple[str, ...] = ()
    """What mount(2) knows by itself: ro, noexec..."""


def describe() -> Iterator[tuple[str, object, str]]:
    """Name, default and text of each option."""
    for each in fields(MountOptions):
        if "text" in each.metadata:
            yield each.name, each.default, each.metadata["text"]


def markdown() -> str:
    """The table of options in ``docs/mount.md``."""
    lines = ["| option | default | meaning |", "|---|---|---|"]
    for name, default, text in describe():
        shown = "" if default in (None, "") or default is False else f"{default:g}"
        lines.append(f"| `{name}` | {shown} | {text} |")
    return "\n".join(lines) + "\n"


def parse(texts: tuple[str, ...]) -> MountOptions:
    """Options from the arguments of ``-o``. Raises ConfigError, which names what is possible."""
    known = {each.name: each for each in fields(MountOptions) if "text" in each.metadata}
    given: dict[str, Any] = {}
    words: list[str] = []
    for word in _words(texts):
        name, equals, value = word.partition("=")
        if is_flag(word):
            words.append(word)
        elif word in IGNORED or word.startswith(_IGNORED_PREFIXES):
            continue
        elif name not in known:
            possible = ", ".join(known)
            raise ConfigError(f"-o {word}: no such option; there are {possible}, ro, noexec...")
        else:
            given[name] = _value(name, known[name].metadata["parse"], equals, value)
    return MountOptions(**given, words=(*_SAFE, *words))


def flags(texts: tuple[str, ...]) -> list[str] | None:
    """The new words for mount(2) when a mount is to be changed (``remount``), else None.

    Raises ConfigError.
    """
    words = list(_words(texts))
    if REMOUNT not in words:
        return None
    others = [word for word in words if word != REMOUNT and not word.startswith(_OF_THE_KERNEL)]
    return list(parse((",".join(others),)).words)


_SAFE = ("nosuid", "nodev")
"""Set unless ``suid`` or ``dev`` is given: a superuser of another host must not become superuser
here."""


def _words(texts: tuple[str, ...]) -> Iterator[str]:
    for text in texts:
        yield from filter(None, (word.strip() for word in text.split(",")))


def _value(name: str, parser: Callable[[str], object] | None, equals: str, value: str) -> object:
    if parser is None:
        if equals:
            raise ConfigError(f"-o {name} takes no value")
        return True
    if not value:
        raise ConfigError(f"-o {name}= needs a value")
    try:
        return parser(value)
    except ValueError as error:
        raise ConfigError(f"-o {name}={value}: {error}") from None
