"""What a node and a client can be told: frozen records, checked as they are built.

Owns the settings, their defaults and where they come from: TOML files, then ``MEMFS_*``
variables, then flags, the later winning field by field. Must not know who uses a setting; there
is no global getter, a configuration is passed in. Invariant: an instance that exists is valid,
and what is wrong with the input is said all at once, in one ConfigError of a mistake a line.
"""

from __future__ import annotations

import dataclasses
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

from memfs import limits, machine
from memfs.errors import ConfigError, MemfsError
from memfs.paths import DEFAULT_PORT, Endpoint, parse_endpoint, parse_url
from memfs.quantities import parse_duration, parse_size

SYSTEM_FILE = "/etc/memfs/memfs.toml"
USER_FILE = "~/.config/memfs/memfs.toml"
MONITORING_OFFSET = 1000
"""``monitoring_port`` 0 means the node's port plus this."""

_SOCKET_PATH_BYTES = 107  # sockaddr_un.sun_path without its NUL


# --- values: each parser takes what a file, a variable or a caller gives ------------------------

_Parser = Callable[[Any], Any]


def _memory(raw: Any) -> int:
    if isinstance(raw, str) and raw.strip().endswith("%"):
        found = re.fullmatch(r"\s*(\d{1,3}(?:\.\d+)?)\s*%\s*", raw)
        if found is None or not 0 < float(found[1]) <= 100:
            raise ValueError(f"{raw!r} is no share of memory: write 1% to 100%")
        return round(machine.usable_memory() * float(found[1]) / 100)
    return parse_size(raw)


def _text(raw: Any) -> str:
    if not isinstance(raw, str) or not raw.isprintable():
        raise ValueError(f"{raw!r} is no printable text")
    return raw


def _flag(raw: Any) -> bool:
    known = {"true": True, "yes": True, "on": True, "1": True}
    known |= {"false": False, "no": False, "off": False, "0": False}
    if isinstance(raw, bool):
        return raw
    if not isinstance(raw, str) or raw.strip().lower() not in known:
        raise ValueError(f"{raw!r} is neither true nor false")
    return known[raw.strip().lower()]


def _whole(raw: Any) -> int:
    if isinstance(raw, str) and re.fullmatch(r"\s*-?\d+\s*", raw):
        return int(raw)
    if isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    raise ValueError(f"{raw!r} is no whole number")


def _words(raw: Any) -> tuple[str, ...]:
    parts = raw.split(",") if isinstance(raw, str) else raw
    if not isinstance(parts, (list, tuple)):
        raise ValueError(f"{raw!r} is no list: write a,b,c")
    return tuple(word for part in parts if (word := _text(part).strip()))


def _choice(*names: str) -> _Parser:
    def parse(raw: Any) -> str:
        if not isinstance(raw, str) or raw.lower() not in names:
            raise ValueError(f"{raw!r} is none of {', '.join(names)}")
        return raw.lower()

    return parse


def _endpoints(raw: Any) -> tuple[Endpoint, ...]:
    """``memfs://a:1,b:2``, ``a:1,b:2`` or a list of such."""
    if isinstance(raw, str) and "://" in raw:
        location = parse_url(raw)
        if location.path != "/":
            raise ValueError(f"{raw!r} names a path: write memfs://host:port")
        return location.endpoints
    if isinstance(raw, (list, tuple)) and all(isinstance(part, Endpoint) for part in raw):
        return tuple(raw)
    return tuple(parse_endpoint(word) for word in _words(raw))


def _coordinator(raw: Any) -> str:
    text = _text(raw)
    if text == "embedded":
        return text
    if not text.startswith("memfs://") or not (endpoints := _endpoints(text)):
        raise ValueError(f"{raw!r} is no coordinator: write embedded or memfs://host:port")
    return "memfs://" + ",".join(map(str, endpoints))


def _node_name(raw: Any) -> str:
    text = _text(raw)
    if "/" in text or len(text.encode()) > limits.NAME_BYTES:
        raise ValueError(f"{raw!r} is no name: at most {limits.NAME_BYTES} bytes without '/'")
    return text


