"""The settings of a client."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from memfs import limits, machine
from memfs.config import values
from memfs.config.record import setting, validate
from memfs.paths import DEFAULT_PORT, Endpoint
from memfs.quantities import parse_duration, parse_size

_OF_THE_USER: Final = ("those of the user",)


def _groups_of_the_user() -> tuple[str, ...]:
    """Stands for the groups of whoever the field ``user`` names."""
    return _OF_THE_USER


@dataclass(frozen=True, kw_only=True)
class ClientConfig:
    """One client: ``[client]`` in the file, ``MEMFS_CLIENT_*``, ``MEMFS_URL``, ``--url``."""

    endpoints: tuple[Endpoint, ...] = setting(
        values.endpoints, (Endpoint("localhost", DEFAULT_PORT),)
    )
    """Some nodes of the cluster, ``memfs://a:10500,b:10500``; the others are discovered. With one
    only, a client cannot start while that node is down."""
    user: str = setting(values.text, machine.login_name)
    """On whose behalf requests are made: owner of what is created."""
    groups: tuple[str, ...] = setting(values.words, _groups_of_the_user)
    """The user's groups; the first one becomes the group of what is created at the top. Of a user
    without any the only group is one of the same name."""
    group_rule: str = setting(values.choice("cluster", "parent"), "cluster")
    """The group of what this client creates: as the cluster's own ``group_rule`` says, or always
    its directory's (HDFS)."""
    certificates: str = setting(values.text, "auto")
    """Directory with ``ca.crt``, ``client.USER.crt`` and ``client.USER.key`` of ``memfs certs``,
    for a cluster that wants proof; ``auto``: ``~/.memfs/certs`` if it is there; empty: none, and
    nothing is encrypted. With one, a cluster that proves nothing is not believed."""
    token: str = setting(values.text, "", secret=True)
    """Delegation token that proves the user, as ``memfs token get`` prints it: before a
    certificate. Its owner is the user then. For a cluster that takes tokens."""
    token_file: str = setting(values.text, "auto")
    """A file with one, mode 0600; ``auto``: ``~/.memfs/token``, for who has neither certificate nor
    key; empty: none."""
    key_file: str = setting(values.text, "auto")
    """File with the user's key of ``memfs user add --generate`` or ``memfs keygen --signing``, mode
    0600; ``auto``: ``~/.memfs/USER.ed25519``, for who has no certificate; empty: none. For a
    cluster that takes keys."""
    timeout_seconds: float = setting(values.within(parse_duration, 0.01, 86_400), 30.0)
    """Budget of one call, retries included, or of each request of one that is cut into many; of a
    gateway, all that one request asks. Short: failovers surface as errors. Long: so do hangs,
    late."""
    replication: int = setting(values.within(values.whole, 0, limits.REPLICAS_MAX), 0)
    """Copies of what this client creates, 0: as the cluster says."""
    block_size: int = setting(
        values.within(parse_size, limits.BLOCK_BYTES_MIN, limits.BLOCK_BYTES_MAX, zero=True), 0
    )
    """Bytes of the blocks of what this client creates, 0: as the cluster says."""
    group_blocks: int = setting(values.within(values.whole, 0, 4096), 0)
    """Blocks of a placement group of what this client creates, 0: as the cluster says."""
    readahead_bytes: int = setting(values.within(parse_size, 0, limits.GIB), 32 * limits.MIB)
    """Most that is fetched ahead of a sequential reader, each open file. 0 makes every read wait
    for the network; much, and many open files fill the client's memory."""
    write_window_blocks: int = setting(values.within(values.whole, 1, 64), 4)
    """Blocks in flight of each file being written. 1 waits for every block; each more costs a
    block of memory."""
    local_descriptors: bool = setting(values.flag, True)
    """Read blocks of nodes on the same host through shared memory. Off: through the socket."""
    hedge_seconds: float = setting(values.within(parse_duration, 0, 3600), 0.5)
    """Ask a second replica when the first is silent for this long; 0: only after an error. Short:
    double load when the cluster is slow already."""
    encryption_key: tuple[bytes, ...] = setting(values.secret_keys, (), secret=True)
    """Keys of 32 bytes, base64 or hex, by which this client seals what files hold before it leaves:
    the first one seals, each opens what it sealed. What was not sealed cannot be read then."""
    encryption_key_file: str = setting(values.text, "")
    """A file with such keys, one a line, as ``memfs keygen`` makes it. Empty: nothing is sealed."""

    def __post_init__(self) -> None:
        if self.groups is _OF_THE_USER:
            object.__setattr__(self, "groups", machine.groups_of(str(self.user)))
        validate(self)

    def conflicts(self) -> Iterator[str]:
        """What no single field shows."""
        if not self.endpoints:
            yield "endpoints: empty: write memfs://host:port"
        if self.block_size % limits.BLOCK_BYTES_MIN:
            yield f"block_size: {self.block_size} is no multiple of {limits.BLOCK_BYTES_MIN}"
        if self.block_size * self.group_blocks > limits.GROUP_BYTES_MAX:
            yield "group_blocks: block_size x group_blocks exceeds 1 GiB"
