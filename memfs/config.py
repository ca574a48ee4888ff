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
from memfs.paths import DEFAULT_PORT, Endpoint, parse_endpoint, parse_etcd_url, parse_url
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


def _number(raw: Any) -> float:
    if isinstance(raw, (int, float)) and not isinstance(raw, bool):
        return float(raw)
    if isinstance(raw, str) and re.fullmatch(r"\s*\d+(\.\d+)?\s*", raw):
        return float(raw)
    raise ValueError(f"{raw!r} is no number")


def _words(raw: Any) -> tuple[str, ...]:
    parts = raw.split(",") if isinstance(raw, str) else raw
    if not isinstance(parts, (list, tuple)):
        raise ValueError(f"{raw!r} is no list: write a,b,c")
    return tuple(word for part in parts if (word := _text(part).strip()))


def _pairs(raw: Any) -> tuple[str, ...]:
    words = _words(raw)
    for word in words:
        if not all(word.partition("=")):
            raise ValueError(f"{word!r} is no pair: write name=value")
    return words


def _address(raw: Any) -> str:
    text = _text(raw)
    return str(parse_endpoint(text)) if text else ""


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
    if text.startswith(("etcd://", "etcds://")):
        return str(parse_etcd_url(text))
    if not text.startswith("memfs://") or not (endpoints := _endpoints(text)):
        raise ValueError(
            f"{raw!r} is no coordinator: write etcd://host:2379,..., embedded or memfs://host:port"
        )
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
        return field(default_factory=default, metadata=metadata, repr=not secret)
    return field(default=default, metadata=metadata, repr=not secret)


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
    """Who keeps the view: ``etcd://h1:2379,h2:2379,h3:2379[/prefix]`` (``etcds://``: with TLS),
    ``embedded`` (this node: the first of a cluster), or ``memfs://host:port`` of that node. With
    the latter two nothing is promoted while that node is down. Clusters that share an etcd need a
    prefix each, default ``memfs``; two nodes with ``embedded`` are two clusters."""
    etcd_ca: str = setting(_text, "")
    """PEM file of the authority that signed etcd's certificates; empty: the system's. For
    ``etcds://``."""
    etcd_certificate: str = setting(_text, "")
    """PEM file of the certificate to show to etcd; empty: none. Where etcd has users, its subject
    must have no common name."""
    etcd_key: str = setting(_text, "")
    """PEM file of its key; empty: it is in the certificate's file."""
    etcd_user: str = setting(_text, "")
    """User of etcd; empty: none. Needs read and write permission on the prefix and what is below
    it. Without TLS its password crosses the network in clear text."""
    etcd_password: str = setting(_text, "", secret=True)
    """Its password, from the file or the environment only: flags are seen by every user."""
    etcd_password_file: str = setting(_text, "")
    """File with its password, instead of ``etcd_password``; read once, at start."""
    data_directory: str = setting(_text, "")
    """Where the embedded coordinator keeps its log; empty: under the state directory, by name. A
    directory that is lost or shared loses the cluster's identity: its nodes no longer join."""
    journal: str = setting(_text, "")
    """Directory where this node keeps the namespace on disk, its own and of nobody else; empty:
    nowhere, and what the cluster holds is gone when all its nodes are. See docs/durability.md."""
    journal_blocks: bool = setting(_flag, False)
    """Keep the blocks there too: room for ``journal_ratio`` times what the node may hold. Without,
    a power cut of all nodes leaves names without contents."""
    journal_ratio: float = setting(_within(_number, 1.2, 100), 2.0)
    """Bytes of blocks on the disk per byte that is needed before the rest is cleared away. Low:
    more is written anew; high: more room is taken."""
    journal_segment_size: int = setting(
        _within(parse_size, 16 * limits.KIB, 4 * limits.GIB), 64 * limits.MIB
    )
    """Size of a file of the journal, and of the log that is worth a snapshot. Small: many files and
    snapshots. Large: a slow start after a crash, and room that is given back late."""
    ack: str = setting(_choice("ram", "journal"), "ram")
    """When a write is acknowledged, fixed when the cluster is formed: when all copies are in RAM
    (``ram``), or on all their disks (``journal``), which costs a sync of the disk each time but
    loses nothing when the power fails everywhere. ``journal`` needs ``journal_blocks`` on every
    node."""
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
    lease_seconds: float = setting(_within(parse_duration, 0.2, 60), 3.0)
    """How long a silent primary is waited for before a backup takes over. Short: a paused process
    or a slow network costs a failover. The same on every node."""
    min_in_sync: int = setting(_within(_whole, 0, limits.NAMESPACE_COPIES), 0)
    """Copies of the namespace without which nothing is acknowledged; 0: as many as ``replication``,
    once so many nodes were in sync. Less than ``replication`` risks acknowledged writes."""
    token_renew_seconds: float = setting(_within(parse_duration, 1, 366 * 86_400), 86_400.0)
    """Time after which a delegation token ends unless it is renewed. The same on every node."""
    token_lifetime_seconds: float = setting(_within(parse_duration, 1, 366 * 86_400), 604_800.0)
    """Time after which a delegation token ends for good. Long: a stolen one is of use for long."""
    token_key_seconds: float = setting(_within(parse_duration, 1, 366 * 86_400), 86_400.0)
    """Time after which the next delegation token is made with a new master key."""
    orphan_sweep_seconds: float = setting(_within(parse_duration, 1, 86_400), 60.0)
    """Interval of the search for blocks that no file uses. Long: abandoned writes hold memory."""
    removal_seconds: float = setting(_within(parse_duration, 0.1, 86_400), 30.0)
    """Silence, and a ping without answer, after which a node is removed and its blocks are copied
    anew from others. Under 10 s a restart costs a re-replication; long, and a second failure finds
    blocks with a copy less."""
    drain_blocks: bool = setting(_flag, False)
    """Move all blocks to other nodes before stopping on SIGTERM. Nothing is lost then, even of
    files with one copy; stopping takes as long as it takes, and needs room on the others."""
    drain_seconds: float = setting(_within(parse_duration, 1, 366 * 86_400), 3600.0)
    """Longest time for that; then the node stops, and what it still held is made up from other
    copies. What starts nodes must wait longer before it kills them."""
    healing_bandwidth: int = setting(
        _within(parse_size, limits.MIB, 1 << 50, zero=True), 256 * limits.MIB
    )
    """Bytes a second that the whole cluster copies at most to restore lost copies, 0: no limit.
    Low: a second failure finds blocks with a copy less. High: clients feel it."""
    rebalancing_bandwidth: int = setting(
        _within(parse_size, limits.MIB, 1 << 50, zero=True), 64 * limits.MIB
    )
    """Bytes a second that the whole cluster moves at most to where the ring wants them, 0: no
    limit. Low: a new node fills slowly, a decommission takes long."""
    scrub_seconds: float = setting(_within(parse_duration, 1, 366 * 86_400, zero=True), 86_400.0)
    """Time in which a node re-reads all its blocks against their checksums, 0: never. Long: rot in
    memory is found when a reader meets it. Short: it costs processor time."""
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
        if self.token_lifetime_seconds < self.token_renew_seconds:
            yield "token_lifetime_seconds: less than token_renew_seconds"
        if self.removal_seconds < 2 * self.heartbeat_seconds:
            yield "removal_seconds: less than two heartbeats removes busy nodes"
        if self.journal_blocks and not self.journal:
            yield "journal_blocks: needs a directory, set journal"
        if self.ack == "journal" and not self.journal_blocks:
            yield "ack: journal needs journal = DIRECTORY and journal_blocks = true"
        yield from _etcd_conflicts(self)
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


