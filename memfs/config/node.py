"""The settings of a node."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from memfs import limits, machine
from memfs.audit import LEVELS, RATE
from memfs.config import values
from memfs.config.record import setting, validate
from memfs.paths import DEFAULT_PORT, Endpoint
from memfs.quantities import parse_duration, parse_size

MONITORING_OFFSET = 1000
"""``monitoring_port`` 0 means the node's port plus this."""

_SOCKET_PATH_BYTES = 107  # sockaddr_un.sun_path without its NUL


@dataclass(frozen=True, kw_only=True)
class NodeConfig:
    """One node: ``[node]`` in the file, ``MEMFS_NODE_*``, the flags of ``memfs node``."""

    name: str = setting(values.node_name, "")
    """Name in status and logs; empty: host name and port. Two nodes of a name confuse operators,
    never the cluster, which tells them apart by incarnation."""
    host: str = setting(values.text, "127.0.0.1")
    """Address to listen on. Anything but loopback needs ``certificates``, or ``insecure``."""
    port: int = setting(values.within(values.whole, 0, 65535), DEFAULT_PORT)
    """TCP port to listen on, 0: any free one. Clients look for 10500 when told no port."""
    advertise_host: str = setting(values.text, "")
    """Address that others connect to; empty: ``host``, or the host name when that is a wildcard.
    Wrong behind NAT or in containers: clients reach the first node and none of the others."""
    advertise_port: int = setting(values.within(values.whole, 0, 65535), 0)
    """Port that others connect to; 0: the one listened on."""
    socket_access: str = setting(values.choice("user", "group", "all"), "user")
    """Who of this host may use the unix sockets: the node's own user (and root), its group too, or
    all. Whoever may can read every block of the node; others use TCP, without shared memory."""
    socket_directory: str = setting(values.text, machine.runtime_directory)
    """Directory of the unix sockets for clients of the same host; empty: none, and local reads go
    through TCP at a fraction of the speed. Keep it on a local disk and short (107 bytes a path)."""
    memory: int = setting(
        values.within(values.memory, 1 * limits.MIB, 1 << 50), values.half_of_memory
    )
    """Limit of memory: bytes, or a share of the RAM or of the container's limit ("50%"), of which
    192 MiB, or half if it is less, stay for the process. Blocks count, and all that the process
    takes beside them from 48 MiB on: about 250 bytes a file for the namespace, buffers,
    connections. Too high and the kernel kills the node for lack of memory; too low and writers get
    "no space" early. Nodes that share a ``socket_directory`` see each other's limits; give one that
    keeps blocks on disk a limit of its own, for by default it may have less after a restart."""
    coordinator: str = setting(values.coordinator, "embedded")
    """Who keeps the view: ``etcd://h1:2379,h2:2379,h3:2379[/prefix]`` (``etcds://``: with TLS),
    ``embedded`` (this node: the first of a cluster), or ``memfs://host:port`` of that node. With
    the latter two nothing is promoted while that node is down. Clusters that share an etcd need a
    prefix each, default ``memfs``; two nodes with ``embedded`` are two clusters."""
    etcd_ca: str = setting(values.text, "")
    """PEM file of the authority that signed etcd's certificates; empty: the system's. For
    ``etcds://``."""
    etcd_certificate: str = setting(values.text, "")
    """PEM file of the certificate to show to etcd; empty: none. Where etcd has users, its subject
    must have no common name."""
    etcd_key: str = setting(values.text, "")
    """PEM file of its key; empty: it is in the certificate's file."""
    etcd_user: str = setting(values.text, "")
    """User of etcd; empty: none. Needs read and write permission on the prefix and what is below
    it. Without TLS its password crosses the network in clear text."""
    etcd_password: str = setting(values.text, "", secret=True)
    """Its password, from the file or the environment only: flags are seen by every user."""
    etcd_password_file: str = setting(values.text, "")
    """File with its password, instead of ``etcd_password``; read once, at start."""
    data_directory: str = setting(values.text, "")
    """Where the embedded coordinator keeps its log; empty: under the state directory, by name. A
    directory that is lost or shared loses the cluster's identity: its nodes no longer join."""
    journal: str = setting(values.text, "")
    """Directory where this node keeps the namespace on disk, its own and of nobody else; empty:
    nowhere, and what the cluster holds is gone when all its nodes are. See docs/durability.md."""
    journal_blocks: bool = setting(values.flag, False)
    """Keep the blocks there too: room for ``journal_ratio`` times what the node may hold. Without,
    a power cut of all nodes leaves names without contents."""
    journal_ratio: float = setting(values.within(values.number, 1.2, 100), 2.0)
    """Bytes of blocks on the disk per byte that is needed before the rest is cleared away. Low:
    more is written anew; high: more room is taken."""
    journal_segment_size: int = setting(
        values.within(parse_size, 16 * limits.KIB, 4 * limits.GIB), 64 * limits.MIB
    )
    """Size of a file of the journal. Small: many files. Large: room that is given back late. Below
    2 MiB also the size of the namespace's log that is worth a snapshot."""
    ack: str = setting(values.choice("ram", "journal"), "ram")
    """When a write is acknowledged, fixed when the cluster is formed: when all copies are in RAM
    (``ram``), or on all their disks (``journal``), which costs a sync of the disk each time but
    loses nothing when the power fails everywhere. ``journal`` needs ``journal_blocks`` on every
    node."""
    weight: int = setting(values.within(values.whole, 0, 10_000), 100)
    """Share of new blocks relative to the other nodes, 0: none. Out of proportion to ``memory``
    fills this node, or the others, first."""
    domain: str = setting(values.text, "")
    """Failure domain ``rack/host``; empty: the host. Copies go to different domains: nodes that
    fail together under different names lose both copies together."""
    replication: int = setting(values.within(values.whole, 1, limits.REPLICAS_MAX), 2)
    """Copies of a new file's blocks, fixed when the cluster is formed. 1 loses files with a node;
    more than there are nodes leaves every file short of copies."""
    block_size: int = setting(
        values.within(parse_size, limits.BLOCK_BYTES_MIN, limits.BLOCK_BYTES_MAX),
        limits.BLOCK_BYTES_DEFAULT,
    )
    """Bytes of a new file's blocks, a multiple of 4 KiB. Small blocks cost namespace memory and
    round trips, large ones make the first byte of a read late."""
    group_blocks: int = setting(values.within(values.whole, 1, 4096), limits.GROUP_BLOCKS_DEFAULT)
    """Consecutive blocks that lie on the same nodes; block times group is what Hadoop sees as its
    block. Small groups scatter a file, large ones fill nodes unevenly."""
    superuser: str = setting(values.text, machine.login_name)
    """The user whom no permission stops; fixed when the cluster is formed."""
    supergroup: str = setting(values.text, "supergroup")
    """The group of ``/`` and of files whose creator has none."""
    group_rule: str = setting(values.choice("creator", "parent"), "creator")
    """The group of what is new: the creator's first, or its directory's where that has the
    set-group-id bit (POSIX); or always its directory's (HDFS). Fixed when the cluster is formed."""
    standard_directories: bool = setting(values.flag, True)
    """Whether a cluster begins with ``/tmp`` (1777), ``/user`` and ``/user/NAME`` for the superuser
    and each of ``homes``. Off: with an empty root, where only the superuser may make anything."""
    homes: tuple[str, ...] = setting(values.words, ())
    """Users who get a directory ``/user/NAME`` of their own when the cluster is formed."""
    heartbeat_seconds: float = setting(values.within(parse_duration, 0.05, 60), 1.0)
    """Interval of the sign of life. Long: deaths are noticed late. Short: load on the primary."""
    member_timeout_seconds: float = setting(values.within(parse_duration, 0.2, 600), 5.0)
    """Silence after which a node counts as dead. Under two heartbeats a busy node is taken for a
    dead one; long, and writers wait for a dead node."""
    session_timeout_seconds: float = setting(values.within(parse_duration, 1, 86_400), 60.0)
    """Silence after which a client loses its open files to others. Short: a paused writer fails;
    long: a crashed one blocks its files."""
    lease_seconds: float = setting(values.within(parse_duration, 0.2, 60), 3.0)
    """How long a silent primary is waited for before a backup takes over. Short: a paused process
    or a slow network costs a failover. The same on every node."""
    min_in_sync: int = setting(values.within(values.whole, 0, limits.NAMESPACE_COPIES), 0)
    """Copies of the namespace without which nothing is acknowledged; 0: as many as ``replication``,
    once so many nodes were in sync. Less than ``replication`` risks acknowledged writes."""
    token_renew_seconds: float = setting(values.within(parse_duration, 1, 366 * 86_400), 86_400.0)
    """Time after which a delegation token ends unless it is renewed. The same on every node."""
    token_lifetime_seconds: float = setting(
        values.within(parse_duration, 1, 366 * 86_400), 604_800.0
    )
    """Time after which a delegation token ends for good. Long: a stolen one is of use for long."""
    token_key_seconds: float = setting(values.within(parse_duration, 1, 366 * 86_400), 86_400.0)
    """Time after which the next delegation token is made with a new master key."""
    capability_seconds: float = setting(values.within(parse_duration, 1, 86_400, zero=True), 600.0)
    """How long a client may read or write a file's blocks on the nodes before it has to ask the
    primary again, which it does by itself; 0: whoever reaches a node and guesses what a block is
    called has it. The primary's counts. Long: who may not read a file any more has its blocks for
    so long."""
    orphan_sweep_seconds: float = setting(values.within(parse_duration, 1, 86_400), 60.0)
    """Interval of the search for blocks that no file uses. Long: abandoned writes hold memory."""
    removal_seconds: float = setting(values.within(parse_duration, 0.1, 86_400), 30.0)
    """Silence, and a ping without answer, after which a node is removed and its blocks are copied
    anew from others. Under 10 s a restart with ack = journal costs a re-replication; long, and a
    second failure finds blocks with a copy less. Without ack = journal a node whose process has
    ended is not waited for: it can bring nothing back."""
    drain_blocks: bool = setting(values.flag, False)
    """Move all blocks to other nodes before stopping on SIGTERM. Nothing is lost then, even of
    files with one copy; stopping takes as long as it takes, and needs room on the others."""
    drain_seconds: float = setting(values.within(parse_duration, 1, 366 * 86_400), 3600.0)
    """Longest time for that; then the node stops, and what it still held is made up from other
    copies. What starts nodes must wait longer before it kills them."""
    healing_bandwidth: int = setting(
        values.within(parse_size, limits.MIB, 1 << 50, zero=True), 256 * limits.MIB
    )
    """Bytes a second that the whole cluster copies at most to restore lost copies, 0: no limit.
    While clients are served a block counts as 128 KiB at least.
    Low: a second failure finds blocks with a copy less. High: clients feel it."""
    rebalancing_bandwidth: int = setting(
        values.within(parse_size, limits.MIB, 1 << 50, zero=True), 64 * limits.MIB
    )
    """Bytes a second that the whole cluster moves at most to where the ring wants them, 0: no
    limit. Low: a new node fills slowly, a decommission takes long."""
    scrub_seconds: float = setting(
        values.within(parse_duration, 1, 366 * 86_400, zero=True), 86_400.0
    )
    """Time in which a node re-reads all its blocks against their checksums, 0: never. Long: rot in
    memory is found when a reader meets it. Short: it costs processor time."""
    monitoring_host: str = setting(values.text, "127.0.0.1")
    """Address of the HTTP server for /metrics, /healthz, /readyz. A public one tells the world
    sizes and names of the cluster."""
    monitoring_port: int = setting(values.within(values.whole, -1, 65535), 0)
    """Its port; 0: ``port`` + 1000 (11500), any free one when ``port`` is 0; -1: no HTTP server,
    and so no probes."""
    audit: str = setting(values.choice(*LEVELS), "off")
    """What the audit log has of requests to the namespace and to the cluster, a line of JSON each:
    nothing (``off``), what was refused (``deny``), or all (``on``: some 20 us a request)."""
    audit_rate: int = setting(values.within(values.whole, 1, 1_000_000), RATE)
    """Lines of it in a second for one user at an address; how many more there were is said after
    that. Few hide what a batch did; many let a user fill the disk."""
    log_level: str = setting(values.choice("debug", "info", "warning", "error"), "info")
    """The least that is logged. ``debug`` writes a line a request: slow."""
    log_format: str = setting(values.choice("text", "json"), "text")
    """``text`` for people, ``json`` (an object a line) for machines."""
    certificates: str = setting(values.text, "")
    """Directory with ``ca.crt``, ``node.crt`` and ``node.key`` of ``memfs certs``: TLS 1.3 on every
    connection by TCP, nodes and clients prove who they are. On every node or on none; empty:
    everybody is believed."""
    authentication: tuple[str, ...] = setting(
        values.choices("certificate", "key", "token"), ("certificate",)
    )
    """How users prove who they are, with ``certificates``: by a certificate, by a key that ``memfs
    user add`` made known, by a delegation token. With keys or tokens whoever has no certificate may
    speak so far as to prove something else. Nodes always need a certificate. The same on every
    node."""
    proxy_users: tuple[str, ...] = setting(values.words, ())
    """Users who may speak for others, with ``certificates``: the gateway's. Each of them can become
    anybody but the superuser."""
    bulk: str = setting(values.choice("tls", "authenticated"), "tls")
    """How blocks go by TCP, with ``certificates``: under ``tls``, or in clear on connections to
    ``bulk_port`` that were ``authenticated`` under TLS: faster, but who can listen on the way reads
    what files contain, and who can change bytes on the way changes them. Names, and files that are
    read with them, stay under TLS."""
    bulk_port: int = setting(values.within(values.whole, 0, 65535), 0)
    """TCP port for them, 0: any free one, which firewalls do not know. Others learn it from the
    node, and use TLS where they cannot reach it."""
    metrics_tls_port: int = setting(values.within(values.whole, 0, 65535), 0)
    """Another TCP port of ``host`` for ``/metrics`` alone, with ``certificates``: under TLS, for
    whoever shows a certificate of the authority. Leave ``monitoring_host`` loopback then, where
    probes ask. 0: there is none."""
    connections_per_user: int = setting(values.within(values.whole, 0, 1_000_000), 0)
    """Most connections of one user to this node at a time, with ``certificates``; 0: a quarter of
    what the node takes. Few break programs of many processes; many let one user shut others out.
    Nodes, ``proxy_users`` and the superuser have no such limit."""
    insecure: bool = setting(values.flag, False)
    """Allow to listen beyond loopback without ``certificates``: whoever reaches the port can read
    and write everything under any name."""

    def __post_init__(self) -> None:
        validate(self)
        name = self.name or f"{socket.gethostname()}-{self.port or os.urandom(4).hex()}"
        object.__setattr__(self, "name", name)
        if not self.data_directory:
            object.__setattr__(self, "data_directory", f"{machine.state_directory()}/{name}")

    def conflicts(self) -> Iterator[str]:
        """What no single field shows."""
        if not (self.insecure or self.certificates or values.is_loopback(self.host)):
            yield (
                f"host: {self.host!r} is open to the network, which needs certificates = DIRECTORY "
                "(memfs certs makes them), or insecure = true"
            )
        if self.certificates and self.insecure:
            yield "insecure: set together with certificates: keep one"
        if self.certificates and self.socket_access != "user":
            yield (
                f"socket_access: {self.socket_access} opens every block to users of this host, "
                "which certificates shall prevent: keep user"
            )
        if self.connections_per_user and not self.certificates:
            yield "connections_per_user: needs certificates; without, users have no proven name"
        if self.bulk != "tls" and not self.certificates:
            yield "bulk: needs certificates; without, everything is in clear"
        if self.metrics_tls_port and not (self.certificates and self.monitoring_port >= 0):
            yield "metrics_tls_port: needs certificates, and monitoring_port not to be -1"
        if self.bulk_port and self.bulk == "tls":
            yield "bulk_port: needs bulk = authenticated"
        if self.authentication != ("certificate",) and not self.certificates:
            yield "authentication: needs certificates, by which nodes prove who they are"
        if self.proxy_users and not self.certificates:
            yield "proxy_users: needs certificates; without, everybody may speak for everybody"
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