def _within(parse: _Parser, low: float, high: float, zero: bool = False) -> _Parser:
    """``parse``, then refuse what lies outside ``low`` to ``high`` (``zero``: 0 passes too)."""

    def check(raw: Any) -> Any:
        value = parse(raw)
        if not low <= value <= high and not (zero and value == 0):
            raise ValueError(f"{raw!r} is out of range: {'0 or ' * zero}{low:g} to {high:g}")
        return value

    return check


def _half_of_memory() -> int:
    return machine.usable_memory() // 2


# --- the settings --------------------------------------------------------------------------------


def setting(parse: _Parser, default: Any, *, secret: bool = False) -> Any:
    """Declare a field: how its value is read, its default (or a function for it), if to hide it."""
    metadata = {"parse": parse, "secret": secret}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


class _Record(Protocol):
    """A dataclass that checks itself."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def conflicts(self) -> Iterator[str]: ...


def _settle(record: _Record) -> None:
    """Bring every field into its type; raises one ConfigError with everything that is wrong."""
    mistakes: list[str] = []
    for each in dataclasses.fields(record):
        try:
            value = each.metadata["parse"](getattr(record, each.name))
        except (ValueError, MemfsError) as error:
            mistakes.append(f"{each.name}: {_reason(error)}")
        else:
            object.__setattr__(record, each.name, value)
    mistakes = mistakes or list(record.conflicts())
    if mistakes:
        raise ConfigError("\n".join(mistakes))


def _reason(error: Exception) -> str:
    return error.message if isinstance(error, MemfsError) else str(error)


@dataclass(frozen=True, kw_only=True)
class NodeConfig:
    """One node: ``[node]`` in the file, ``MEMFS_NODE_*``, the flags of ``memfs node``."""

    name: str = setting(_node_name, "")
    """Name in status and logs; empty: host name and port. Two nodes of a name confuse operators,
    never the cluster, which tells them apart by incarnation."""
    host: str = setting(_text, "127.0.0.1")
    """Address to listen on. Anything but loopback also needs ``insecure``."""
    port: int = setting(_within(_whole, 0, 65535), DEFAULT_PORT)
    """TCP port to listen on, 0: any free one. Clients look for 10500 when told no port."""
    advertise_host: str = setting(_text, "")
    """Address that others connect to; empty: ``host``, or the host name when that is a wildcard.
    Wrong behind NAT or in containers: clients reach the first node and none of the others."""
    advertise_port: int = setting(_within(_whole, 0, 65535), 0)
    """Port that others connect to; 0: the one listened on."""
    socket_directory: str = setting(_text, machine.runtime_directory)
    """Directory of the unix sockets for clients of the same host; empty: none, and local reads go
    through TCP at a fraction of the speed. Keep it on a local disk and short (107 bytes a path)."""
    memory: int = setting(_within(_memory, 1 * limits.MIB, 1 << 50), _half_of_memory)
    """Limit for blocks: bytes or a share of RAM ("50%"). Too high and the kernel kills the node
    for lack of memory; too low and writers get "no space" early. The namespace comes on top:
    about 500 bytes a file on every node."""
    coordinator: str = setting(_coordinator, "embedded")
    """``embedded`` (this node keeps the view: the first of a cluster), or ``memfs://host:port`` of
    that node. Two nodes with ``embedded`` are two clusters."""
    data_directory: str = setting(_text, "")
    """Where the embedded coordinator keeps its log; empty: under the state directory, by name. A
    directory that is lost or shared loses the cluster's identity: its nodes no longer join."""
    weight: int = setting(_within(_whole, 0, 10_000), 100)
    """Share of new blocks relative to the other nodes, 0: none. Out of proportion to ``memory``
    fills this node, or the others, first."""
    domain: str = setting(_text, "")
    """Failure domain ``rack/host``; empty: the host. Copies go to different domains: nodes that
    fail together under different names lose both copies together."""
    replication: int = setting(_within(_whole, 1, limits.REPLICAS_MAX), 2)
    """Copies of a new file's blocks, fixed when the cluster is formed. 1 loses files with a node;
    more than there are nodes leaves every file short of copies."""
    block_size: int = setting(
        _within(parse_size, limits.BLOCK_BYTES_MIN, limits.BLOCK_BYTES_MAX),
        limits.BLOCK_BYTES_DEFAULT,
    )
    """Bytes of a new file's blocks, a multiple of 4 KiB. Small blocks cost namespace memory and
    round trips, large ones make the first byte of a read late."""
    group_blocks: int = setting(_within(_whole, 1, 4096), limits.GROUP_BLOCKS_DEFAULT)
    """Consecutive blocks that lie on the same nodes; block times group is what Hadoop sees as its
    block. Small groups scatter a file, large ones fill nodes unevenly."""
    superuser: str = setting(_text, machine.login_name)
    """The user whom no permission stops; fixed when the cluster is formed."""
    supergroup: str = setting(_text, "supergroup")
    """The group of ``/`` and of files whose creator has none."""
    heartbeat_seconds: float = setting(_within(parse_duration, 0.05, 60), 1.0)
    """Interval of the sign of life. Long: deaths are noticed late. Short: load on the primary."""
    member_timeout_seconds: float = setting(_within(parse_duration, 0.2, 600), 5.0)
    """Silence after which a node counts as dead. Under two heartbeats a busy node is taken for a
    dead one; long, and writers wait for a dead node."""
    session_timeout_seconds: float = setting(_within(parse_duration, 1, 86_400), 60.0)
    """Silence after which a client loses its open files to others. Short: a paused writer fails;
    long: a crashed one blocks its files."""
    orphan_sweep_seconds: float = setting(_within(parse_duration, 1, 86_400), 60.0)
    """Interval of the search for blocks that no file uses. Long: abandoned writes hold memory."""
    monitoring_host: str = setting(_text, "127.0.0.1")
    """Address of the HTTP server for /metrics, /healthz, /readyz. A public one tells the world
    sizes and names of the cluster."""
    monitoring_port: int = setting(_within(_whole, -1, 65535), 0)
    """Its port; 0: ``port`` + 1000 (11500), any free one when ``port`` is 0; -1: no HTTP server,
    and so no probes."""
    log_level: str = setting(_choice("debug", "info", "warning", "error"), "info")
    """The least that is logged. ``debug`` writes a line a request: slow."""
    log_format: str = setting(_choice("text", "json"), "text")
    """``text`` for people, ``json`` (an object a line) for machines."""
    insecure: bool = setting(_flag, False)
    """Allow to listen beyond loopback. There is no authentication yet: whoever reaches the port can
    read and write everything under any name."""

    def __post_init__(self) -> None:
        _settle(self)
        name = self.name or f"{socket.gethostname()}-{self.port or os.urandom(4).hex()}"
        object.__setattr__(self, "name", name)
        if not self.data_directory:
            object.__setattr__(self, "data_directory", f"{machine.state_directory()}/{name}")

    def conflicts(self) -> Iterator[str]:
        """What no single field shows."""
        if not self.insecure and not _is_loopback(self.host):
            yield f"host: {self.host!r} is open to the network, which needs insecure = true"
        if self.block_size % limits.BLOCK_BYTES_MIN:
            yield f"block_size: {self.block_size} is no multiple of {limits.BLOCK_BYTES_MIN}"
        if self.block_size * self.group_blocks > limits.GROUP_BYTES_MAX:
            yield "group_blocks: block_size x group_blocks exceeds 1 GiB"
        if self.member_timeout_seconds < 2 * self.heartbeat_seconds:
            yield "member_timeout_seconds: less than two heartbeats takes busy nodes for dead ones"
        if len(self.socket_directory.encode()) > _SOCKET_PATH_BYTES - 32:
            yield f"socket_directory: a socket's path has at most {_SOCKET_PATH_BYTES} bytes"

    def advertised(self, port: int) -> Endpoint:
        """What others connect to, given the port that was bound."""
        wildcard = self.host in ("", "0.0.0.0", "::")
        host = self.advertise_host or (socket.gethostname() if wildcard else self.host)
        return Endpoint(host, self.advertise_port or port)

    def monitoring(self) -> Endpoint | None:
        """Where the monitoring server listens (port 0: any free one), None: nowhere."""
        if self.monitoring_port < 0:
            return None
        port = self.monitoring_port or (self.port and self.port + MONITORING_OFFSET)
        return Endpoint(
            self.monitoring_host, port if port < 65536 else port - 2 * MONITORING_OFFSET
        )


