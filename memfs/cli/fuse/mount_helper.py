"""What mount(8) asks of ``mount.memfs``, as arguments of ``memfs fuse mount``. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from memfs.errors import ConfigError

USAGE = "usage: mount.memfs SOURCE DIRECTORY [-sfnv] [-N NAMESPACE] [-t TYPE] [-o OPTIONS]"


def arguments(given: Sequence[str]) -> list[str]:
    """The arguments of ``memfs``. Raises ConfigError.

    Of what mount(8) may pass, ``-f`` (do not mount), ``-s`` (overlook unknown options), ``-n`` and
    ``-v`` mean nothing here but the first.
    """
    operands: list[str] = []
    options: list[str] = []
    rest = list(given)
    while rest:
        word = rest.pop(0)
        if word in ("-o", "-t", "-N"):
            if not rest:
                raise ConfigError(USAGE)
            value = rest.pop(0)
            if word == "-o":
                options += ["-o", value]
        elif word.startswith("-") and len(word) > 1:
            if "f" in word:
                return ["fuse", "list"]
        else:
            operands.append(word)
    if len(operands) != 2:
        raise ConfigError(USAGE)
    return ["fuse", "mount", *options, "--", *operands]