def _etcd_conflicts(config: NodeConfig) -> Iterator[str]:
    secure = config.coordinator.startswith("etcds://")
    for name in ("etcd_ca", "etcd_certificate", "etcd_key"):
        if getattr(config, name) and not secure:
            yield f"{name}: needs coordinator = etcds://..."
    if config.etcd_user and not config.coordinator.startswith("etcd"):
        yield "etcd_user: needs coordinator = etcd://... or etcds://..."
    if config.etcd_key and not config.etcd_certificate:
        yield "etcd_key: needs etcd_certificate"
    if config.etcd_password and config.etcd_password_file:
        yield "etcd_password: set either it or etcd_password_file"
    if bool(config.etcd_user) != bool(config.etcd_password or config.etcd_password_file):
        yield "etcd_user: needs a password, and a password a user: set both or neither"


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


@dataclass(frozen=True, kw_only=True)
class GatewayConfig:
    """One WebHDFS gateway: ``[gateway]`` in the file, ``MEMFS_GATEWAY_*``, its flags."""

    host: str = setting(_text, "127.0.0.1")
    """Address to listen on. Anything but loopback needs TLS and authentication, or ``insecure``."""
    port: int = setting(_within(_whole, 0, 65535), 9870)
    """TCP port to listen on, 0: any free one. ``webhdfs://host/`` means 9870, ``swebhdfs`` 9871."""
    advertise: str = setting(_address, "")
    """Address that redirects lead to, ``host:port``; empty: the one that the client used. A name
    that clients cannot resolve breaks every write of theirs."""
    workers: int = setting(_within(_whole, 1, 256), 1)
    """Processes that share the port. One fills a core; more than there are cores wins nothing."""
    authentication: str = setting(_choice("simple", "bearer"), "simple")
    """``simple``: users are whom they say they are (``user.name``); ``bearer``: a token of
    ``tokens_file`` says it."""
    tokens_file: str = setting(_text, "")
    """Lines of ``SHA256 USER [GROUP,...]``: the hexadecimal digest of a token, and whose it is."""
    default_user: str = setting(_text, "dr.who")
    """The user of requests that name none. A superuser's name here opens everything to all."""
    proxy_users: tuple[str, ...] = setting(_words, ())
    """Users who may ask on behalf of others (``doas``): ``name``, or ``name@address``. Each of them
    can become anybody."""
    user_groups: tuple[str, ...] = setting(_pairs, ())
    """Groups of users: ``user=group+group``. They win over those of this machine."""
    system_groups: bool = setting(_flag, True)
    """Look up the groups of other users on this machine. Off: they have none."""
    tls_certificate: str = setting(_text, "")
    """PEM file of the certificate chain; empty: plain HTTP. Clients then say ``swebhdfs://``."""
    tls_key: str = setting(_text, "")
    """PEM file of its key; empty: in the same file. Keep it readable to this user alone."""
    csrf_protection: bool = setting(_flag, False)
    """Demand the header ``X-XSRF-HEADER`` of browsers that change something."""
    find_peers: bool = setting(_flag, True)
    """Look for gateways at this one's port on the hosts of the nodes, and redirect Hadoop's readers
    to the one beside their data. Off where clients cannot reach the nodes' hosts."""
    peers: tuple[str, ...] = setting(_pairs, ())
    """Gateways beside nodes that are not found so: ``node=host:port``."""
    replication: int = setting(_within(_whole, 0, limits.REPLICAS_MAX), 0)
    """Copies of what is created here, 0: as many as the client asks for, at most one a node.
    Hadoop's clients ask for 3 unless they are told otherwise: memory for three copies."""
    connections: int = setting(_within(_whole, 1, 1_000_000), 10_000)
    """Most connections of a process at a time; further ones are refused."""
    head_seconds: float = setting(_within(parse_duration, 0.1, 3600), 30.0)
    """Time for the head of a request to arrive. Long: idle connections pile up."""
    upload_idle_seconds: float = setting(_within(parse_duration, 0.1, 31 * 86_400), 86_400.0)
    """Silence after which an upload is given up and discarded. Short: Spark's event logs, which
    are silent between jobs, are lost."""
    send_idle_seconds: float = setting(_within(parse_duration, 0.1, 86_400), 900.0)
    """How long a client may take no byte of what it is sent. Short: slow readers are cut off."""
    stream_memory: int = setting(_within(_memory, 1 * limits.MIB, 1 << 50), 256 * limits.MIB)
    """Buffers of all files being sent by a process: bytes or a share of RAM. Beyond it streams go
    on in small pieces."""
    uploads: int = setting(_within(_whole, 1, 100_000), 64)
    """Uploads of a process that hold unpublished bytes at a time, each about three blocks; further
    ones wait. Many, and memory for them; few, and uploads queue."""
    audit: bool = setting(_flag, False)
    """Log a line for every request: who, what, allowed or not."""
    log_level: str = setting(_choice("debug", "info", "warning", "error"), "info")
    """The least that is logged."""
    log_format: str = setting(_choice("text", "json"), "text")
    """``text`` for people, ``json`` (an object a line) for machines."""
    insecure: bool = setting(_flag, False)
    """Allow to listen beyond loopback without TLS and authentication: whoever reaches the port can
    read and write everything under any name."""

    def __post_init__(self) -> None:
        _settle(self)

    def conflicts(self) -> Iterator[str]:
        """What no single field shows."""
        secure = self.tls_certificate and self.authentication != "simple"
        if not (self.insecure or secure or _is_loopback(self.host)):
            yield (
                f"host: {self.host!r} is open to the network, which needs tls_certificate and "
                "authentication = bearer, or insecure = true"
            )
        if self.authentication == "bearer" and not self.tokens_file:
            yield "tokens_file: authentication = bearer needs one"
        if self.tls_key and not self.tls_certificate:
            yield "tls_key: set without tls_certificate"


def _is_loopback(host: str) -> bool:
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# --- where settings come from --------------------------------------------------------------------

C = TypeVar("C", NodeConfig, ClientConfig, GatewayConfig)
_TABLES: dict[type, str] = {NodeConfig: "node", ClientConfig: "client", GatewayConfig: "gateway"}


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


def shown(config: NodeConfig | ClientConfig | GatewayConfig) -> dict[str, Any]:
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
