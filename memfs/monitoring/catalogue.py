"""The metrics that nodes, gateways and mounts show: names, kinds, labels and what they mean.

Owns nothing but the list, in the order in which it is shown.
"""

from __future__ import annotations

from typing import NamedTuple


class Family(NamedTuple):
    """One metric of the catalogue."""

    name: str
    kind: str
    """counter, gauge or histogram."""
    help: str
    labels: tuple[str, ...] = ()


CATALOGUE = (
    Family(
        "memfs_operations_total",
        "counter",
        "Requests answered. `kind` is the message of the protocol, at a gateway the operation of "
        "WebHDFS, at a mount the kernel's request; `result` is `ok`, `cancelled` "
        "or the class of the error, at a mount its number's name.",
        ("kind", "result"),
    ),
    Family(
        "memfs_operation_seconds",
        "histogram",
        "Time from a complete request to its answer, failures included.",
        ("kind",),
    ),
    Family("memfs_loop_lag_seconds", "histogram", "How late the event loop ran a timer."),
    Family("memfs_received_bytes_total", "counter", "Bytes received on all connections."),
    Family("memfs_sent_bytes_total", "counter", "Bytes sent on all connections."),
    Family("memfs_connections", "gauge", "Open connections of clients and nodes."),
    Family("memfs_connections_limit", "gauge", "Most of them that the node takes."),
    Family(
        "memfs_refused_connections_total", "counter", "Connections refused because of that limit."
    ),
    Family(
        "memfs_refused_capabilities_total",
        "counter",
        "Requests for blocks without a capability that is good for them: a few each time that some "
        "expire, many when somebody guesses.",
    ),
    Family(
        "memfs_client_share_used",
        "gauge",
        "What all clients together have of a thing of which each gets a share: `bound` is "
        "`connections` and `requests` (by user), `address_connections`, `unread_bytes` (answers "
        "that are not read), `arriving_bytes` (requests that have begun, beyond 4 KiB of a "
        "connection), `ahead_bytes` (reserved for uploads that have not come), `unknown_bytes` "
        "(blocks that no file has yet), these four by user and address; where the namespace is, "
        "`result_bytes` (kept for retries, by client), `xattr_bytes` (extended attributes, by the "
        "owner of the file), `tokens` (by owner), `locks` (by client) or `sessions` (clients, by "
        "user).",
        ("bound",),
    ),
    Family("memfs_client_share_largest", "gauge", "What the one has who has most.", ("bound",)),
    Family(
        "memfs_client_share_limit",
        "gauge",
        "Most for one; beyond it they are refused.",
        ("bound",),
    ),
    Family("memfs_client_share_total_limit", "gauge", "Most for all together.", ("bound",)),
    Family(
        "memfs_insecure",
        "gauge",
        "1 while the node listens beyond loopback and believes everybody (`insecure`).",
    ),
    Family(
        "memfs_certificate_expires_seconds",
        "gauge",
        "When the node's certificate ends, seconds since the epoch; 0: it has none.",
    ),
    Family("memfs_mount_open_files", "gauge", "Files that are open through a mount."),
    Family("memfs_mount_waiting_requests", "gauge", "Requests that wait for the cluster."),
    Family("memfs_mount_known_inodes", "gauge", "Inodes that a mount need not ask for."),
    Family("memfs_blocks", "gauge", "Block versions held."),
    Family("memfs_memfds", "gauge", "Groups of blocks in memory that clients of the host can map."),
    Family(
        "memfs_memfds_limit",
        "gauge",
        "Most of them, by the open files (LimitNOFILE) and mappings (vm.max_map_count) allowed.",
    ),
    Family(
        "memfs_unmappable_blocks_total",
        "counter",
        "Blocks that went to other memory because of that limit.",
    ),
    Family(
        "memfs_memory_used_bytes",
        "gauge",
        "Memory used of the limit: blocks, reservations, overhead.",
    ),
    Family(
        "memfs_memory_overhead_bytes",
        "gauge",
        "Memory used that is not blocks' own: records, index, namespace, buffers.",
    ),
    Family("memfs_memory_limit_bytes", "gauge", "Limit of that memory."),
    Family(
        "memfs_memory_spare_bytes",
        "gauge",
        "Memory of deleted blocks that is kept for new ones, within the limit.",
    ),
    Family(
        "memfs_memory_dead_bytes",
        "gauge",
        "Spare memory that lies between small blocks, until the cleaner has moved them.",
    ),
    Family(
        "memfs_memory_resident_bytes",
        "gauge",
        "Memory that the process and its memfds take, as the kernel says.",
    ),
    Family(
        "memfs_memory_container_bytes",
        "gauge",
        "Memory that the node's cgroup holds and cannot give back; 0: it has no limit.",
    ),
    Family("memfs_memory_container_limit_bytes", "gauge", "Limit of that cgroup; 0: none."),
    Family("memfs_segments", "gauge", "Segments that small blocks lie in."),
    Family("memfs_cleaned_bytes_total", "counter", "Bytes of small blocks that the cleaner moved."),
    Family("memfs_corrupt_blocks_total", "counter", "Copies found not to match their checksum."),
    Family(
        "memfs_orphan_blocks_total", "counter", "Block versions swept because no file has them."
    ),
    Family(
        "memfs_scrubbed_blocks_total",
        "counter",
        "Block versions of this node re-read against their checksums by the scrubber.",
    ),
    Family(
        "memfs_copied_blocks_total",
        "counter",
        "Blocks that this node, as the primary, had copied from one node to another.",
    ),
    Family("memfs_copied_bytes_total", "counter", "Bytes of those blocks."),
    Family(
        "memfs_endangered_blocks",
        "gauge",
        "Blocks with fewer copies than wanted, those on silent members not counted (on the "
        "primary).",
    ),
    Family(
        "memfs_under_replicated_blocks",
        "gauge",
        "Blocks with fewer copies than their files ask for, because there are too few nodes (on "
        "the primary).",
    ),
    Family("memfs_lost_blocks", "gauge", "Blocks without any good copy left (on the primary)."),
    Family(
        "memfs_misplaced_blocks",
        "gauge",
        "Blocks that wait for a move to where the ring wants them (on the primary).",
    ),
    Family(
        "memfs_bad_copies", "gauge", "Corrupt or missing copies not replaced yet (on the primary)."
    ),
    Family(
        "memfs_removed_members_total",
        "counter",
        "Silent members that this node, as the primary, took out of the cluster.",
    ),
    Family("memfs_low_space", "gauge", "1 from 90 % of the memory limit until below 85 %, else 0."),
    Family(
        "memfs_failovers_total",
        "counter",
        "Times that this node became the primary because the one before was lost.",
    ),
    Family(
        "memfs_handovers_total", "counter", "Times that this node was handed the primary's role."
    ),
    Family(
        "memfs_in_sync_changes_total",
        "counter",
        "Changes of the in-sync set that this node learned of.",
    ),
    Family("memfs_epoch", "gauge", "Epoch of the newest view known."),
    Family("memfs_members", "gauge", "Members of that view."),
    Family("memfs_in_sync_members", "gauge", "Members that are in sync by that view."),
    Family(
        "memfs_following_members",
        "gauge",
        "Those of them that follow: a silent one that cannot be spared stays in the view. 0 on "
        "every node but a serving primary.",
    ),
    Family(
        "memfs_required_members",
        "gauge",
        "Members that must be in sync before a command is acknowledged.",
    ),
    Family(
        "memfs_coordinator_reachable",
        "gauge",
        "1 if the coordinator answered the last sign of life, and that lately, else 0.",
    ),
    Family(
        "memfs_read_lease",
        "gauge",
        "1 while this node is the primary and may answer reads, else 0.",
    ),
    Family(
        "memfs_primary_silent_seconds",
        "gauge",
        "Seconds since the primary was heard of; 0 on the primary.",
    ),
    Family("memfs_in_sync", "gauge", "1 if this node holds every acknowledged command, else 0."),
    Family("memfs_primary", "gauge", "1 if this node is the namespace's primary, else 0."),
    Family("memfs_log_applied_index", "gauge", "Log index of the last namespace command applied."),
    Family(
        "memfs_log_committed_index", "gauge", "Log index up to which commands are acknowledged."
    ),
    Family(
        "memfs_log_kept_entries",
        "gauge",
        "Last log entries kept in memory, for members that fell behind.",
    ),
    Family("memfs_log_kept_bytes", "gauge", "Bytes of memory that they take."),
    Family("memfs_log_kept_entries_limit", "gauge", "Most entries that are kept."),
    Family("memfs_log_kept_bytes_limit", "gauge", "Most bytes of memory that they take."),
    Family("memfs_journal_bytes", "gauge", "Bytes of this node's journal on its disk."),
    Family("memfs_journal_written_bytes_total", "counter", "Bytes written to it."),
    Family(
        "memfs_journal_lag_bytes", "gauge", "Bytes that wait to be written and synced to the disk."
    ),
    Family(
        "memfs_journal_namespace_seconds",
        "histogram",
        "Time to write and sync one batch of the namespace's log.",
    ),
    Family(
        "memfs_journal_blocks_seconds", "histogram", "Time to write and sync one batch of blocks."
    ),
    Family(
        "memfs_journal_complete", "gauge", "1 if the journal holds the namespace up to now, else 0."
    ),
    Family("memfs_journal_full", "gauge", "1 while the journal's disk is full or fails, else 0."),
    Family("memfs_journal_failures_total", "counter", "Batches that could not be written."),
    Family(
        "memfs_journal_unusable_blocks",
        "gauge",
        "Blocks of the journal that were damaged, or did not fit into memory, at the start.",
    ),
    Family("memfs_files", "gauge", "Files and symlinks of the namespace."),
    Family("memfs_directories", "gauge", "Directories of the namespace."),
    Family("memfs_sessions", "gauge", "Client sessions of the namespace."),
    Family(
        "memfs_store_hits_total",
        "counter",
        "Reads of a mounted store's blocks that this node had; what programs of its host read out "
        "of its memory is not counted. `mount` is the directory.",
        ("mount",),
    ),
    Family(
        "memfs_store_misses_total", "counter", "Reads that the store was asked for.", ("mount",)
    ),
    Family("memfs_store_fetched_bytes_total", "counter", "Bytes of blocks read there.", ("mount",)),
    Family(
        "memfs_store_evicted_blocks_total",
        "counter",
        "Cached blocks that went for others, or because nobody read them any more.",
        ("mount",),
    ),
    Family("memfs_store_cached_bytes", "gauge", "Bytes of cached blocks on this node.", ("mount",)),
    Family(
        "memfs_store_quota_bytes",
        "gauge",
        "This node's part of the mount's quota; 0: it has none.",
        ("mount",),
    ),
    Family(
        "memfs_store_requests_total",
        "counter",
        "Questions to the store and changes of it by this node, retries not counted.",
        ("mount",),
    ),
    Family(
        "memfs_store_errors_total",
        "counter",
        "Those that the store did not answer in time, or refused.",
        ("mount",),
    ),
    Family(
        "memfs_store_in_trouble",
        "gauge",
        "1 if the last of them was such a one, else 0.",
        ("mount",),
    ),
    Family(
        "memfs_store_persisted_bytes_total",
        "counter",
        "Bytes of changed files that the store took (from the primary).",
        ("mount",),
    ),
    Family(
        "memfs_store_conflicts_total",
        "counter",
        "Changes that met others' changes of the same object; both were kept.",
        ("mount",),
    ),
    Family(
        "memfs_store_unsaved_changes",
        "gauge",
        "Changes, deletions included, that the store lacks (on the primary).",
        ("mount",),
    ),
    Family("memfs_store_unsaved_bytes", "gauge", "Bytes of the files among them.", ("mount",)),
    Family(
        "memfs_store_unsaved_seconds",
        "gauge",
        "Age of the oldest of them; 0: there is none.",
        ("mount",),
    ),
    Family("memfs_gateway_connections", "gauge", "Gateway: open HTTP connections."),
    Family(
        "memfs_gateway_connections_limit",
        "gauge",
        "Gateway: most of them, by the setting `connections` and the open files allowed.",
    ),
    Family(
        "memfs_gateway_refused_connections_total",
        "counter",
        "Gateway: connections refused because of that limit.",
    ),
    Family("memfs_gateway_sessions", "gauge", "Gateway: users with a session of the cluster."),
    Family("memfs_gateway_streams", "gauge", "Gateway: files being sent."),
    Family("memfs_gateway_uploads", "gauge", "Gateway: files being received."),
    Family(
        "memfs_gateway_hidden_names_total",
        "counter",
        "Gateway: names with `:` left out of listings for Hadoop, which cannot read them.",
    ),
    Family("memfs_gateway_buffer_bytes", "gauge", "Gateway: memory of the files being sent."),
)


def catalogue_table() -> str:
    """The catalogue as the Markdown table of ``docs/metrics.md``."""
    lines = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for family in CATALOGUE:
        labels = ", ".join(f"`{label}`" for label in family.labels)
        lines.append(f"| `{family.name}` | {family.kind} | {labels} | {family.help} |")
    return "\n".join(lines) + "\n"
