"""The settings of a WebHDFS gateway."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from memfs import limits
from memfs.audit import LEVELS, RATE
from memfs.config import values
from memfs.config.record import setting, validate
from memfs.quantities import parse_duration

METHODS: Final = {
    "simple": (),
    "bearer": ("tokens_file",),
    "jwt": ("jwt_issuer", "jwt_audience"),
    "kerberos": ("kerberos_keytab", "kerberos_realms"),
    "certificate": ("tls_client_ca",),
}
"""Ways to authenticate, and the settings that each needs."""


@dataclass(frozen=True, kw_only=True)
class GatewayConfig:
    """One WebHDFS gateway: ``[gateway]`` in the file, ``MEMFS_GATEWAY_*``, its flags."""

    host: str = setting(values.text, "127.0.0.1")
    """Address to listen on. Anything but loopback needs TLS and authentication, or ``insecure``."""
    port: int = setting(values.within(values.whole, 0, 65535), values.HTTP_PORT)
    """TCP port to listen on, 0: any free one. ``webhdfs://host/`` means 9870, ``swebhdfs`` 9871."""
    advertise: tuple[str, ...] = setting(values.advertised, ())
    """Addresses that redirects lead to, ``host:port``, or ``https://host`` where a proxy ends TLS:
    the one that the client used, else the first. Needed beyond loopback. A name that clients cannot
    resolve breaks every write of theirs."""
    allowed_hosts: tuple[str, ...] = setting(values.words, ())
    """Further names that requests may be for (``Host``): ``name``, ``.domain`` with all below it,
    ``*`` any. Those of ``advertise``, of this machine and of loopback always may, and the address
    that was connected to. ``*`` lets pages of other sites reach a gateway that only the browser's
    machine reaches."""
    workers: int = setting(values.within(values.whole, 1, 256), 1)
    """Processes that share the port. One fills a core; more than there are cores wins nothing."""
    authentication: tuple[str, ...] = setting(values.choices(*METHODS), ("simple",))
    """How users prove who they are. ``simple``: not at all, they say it (``user.name``). Or one or
    more of ``bearer``: a token of ``tokens_file``; ``jwt``: a token that ``jwt_issuer`` has signed;
    ``kerberos``: SPNEGO, with ``kerberos_keytab``; ``certificate``: one of ``tls_client_ca``."""
    tokens_file: str = setting(values.text, "")
    """Lines of ``SHA256 USER [GROUP,...]``: the hexadecimal digest of a token, and whose it is.
    Read again when it changes."""
    jwt_issuer: str = setting(values.text, "")
    """Address of the OpenID provider that signs tokens, ``https://...``: their claim ``iss``. Its
    keys are found by its ``/.well-known/openid-configuration``."""
    jwt_audience: str = setting(values.text, "")
    """What tokens must be for: their claim ``aud``. Tokens of other services of the issuer would be
    good here otherwise."""
    jwt_user_claim: str = setting(values.text, "sub")
    """The claim that is the user's name. One that users can choose lets them be anybody."""
    jwt_groups_claim: str = setting(values.text, "")
    """The claim that lists the user's groups; empty: they are looked up as for other users."""
    kerberos_keytab: str = setting(values.text, "")
    """Keytab of the service ``HTTP/HOST``. All gateways behind one name need the same."""
    kerberos_realms: tuple[str, ...] = setting(values.words, ())
    """Realms whose principals are users here, by the name before ``/`` and ``@``. Two realms: both
    their alices are one user."""
    default_user: str = setting(values.text, "dr.who")
    """The user of requests that name none. A superuser's name here opens everything to all."""
    proxy_users: tuple[str, ...] = setting(values.words, ())
    """Users who may ask on behalf of others (``doas``): ``name``, or ``name@address``. Each of them
    can become anybody."""
    user_groups: tuple[str, ...] = setting(values.pairs, ())
    """Groups of users: ``user=group+group``. They win over those of this machine."""
    group_rule: str = setting(values.choice("parent", "cluster"), "parent")
    """The group of what is created here: its directory's, as in HDFS, or as the cluster's own
    ``group_rule`` says, which is what native clients get."""
    system_groups: bool = setting(values.flag, True)
    """Look up the groups of other users on this machine. Off: they have none."""
    tls_certificate: str = setting(values.text, "")
    """PEM file of the certificate chain; empty: plain HTTP. Clients then say ``swebhdfs://``."""
    tls_key: str = setting(values.text, "")
    """PEM file of its key; empty: in the same file. Keep it readable to this user alone. Both are
    read again when they change."""
    tls_client_ca: str = setting(values.text, "")
    """PEM file of the authority that signs users' certificates (``authentication = certificate``);
    the common name is the user's. Connections without one are asked for another proof."""
    csrf_protection: bool = setting(values.flag, True)
    """Demand the header ``X-XSRF-HEADER`` of browsers that change something: known by their
    ``User-Agent``, an ``Origin`` or ``Sec-Fetch-Site``. Off: any page that a user opens can write
    under any name."""
    find_peers: bool = setting(values.flag, True)
    """Look for gateways at this one's port on the hosts of the nodes, and redirect Hadoop's readers
    to the one beside their data. Off where clients cannot reach the nodes' hosts."""
    peers: tuple[str, ...] = setting(values.pairs, ())
    """Gateways beside nodes that are not found so: ``node=host:port``."""
    replication: int = setting(values.within(values.whole, 0, limits.REPLICAS_MAX), 0)
    """Copies of what is created here, 0: as many as the client asks for, at most one a node.
    Hadoop's clients ask for 3 unless they are told otherwise: memory for three copies."""
    connections: int = setting(values.within(values.whole, 1, 1_000_000), 10_000)
    """Most connections of a process at a time; further ones are refused."""
    head_seconds: float = setting(values.within(parse_duration, 0.1, 3600), 30.0)
    """Time for the head of a request to arrive. Long: idle connections pile up."""
    upload_idle_seconds: float = setting(values.within(parse_duration, 0.1, 31 * 86_400), 86_400.0)
    """Silence after which an upload is given up and discarded. Short: Spark's event logs, which
    are silent between jobs, are lost."""
    send_idle_seconds: float = setting(values.within(parse_duration, 0.1, 86_400), 900.0)
    """How long a client may take no byte of what it is sent. Short: slow readers are cut off."""
    stream_memory: int = setting(
        values.within(values.memory, 1 * limits.MIB, 1 << 50), 256 * limits.MIB
    )
    """Buffers of all files being sent by a process: bytes or a share of RAM. Beyond it streams go
    on in small pieces."""
    uploads: int = setting(values.within(values.whole, 1, 100_000), 64)
    """Uploads of a process that hold unpublished bytes at a time, each about three blocks, 12 MiB;
    one of larger blocks than usual counts as several, further ones wait. Many, and memory for them;
    few, and uploads queue."""
    audit: str = setting(values.choice(*LEVELS), "off")
    """What the audit log has of requests, a line of JSON each: nothing (``off``), what was refused
    (``deny``), or all (``on``)."""
    audit_rate: int = setting(values.within(values.whole, 1, 1_000_000), RATE)
    """Lines of it in a second for one user at an address; how many more there were is said after
    that."""
    log_level: str = setting(values.choice("debug", "info", "warning", "error"), "info")
    """The least that is logged."""
    log_format: str = setting(values.choice("text", "json"), "text")
    """``text`` for people, ``json`` (an object a line) for machines."""
    insecure: bool = setting(values.flag, False)
    """Allow to listen beyond loopback without TLS and authentication: whoever reaches the port can
    read and write everything under any name."""

    def __post_init__(self) -> None:
        validate(self)

    def conflicts(self) -> Iterator[str]:
        """What no single field shows."""
        secure = self.tls_certificate and "simple" not in self.authentication
        if not (self.insecure or secure or values.is_loopback(self.host)):
            yield (
                f"host: {self.host!r} is open to the network, which needs tls_certificate and "
                "authentication other than simple, or insecure = true"
            )
        if not (self.advertise or values.is_loopback(self.host)):
            yield (
                f"advertise: {self.host!r} is open to the network: name the address that clients "
                "use, host:port"
            )
        if "simple" in self.authentication and len(self.authentication) > 1:
            yield "authentication: beside simple no other proof is worth anything"
        for method in self.authentication:
            for needed in METHODS[method]:
                if not getattr(self, needed):
                    yield f"{needed}: authentication = {method} needs it"
        for name in ("tls_key", "tls_client_ca"):
            if getattr(self, name) and not self.tls_certificate:
                yield f"{name}: set without tls_certificate"
