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
SYMLINK_BYTES: Final = PATH_BYTES - 1  # as Linux, which counts a NUL at the end
LINK_COUNT: Final = 65_000  # as ext4; bounds the list of parents kept beside a hard-linked inode
XATTR_NAME_BYTES: Final = 255
XATTR_VALUE_BYTES: Final = 64 * KIB  # as Linux
XATTR_OVERHEAD_BYTES: Final = 48  # of each, in records and, roughly, in memory
XATTR_NAMES_BYTES: Final = 48 * KIB  # of an inode, overhead included: its names fit one record
XATTRS_TOTAL_BYTES: Final = 1 * MIB  # of an inode, the payload of one reply
XATTRS_IN_RECORD_BYTES: Final = 8 * KIB  # values up to here travel beside their names, not apart
XATTRS_CLUSTER_BYTES: Final = 1 * GIB  # of all inodes: they lie in the memory of the namespace
XATTRS_BYTES_PER_OWNER: Final = 256 * MIB  # one byte in four: who loops keeps nobody else out
assert XATTRS_TOTAL_BYTES <= XATTRS_BYTES_PER_OWNER <= XATTRS_CLUSTER_BYTES // 4
OWNER_BYTES: Final = 255
TIME_NS_MAX: Final = (1 << 63) - 1  # 2262-04-11: times are 64 bits of nanoseconds since 1970
TIME_NS_MIN: Final = -(1 << 63)
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
GENERATION_MAX: Final = (1 << 32) - 1  # leases of one file ever granted: 1,000 a second for 49 days

SEGMENT_BYTES_MIN: Final = 1 * MIB  # a group from here up is a memfd, smaller data is packed
CHUNK_BYTES: Final = 64 * KIB  # unit of checksums inside a block
assert BLOCK_BYTES_DEFAULT % CHUNK_BYTES == 0

# --- frames ----------------------------------------------------------------------------------

RECORD_BYTES: Final = 64 * KIB
PAYLOAD_BYTES: Final = BLOCK_BYTES_MAX
ARRAY_ELEMENTS: Final = 1_024  # of one array in a record: 8 KiB when its header is read
assert XATTR_NAMES_BYTES // (XATTR_OVERHEAD_BYTES + len("user.a")) <= ARRAY_ELEMENTS
assert XATTR_NAMES_BYTES + XATTRS_IN_RECORD_BYTES <= RECORD_BYTES - 4 * KIB
LOGGED_BYTES: Final = RECORD_BYTES + XATTR_VALUE_BYTES  # a command in the log, payload included
RECORD_MEMORY: Final = 1_800_000  # what decoding a record may allocate, see memfs.protocol.bombs
BYTES_IN_FLIGHT_PER_CONNECTION: Final = 256 * MIB
BYTES_IN_FLIGHT_PER_NODE: Final = 2 * GIB
REQUESTS_IN_FLIGHT_PER_CONNECTION: Final = 1024
REQUESTS_PER_NODE: Final = 262_144  # being served, of all clients: 1 KiB each and what they hold
REQUESTS_PER_USER: Final = 65_536  # one in four
CONNECTIONS_PER_NODE: Final = 16_384
MEMORY_PER_CONNECTION: Final = 128 * KIB  # a node takes no more: 9 KiB each, 1/14 of its memory
MEMBERS_SHARE: Final = 8  # one connection in so many is kept for other nodes
PRINCIPAL_SHARE: Final = (3, 4)  # of the clients' connections for one user, and for one address
PRINCIPAL_CONNECTIONS: Final = 32  # ... and so many on the smallest node: ten programs have them
FRAMES_PER_TURN: Final = 64  # of a client in a turn of the event loop: 2 to 3 ms of small requests
CLIENT_TURN_SECONDS: Final = 0.005  # of all clients in a turn: 1/200 of the shortest lease
CONNECTION_TURN_SECONDS: Final = 0.001  # of one client: others wait for one of its requests
HANDSHAKE_SECONDS: Final = 10.0
HANDSHAKE_RECORD_BYTES: Final = 16 * KIB
STALLED_FRAME_SECONDS: Final = 60.0  # a frame that has begun must end within this
KEEPALIVE_SECONDS: Final = 15.0
INBOX_BYTES: Final = 4 * KIB  # headers and records of an idle connection; 16 Ki of them: 64 MiB
INBOX_BYTES_BUSY: Final = 64 * KIB  # once a read has filled it: hundreds of small requests per read
OUTBOX_BYTES: Final = 256 * KIB  # answers collected until the transport gets them
TLS_PIECE_BYTES: Final = 512 * KIB  # encrypted at once; malloc maps no fresh pages for so little
WRITE_HIGH_WATER: Final = 8 * MIB  # unsent bytes at which a peer's requests are read no longer
WRITE_LOW_WATER: Final = 2 * MIB  # ... and are read again: ~1 ms at the loopback's speed
UNREAD_BYTES_PER_PRINCIPAL: Final = 64 * MIB  # of answers: eight connections at the high water
UNREAD_BYTES_PER_NODE: Final = 256 * MIB  # 1/8 of what requests in flight may take
UNREAD_SHARE: Final = 8  # ... and at most one byte in so many of a node's memory, half for one
UNREAD_SECONDS: Final = 10.0  # without a byte being read; then the worst connection is closed
ARRIVING_BYTES: Final = 128 * MIB  # of requests that have begun, beyond 4 KiB each: 2,000 records
ARRIVING_BYTES_LEAST: Final = 4 * MIB  # ... on a full node: 60 records at a time
ARRIVING_SHARE: Final = 16  # ... and at most one byte in so many of a node's memory
AHEAD_BYTES_PER_PRINCIPAL: Final = 256 * MIB  # reserved for uploads, and not come: 64 blocks
AHEAD_SHARE: Final = 4  # ... and at most one byte in so many of a node's memory
UPLOAD_STALLED_SECONDS: Final = 10.0  # for the next byte of an upload that holds a reservation
UNKNOWN_BYTES_PER_PRINCIPAL: Final = 256 * MIB  # blocks of files that the namespace lacks
UNKNOWN_SHARE: Final = 4  # ... and at most one byte in so many of a node's memory
CLOSE_SECONDS: Final = 5.0  # what a closed connection gets to send its last frames
COORDINATOR_WAIT_SECONDS: Final = 10.0  # a request that waits for a change of the view is renewed

