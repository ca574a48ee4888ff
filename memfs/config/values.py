"""Values of settings: each parser takes what a file, a variable or a caller gives.

Pure. A parser returns the value in its type or raises ValueError or MemfsError with a reason that
says what to write instead.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from typing import TypeAlias, TypeVar

from memfs import limits, machine
from memfs.limits import MIB
from memfs.paths import (
    Endpoint,
    parse_endpoint,
    parse_etcd_url,
    parse_url,
    without_password,
)
from memfs.quantities import parse_size
from memfs.security.keys import key_of

T = TypeVar("T")
N = TypeVar("N", int, float)
Parser: TypeAlias = Callable[[object], T]

PROCESS_BYTES = 192 * MIB
"""What a node takes beside its blocks: 60 MiB for the process, 64 for the log that is kept for
backups, up to 64 for blocks that arrive, and what probes and the kernel need in its container."""
HTTP_PORT = 9870
"""What ``webhdfs://host/`` means."""


def memory(raw: object) -> int:
    """Bytes, or a share of the memory that this process may use: ``16GiB``, ``50%``."""
    if isinstance(raw, str) and raw.strip().endswith("%"):
        found = re.fullmatch(r"\s*(\d{1,3}(?:\.\d+)?)\s*%\s*", raw, re.ASCII)
        if found is None or not 0 < float(found[1]) <= 100:
            raise ValueError(f"{raw!r} is no share of memory: write 1% to 100%")
        usable = machine.usable_memory()
        return min(round(usable * float(found[1]) / 100), memory_left(usable))
    return parse_size(raw)


def memory_left(usable: int) -> int:
    """Bytes for blocks out of the memory of a whole process, less what the rest of it needs."""
    return max(usable - PROCESS_BYTES, usable // 2)


def text(raw: object) -> str:
    """Printable text: nothing that could forge a line of a log."""
    if not isinstance(raw, str) or not raw.isprintable():
        raise ValueError(f"{raw!r} is no printable text")
    return raw


def secret_keys(raw: object) -> tuple[bytes, ...]:
    """Keys of 32 bytes each: bytes, or text in base64 or hex, several separated by commas."""
    if isinstance(raw, str):
        return tuple(key_of(each) for each in raw.split(",") if each.strip())
    if isinstance(raw, bytes):
        return (key_of(raw),)
    if not isinstance(raw, Iterable):
        raise ValueError("the keys are neither text nor bytes")
    return tuple(key_of(each) for each in raw)


def flag(raw: object) -> bool:
    """``true``, ``yes``, ``on``, ``1``, or their opposites."""
    known = {"true": True, "yes": True, "on": True, "1": True}
    known |= {"false": False, "no": False, "off": False, "0": False}
    if isinstance(raw, bool):
        return raw
    if not isinstance(raw, str) or raw.strip().lower() not in known:
        raise ValueError(f"{raw!r} is neither true nor false")
    return known[raw.strip().lower()]


def whole(raw: object) -> int:
    """A whole number."""
    if isinstance(raw, str) and re.fullmatch(r"\s*-?\d+\s*", raw, re.ASCII):
        return int(raw)
    if isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    raise ValueError(f"{raw!r} is no whole number")


def number(raw: object) -> float:
    """A number, not negative when it is text."""
    if isinstance(raw, (int, float)) and not isinstance(raw, bool):
        return float(raw)
    if isinstance(raw, str) and re.fullmatch(r"\s*\d+(\.\d+)?\s*", raw, re.ASCII):
        return float(raw)
    raise ValueError(f"{raw!r} is no number")


def words(raw: object) -> tuple[str, ...]:
    """``a,b,c`` or a list of such."""
    parts = raw.split(",") if isinstance(raw, str) else raw
    if not isinstance(parts, (list, tuple)):
        raise ValueError(f"{raw!r} is no list: write a,b,c")
    return tuple(word for part in parts if (word := text(part).strip()))


def pairs(raw: object) -> tuple[str, ...]:
    """``name=value,name=value`` or a list of such."""
    given = words(raw)
    for word in given:
        if not all(word.partition("=")):
            raise ValueError(f"{word!r} is no pair: write name=value")
    return given


def advertised(raw: object) -> tuple[str, ...]:
    """Addresses for HTTP clients: ``host:port`` or ``https://host[:port]``, comma separated."""
    return tuple(map(_advertised, words(raw)))


def _advertised(word: str) -> str:
    scheme, mark, authority = word.rpartition("://")
    if not mark:
        return str(parse_endpoint(word, HTTP_PORT))
    if scheme not in ("http", "https"):
        raise ValueError(
            f"{without_password(word)!r} is no address: write host:port or https://host:port"
        )
    standard = 443 if scheme == "https" else 80
    found = parse_endpoint(authority.removesuffix("/"), standard)
    return f"{scheme}://{str(found).removesuffix(f':{standard}')}"


def choice(*names: str) -> Parser[str]:
    """One of ``names``, in any case."""

    def parse(raw: object) -> str:
        if not isinstance(raw, str) or raw.lower() not in names:
            raise ValueError(f"{raw!r} is none of {', '.join(names)}")
        return raw.lower()

    return parse


def choices(*names: str) -> Parser[tuple[str, ...]]:
    """One or more of ``names``, comma separated or a list, in any case."""
    one = choice(*names)

    def parse(raw: object) -> tuple[str, ...]:
        given = tuple(dict.fromkeys(one(word) for word in words(raw)))
        if not given:
            raise ValueError(f"name one or more of {', '.join(names)}")
        return given

    return parse


def endpoints(raw: object) -> tuple[Endpoint, ...]:
    """``memfs://a:1,b:2``, ``a:1,b:2`` or a list of such."""
    if isinstance(raw, str) and "://" in raw:
        location = parse_url(raw)
        if location.path != "/":
            raise ValueError(f"{without_password(raw)!r} names a path: write memfs://host:port")
        return location.endpoints
    if isinstance(raw, (list, tuple)) and all(isinstance(part, Endpoint) for part in raw):
        return tuple(raw)
    return tuple(parse_endpoint(word) for word in words(raw))


def coordinator(raw: object) -> str:
    """``embedded``, or the URL of an etcd or of the node that keeps the view."""
    given = text(raw)
    if given == "embedded":
        return given
    if given.startswith(("etcd://", "etcds://")):
        return str(parse_etcd_url(given))
    if not given.startswith("memfs://") or not (found := endpoints(given)):
        raise ValueError(
            f"{raw!r} is no coordinator: write etcd://host:2379,..., embedded or memfs://host:port"
        )
    return "memfs://" + ",".join(map(str, found))


def node_name(raw: object) -> str:
    """A name that may be part of a path."""
    given = text(raw)
    if "/" in given or len(given.encode()) > limits.NAME_BYTES:
        raise ValueError(f"{raw!r} is no name: at most {limits.NAME_BYTES} bytes without '/'")
    return given


def within(parse: Parser[N], low: float, high: float, zero: bool = False) -> Parser[N]:
    """``parse``, then refuse what lies outside ``low`` to ``high`` (``zero``: 0 passes too)."""

    def check(raw: object) -> N:
        value = parse(raw)
        if not low <= value <= high and not (zero and value == 0):
            raise ValueError(f"{raw!r} is out of range: {'0 or ' * zero}{low:g} to {high:g}")
        return value

    return check


def half_of_memory() -> int:
    """The default limit for blocks."""
    return machine.usable_memory() // 2


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
