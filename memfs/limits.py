"""Every bound of memfs, with the arithmetic behind it.

A constant here is either part of the protocol (both sides must agree) or a ceiling that keeps
memory, latency or fan-out finite. Tunable values live in ``memfs.config``; they are checked
against these.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

# --- names and paths (POSIX) -----------------------------------------------------------------

NAME_BYTES: Final = 255
PATH_BYTES: Final = 4096
SYMLINK_FOLLOWS: Final = 40  # as Linux
LINK_COUNT: Final = 65_000  # as ext4; bounds the list of parents kept beside a hard-linked inode
XATTR_NAME_BYTES: Final = 255
XATTR_VALUE_BYTES: Final = 32 * KIB  # so that name + value fit one record
XATTRS_TOTAL_BYTES: Final = 48 * KIB  # so that all of an inode's attributes fit one record
OWNER_BYTES: Final = 255
ACL_ENTRIES: Final = 32  # access ones, and again default ones, as HDFS: 17 KiB of a record at most

# --- files -----------------------------------------------------------------------------------

BLOCK_BYTES_DEFAULT: Final = 4 * MIB
BLOCK_BYTES_MIN: Final = 4 * KIB
BLOCK_BYTES_MAX: Final = 64 * MIB
GROUP_BLOCKS_DEFAULT: Final = 16  # 16 x 4 MiB = 64 MiB: Hadoop's split, one memfd
GROUP_BYTES_MAX: Final = 1 * GIB
FILE_BYTES_MAX: Final = 1 << 48
BLOCKS_PER_FILE: Final = 1 << 24  # 64 TiB of 4 MiB blocks; the table of one file stays < 512 MiB
REPLICAS_MAX: Final = 8

SEGMENT_BYTES_MIN: Final = 1 * MIB  # a group from here up is a memfd, smaller data is packed
CHUNK_BYTES: Final = 64 * KIB  # unit of checksums inside a block
assert BLOCK_BYTES_DEFAULT % CHUNK_BYTES == 0

# --- frames ----------------------------------------------------------------------------------

RECORD_BYTES: Final = 64 * KIB
PAYLOAD_BYTES: Final = BLOCK_BYTES_MAX
ARRAY_ELEMENTS: Final = 1_024  # of one array in a record: 8 KiB when its header is read
RECORD_MEMORY: Final = 1_800_000  # what decoding a record may allocate, see memfs.protocol.bombs
BYTES_IN_FLIGHT_PER_CONNECTION: Final = 256 * MIB
BYTES_IN_FLIGHT_PER_NODE: Final = 2 * GIB
REQUESTS_IN_FLIGHT_PER_CONNECTION: Final = 1024
CONNECTIONS_PER_NODE: Final = 16_384
HANDSHAKE_SECONDS: Final = 10.0
HANDSHAKE_RECORD_BYTES: Final = 16 * KIB
STALLED_FRAME_SECONDS: Final = 60.0  # a frame that has begun must end within this
KEEPALIVE_SECONDS: Final = 15.0
INBOX_BYTES: Final = 4 * KIB  # headers and records of an idle connection; 16 Ki of them: 64 MiB
INBOX_BYTES_BUSY: Final = 64 * KIB  # once a read has filled it: hundreds of small requests per read
OUTBOX_BYTES: Final = 256 * KIB  # answers collected until the transport gets them
WRITE_HIGH_WATER: Final = 8 * MIB  # unsent bytes at which a peer's requests are read no longer
WRITE_LOW_WATER: Final = 2 * MIB  # ... and are read again: ~1 ms at the loopback's speed
CLOSE_SECONDS: Final = 5.0  # what a closed connection gets to send its last frames
COORDINATOR_WAIT_SECONDS: Final = 10.0  # a request that waits for a change of the view is renewed

# --- pages and batches -----------------------------------------------------------------------

# A block reference takes at most 9+5+9+5+5+5 + 1+8*5 + 1 = 80 bytes on the wire.
BLOCKS_PER_RECORD: Final = 700
assert BLOCKS_PER_RECORD * 80 <= RECORD_BYTES - 4 * KIB
# A directory entry takes at most 255 + ~90 bytes of attributes + owner and group.
ENTRIES_PER_PAGE: Final = 1_000  # pages also end when the record is full
FILES_PER_BATCH: Final = 256
BLOCKS_PER_BATCH: Final = 256
BATCH_PAYLOAD_BYTES: Final = 4 * MIB
SMALL_FILE_BYTES: Final = 128 * KIB  # up to here files travel in batches
VERSIONS_PER_DISCARD: Final = 1_000
INODES_PER_RESERVATION: Final = 1_024
INODES_PER_RECLAIM: Final = 512  # a background step of recursive delete: ~2 ms

# --- replicated state ------------------------------------------------------------------------

NAMESPACE_COPIES: Final = 3  # the primary and two backups: one more round of acks buys little
SESSIONS: Final = 65_536
RESULTS_PER_SESSION: Final = 256  # a client keeps at most this many mutations unanswered
RESULT_BYTES_TOTAL: Final = 64 * MIB
TOKENS: Final = 65_536  # delegation tokens alive: 64 MiB with the longest names, 20 MiB usually
LOG_ENTRIES_KEPT: Final = 100_000  # for catching up a backup without a snapshot
LOG_BYTES_KEPT: Final = 64 * MIB  # ... and their records: a batch of small files takes 64 KiB
REPLICATE_PAYLOAD_BYTES: Final = 4 * MIB
DIRECTORY_DEPTH: Final = PATH_BYTES // 2