# --- pages and batches -----------------------------------------------------------------------

# A block reference takes at most 9+5+9+5+5+5 + 1+8*5 + 1 = 80 bytes on the wire.
BLOCKS_PER_RECORD: Final = 700
assert BLOCKS_PER_RECORD * 80 <= RECORD_BYTES - 4 * KIB
# A directory entry takes at most 255 + ~90 bytes of attributes + owner and group.
ENTRIES_PER_PAGE: Final = 1_000  # pages also end when the record is full
FILES_PER_BATCH: Final = 256
FILES_PER_COMMAND: Final = 64  # written or removed in one: 1 to 2 ms of the primary's loop
BLOCKS_PER_BATCH: Final = 256
BATCH_PAYLOAD_BYTES: Final = 4 * MIB
SMALL_FILE_BYTES: Final = 128 * KIB  # up to here files travel in batches
WHOLE_READ_BYTES: Final = (
    512 * KIB
)  # up to here they are read in batches: a copy is 50 us, a request 150
WHOLE_REPLY_BYTES: Final = 8 * MIB  # of whole files in one answer: 64 of 77 KiB and half as many
assert 16 * WHOLE_READ_BYTES <= WHOLE_REPLY_BYTES <= WRITE_HIGH_WATER
OBJECTS_PER_QUESTION: Final = 1_000  # files below mounts, 20 B each in a record
VERSIONS_PER_DISCARD: Final = 1_000
INODES_PER_RESERVATION: Final = 1_024
SUBTREE_STEPS: Final = 1 << 20  # names looked at to check a tree's permissions: ~60 ms
REPLICAS_PER_COMMAND: Final = 256  # versions named anew: 12 KiB of a record, 1 ms to apply
INODES_PER_RECLAIM: Final = 512  # a background step of recursive delete: 4 ms at most

# --- replicated state ------------------------------------------------------------------------

NAMESPACE_COPIES: Final = 3  # the primary and two backups: one more round of acks buys little
SESSIONS: Final = 65_536
SESSIONS_PER_USER: Final = SESSIONS * 3 // 4  # of clients of one user: others get in
RESULTS_PER_SESSION: Final = 256  # a client keeps at most this many mutations unanswered
RESULT_BYTES_TOTAL: Final = 64 * MIB
RETRY_SECONDS: Final = 600  # no client repeats a command for longer
RESULT_SECONDS: Final = 3600  # ... and its result is kept for so long, whatever the clocks' rates
assert RESULT_SECONDS >= 2 * RETRY_SECONDS
LOCKS: Final = 262_144  # ranges held at once, about 250 bytes each: 64 MiB
LOCKS_PER_SESSION: Final = 65_536
LOCKS_PER_FILE: Final = 4_096  # each change looks at all of one file: 0.5 ms
LOCK_WAITS_PER_SESSION: Final = 512  # each is one of the connection's requests in flight
assert LOCK_WAITS_PER_SESSION <= REQUESTS_IN_FLIGHT_PER_CONNECTION // 2
LOCK_WAIT_MS: Final = 5_000  # then the question is asked again: it found out that a primary is gone
OPEN_FILES: Final = 262_144  # kept in mind by the primary, about 200 bytes each: 50 MiB
OPEN_FILES_PER_CLIENT: Final = 65_536
OPENS_PER_REPORT: Final = 3_000  # two numbers of nine bytes each: 54 KiB
USER_KEYS: Final = 65_536  # that prove users: 200 bytes each, 13 MiB
KEYS_PER_USER: Final = 16  # a page of 64 users fits a record
GROUPS_PER_USER: Final = 32  # names of 255 bytes each: 8 KiB of a record
GROUP_MEMBERSHIPS: Final = 262_144  # of users in the table of groups, 100 bytes each: 25 MiB
LIMITS_SET: Final = 1_024  # by the superuser: 300 bytes each
TOKENS: Final = 65_536  # delegation tokens alive: 64 MiB with the longest names, 20 MiB usually
TOKENS_PER_OWNER: Final = 4_096  # one in sixteen: a job that loops keeps nobody else out
WATCHED_INODES: Final = 131_072  # that a client may keep: 44 MiB of the primary's memory
WATCH_WAIT_MS: Final = 250  # a question for changes is renewed: several in the shortest read lease
LOG_ENTRIES_KEPT: Final = 100_000  # for catching up a backup without a snapshot
LOG_BYTES_KEPT: Final = 64 * MIB  # ... and their memory: a batch of small files takes 64 KiB
LOG_BYTES_CONFIRMED: Final = 4 * MIB  # ... of those that all in sync have: 8,000 small commands
REPLICATE_PAYLOAD_BYTES: Final = 4 * MIB
DIRECTORY_DEPTH: Final = PATH_BYTES // 2
EPOCHS_AT_ONCE: Final = 1_000_000  # views missed between two: four a second for three days