@dataclass(frozen=True, kw_only=True)
class ClientConfig:
    """One client: ``[client]`` in the file, ``MEMFS_CLIENT_*``, ``MEMFS_URL``, ``--url``."""

    endpoints: tuple[Endpoint, ...] = setting(_endpoints, (Endpoint("localhost", DEFAULT_PORT),))
    """Some nodes of the cluster, ``memfs://a:10500,b:10500``; the others are discovered. With one
    only, a client cannot start while that node is down."""
    user: str = setting(_text, machine.login_name)
    """On whose behalf requests are made: owner of what is created."""
    groups: tuple[str, ...] = setting(_words, machine.login_groups)
    """The user's groups; the first one becomes the group of what is created at the top."""
    timeout_seconds: float = setting(_within(parse_duration, 0.01, 86_400), 30.0)
    """Budget of one call, retries included. Short: failovers surface as errors. Long: so do
    hangs, late."""
    replication: int = setting(_within(_whole, 0, limits.REPLICAS_MAX), 0)
    """Copies of what this client creates, 0: as the cluster says."""
    block_size: int = setting(
        _within(parse_size, limits.BLOCK_BYTES_MIN, limits.BLOCK_BYTES_MAX, zero=True), 0
    )
    """Bytes of the blocks of what this client creates, 0: as the cluster says."""
    group_blocks: int = setting(_within(_whole, 0, 4096), 0)
    """Blocks of a placement group of what this client creates, 0: as the cluster says."""
    readahead_bytes: int = setting(_within(parse_size, 0, limits.GIB), 32 * limits.MIB)
    """Most that is fetched ahead of a sequential reader, each open file. 0 makes every read wait
    for the network; much, and many open files fill the client's memory."""
    write_window_blocks: int = setting(_within(_whole, 1, 64), 4)
    """Blocks in flight of each file being written. 1 waits for every block; each more costs a
    block of memory."""
    local_descriptors: bool = setting(_flag, True)
    """Read blocks of nodes on the same host through shared memory. Off: through the socket."""
    hedge_seconds: float = setting(_within(parse_duration, 0, 3600), 0.5)
    """Ask a second replica when the first is silent for this long; 0: only after an error. Short:
    double load when the cluster is slow already."""

    def __post_init__(self) -> None:
        _settle(self)

    def conflicts(self) -> Iterator[str]:
        """What no single field shows."""
        if not self.endpoints:
            yield "endpoints: empty: write memfs://host:port"
        if self.block_size % limits.BLOCK_BYTES_MIN:
            yield f"block_size: {self.block_size} is no multiple of {limits.BLOCK_BYTES_MIN}"
        if self.block_size * self.group_blocks > limits.GROUP_BYTES_MAX:
            yield "group_blocks: block_size x group_blocks exceeds 1 GiB"


def _is_loopback(host: str) -> bool:
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# --- where settings come from --------------------------------------------------------------------

C = TypeVar("C", NodeConfig, ClientConfig)
_TABLES: dict[type, str] = {NodeConfig: "node", ClientConfig: "client"}


class Resolved(NamedTuple, Generic[C]):
    """A configuration and, per field that was set, where it was: a file, a variable, a flag."""

    config: C
    origins: dict[str, str]


class _Given(NamedTuple):
    """One setting as found."""

    name: str
    value: object
    origin: str


def load(
    kind: type[C],
    *,
    path: str | None = None,
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
) -> C:
    """The configuration of ``kind`` from files, environment and flags; see :func:`resolve`."""
    return resolve(kind, path=path, flags=flags, environ=environ).config


def resolve(
    kind: type[C],
    *,
    path: str | None = None,
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Resolved[C]:
    """As :func:`load`, with the origin of each setting.

    Args: ``path``, the file to read instead of ``$MEMFS_CONFIG`` or the default ones; ``flags``,
    field names to values, None meaning "not given"; ``environ``, instead of ``os.environ``.
    Raises ConfigError with one mistake a line.
    """
    environ = os.environ if environ is None else environ
    mistakes: list[str] = []
    given = list(_from_files(_TABLES[kind], path or environ.get("MEMFS_CONFIG"), mistakes))
    given += _from_environment(kind, environ, mistakes)
    given += [
        _Given(name, value, "--" + name.replace("_", "-"))
        for name, value in (flags or {}).items()
        if value is not None
    ]
    values, origins = _parse(kind, given, mistakes)
    try:
        config = kind(**values)
    except ConfigError as error:
        mistakes += error.message.splitlines()
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    return Resolved(config, origins)


def _parse(
    kind: type[C], given: list[_Given], mistakes: list[str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """The last valid value of each field, and its origin."""
    fields = {each.name: each for each in dataclasses.fields(kind)}
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for name, value, origin in given:
        if name not in fields:
            mistakes.append(f"{origin}: unknown{_suggestion(name, fields)}")
            continue
        try:
            values[name] = fields[name].metadata["parse"](value)
            origins[name] = origin
        except (ValueError, MemfsError) as error:
            mistakes.append(f"{origin}: {_reason(error)}")
    return values, origins


def _from_files(table: str, named: str | None, mistakes: list[str]) -> Iterator[_Given]:
    for name in [named] if named else [SYSTEM_FILE, USER_FILE]:
        path = Path(name).expanduser()
        if named or path.exists():
            content = _read(path, mistakes)
            for key in content.keys() - set(_TABLES.values()):
                mistakes.append(f"{path}: [{key}] unknown{_suggestion(key, _TABLES.values())}")
            chosen = content.get(table, {})
            if not isinstance(chosen, dict):
                mistakes.append(f"{path}: {table} is no table: write [{table}]")
                continue
            for key, value in chosen.items():
                yield _Given(key, value, f"{path}: [{table}] {key}")


def _read(path: Path, mistakes: list[str]) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        mistakes.append(f"{path}: {error.strerror}")
    except ValueError as error:
        mistakes.append(f"{path}: {error}")
    return {}


def _from_environment(
    kind: type[C], environ: Mapping[str, str], mistakes: list[str]
) -> Iterator[_Given]:
    prefix = f"MEMFS_{_TABLES[kind].upper()}_"
    if kind is ClientConfig and environ.get("MEMFS_URL"):
        if "MEMFS_CLIENT_ENDPOINTS" in environ:
            mistakes.append("MEMFS_URL: set together with MEMFS_CLIENT_ENDPOINTS: keep one")
        yield _Given("endpoints", environ["MEMFS_URL"], "MEMFS_URL")
    for variable in sorted(environ):
        if variable.startswith(prefix):
            yield _Given(variable[len(prefix) :].lower(), environ[variable], variable)


def _suggestion(name: str, known: Any) -> str:
    import difflib

    close = difflib.get_close_matches(name.lower(), list(known), n=1)
    return f": did you mean {close[0]!r}?" if close else ""


def shown(config: NodeConfig | ClientConfig) -> dict[str, Any]:
    """Fields to values fit for printing: plain TOML types, secrets hidden."""
    result: dict[str, Any] = {}
    for each in dataclasses.fields(config):
        value = getattr(config, each.name)
        if each.metadata["secret"] and value:
            value = "********"
        elif isinstance(value, tuple):
            value = [str(item) for item in value]
        result[each.name] = value
    return result
