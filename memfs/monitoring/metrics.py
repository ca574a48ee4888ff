"""What a node counts, and how it is shown to Prometheus.

Owns the catalogue of metrics and the counts of operations; everything else is read from its owner
at scrape time through functions that the node binds. Must not know HTTP or the node's classes.
Invariant: counting costs well under a microsecond and allocates nothing; all the work is done by
the scrape. Every node has a registry of its own, so that several can live in one process.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import NamedTuple, TypeAlias

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OK = "ok"

BOUNDS = (
    *(base * scale for scale in (1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0) for base in (1.0, 2.5, 5.0)),
    10.0,
    30.0,
)
"""Upper bounds of the latency buckets, seconds: 10 us to 30 s, three a decade."""


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
        "memfs_client_share_used",
        "gauge",
        "What all clients together have of a thing of which each gets a share: `bound` is "
        "`connections` (by user), `address_connections`, `unread_bytes` (answers that are not "
        "read), `ahead_bytes` (reserved for uploads that have not come), `unknown_bytes` "
        "(blocks of files that do not exist yet), these three by user and address; where the "
        "namespace is, `result_bytes` (kept for retries, by client), `xattr_bytes` (extended "
        "attributes, by the owner of the file), `tokens` (by owner) or `locks` (by client).",
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
    Family("memfs_log_kept_bytes", "gauge", "Bytes of their records."),
    Family("memfs_log_kept_entries_limit", "gauge", "Most entries that are kept."),
    Family("memfs_log_kept_bytes_limit", "gauge", "Most bytes of records that are kept."),
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
_BY_NAME = {family.name: family for family in CATALOGUE}


class SampleSnapshot(NamedTuple):
    """One number as it was."""

    name: str
    labels: dict[str, str]
    value: float


class FamilySnapshot(NamedTuple):
    """The numbers of one metric as they were."""

    name: str
    kind: str
    help: str
    samples: list[SampleSnapshot]


Snapshot: TypeAlias = list[FamilySnapshot]
"""All metrics of a process at one time, as plain data."""


class Histogram:
    """Counts of durations by bucket, in plain integers."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Upper bound to cumulative count, as Prometheus has it."""
        bounds = [f"{bound:g}" for bound in BOUNDS] + ["+Inf"]
        return list(zip(bounds, map(float, accumulate(self.counts)), strict=True))


class OperationMetrics:
    """What is counted of one kind of request."""

    __slots__ = ("failures", "histogram")

    def __init__(self) -> None:
        self.histogram = Histogram()
        self.failures: dict[str, int] = {}

    def succeeded(self, seconds: float) -> None:
        """Count one that was answered after ``seconds``."""
        histogram = self.histogram
        histogram.counts[bisect_left(BOUNDS, seconds)] += 1
        histogram.total += seconds

    def failed(self, seconds: float, result: str) -> None:
        """Count one that failed; ``result`` is the error's class or ``cancelled``."""
        self.histogram.observe(seconds)
        self.failures[result] = self.failures.get(result, 0) + 1

    def results(self) -> Iterator[tuple[str, int]]:
        """Counts by result."""
        yield OK, sum(self.histogram.counts) - sum(self.failures.values())
        yield from self.failures.items()


class Metrics:
    """The metrics of one node."""

    def __init__(self, *, process: bool = True) -> None:
        """Args: ``process``, add the ``process_*`` metrics of this process."""
        self.registry = CollectorRegistry(auto_describe=False)
        self.loop_lag = Histogram()
        self._histograms = {"memfs_loop_lag_seconds": self.loop_lag}
        self._operations: dict[str, OperationMetrics] = {}
        self._readers: dict[str, Callable[[], float]] = {}
        self._labelled: dict[str, Callable[[], Mapping[str, float]]] = {}
        self.registry.register(_NodeCollector(self))
        if process:
            ProcessCollector(registry=self.registry)

    def operation(self, kind: str) -> OperationMetrics:
        """The counts of a kind of request; callers on the hot path keep the result."""
        found = self._operations.get(kind)
        if found is None:
            found = self._operations[kind] = OperationMetrics()
        return found

    def bind(self, **readers: Callable[[], float]) -> None:
        """Say how to read metrics at scrape time: ``bind(memory_used_bytes=lambda: store.used)``.

        Names are those of the catalogue without ``memfs_`` and ``_total``. A metric that is not
        bound is not shown.
        """
        for short, read in readers.items():
            name = f"memfs_{short}"
            name = name if name in _BY_NAME else f"{name}_total"
            assert name in _BY_NAME and not _BY_NAME[name].labels, f"{name} is not in the catalogue"
            self._readers[name] = read

    def bind_labelled(self, **readers: Callable[[], Mapping[str, float]]) -> None:
        """As :meth:`bind`, for gauges with one label: values by that label's."""
        for short, read in readers.items():
            name = f"memfs_{short}"
            assert len(_BY_NAME[name].labels) == 1, f"{name} has not one label"
            self._labelled[name] = read

    def bind_histogram(self, short: str, histogram: Histogram) -> None:
        """Show a histogram of the catalogue that somebody else keeps."""
        assert f"memfs_{short}" in _BY_NAME, f"{short} is not in the catalogue"
        self._histograms[f"memfs_{short}"] = histogram

    def expose(self) -> bytes:
        """The text that ``/metrics`` serves, of type :data:`CONTENT_TYPE`."""
        return generate_latest(self.registry)

    def snapshot(self) -> Snapshot:
        """Everything that :meth:`expose` shows, to be added to what other processes count."""
        return [
            FamilySnapshot(
                each.name,
                each.type,
                each.documentation,
                [SampleSnapshot(s.name, s.labels, s.value) for s in each.samples],
            )
            for each in self.registry.collect()
        ]

    def families(self) -> Iterator[Metric]:
        """Everything counted, read now, in the order of the catalogue."""
        for family in CATALOGUE:
            if family.name == "memfs_operations_total":
                yield self._operations_total(family)
            elif family.name == "memfs_operation_seconds":
                yield self._operation_seconds(family)
            elif family.name in self._histograms:
                histogram = self._histograms[family.name]
                metric = HistogramMetricFamily(family.name, family.help)
                metric.add_metric((), histogram.buckets(), histogram.total)
                yield metric
            elif family.name in self._labelled:
                gauge = GaugeMetricFamily(family.name, family.help, labels=family.labels)
                for label, value in self._labelled[family.name]().items():
                    gauge.add_metric((label,), value)
                yield gauge
            elif family.name in self._readers:
                yield _single(family, float(self._readers[family.name]()))

    def _operations_total(self, family: Family) -> Metric:
        metric = CounterMetricFamily(family.name, family.help, labels=family.labels)
        for kind, operation in self._operations.items():
            for result, count in operation.results():
                metric.add_metric((kind, result), count)
        return metric

    def _operation_seconds(self, family: Family) -> Metric:
        metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
        for kind, operation in self._operations.items():
            histogram = operation.histogram
            metric.add_metric((kind,), histogram.buckets(), histogram.total)
        return metric


class _NodeCollector(Collector):
    """The node's metrics as the registry wants them."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        return self._metrics.families()


class _SnapshotCollector(Collector):
    """A snapshot as a registry wants it."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        for family in self._snapshot:
            metric = Metric(family.name, family.help, family.kind)
            for sample in family.samples:
                metric.add_sample(*sample)
            yield metric


def expose(snapshot: Snapshot) -> bytes:
    """A snapshot as the text of ``/metrics``."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_SnapshotCollector(snapshot))
    return generate_latest(registry)


def _single(family: Family, value: float) -> Metric:
    if family.kind == "counter":
        return CounterMetricFamily(family.name, family.help, value=value)
    return GaugeMetricFamily(family.name, family.help, value=value)


def catalogue_table() -> str:
    """The catalogue as the Markdown table of ``docs/metrics.md``."""
    lines = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for family in CATALOGUE:
        labels = ", ".join(f"`{label}`" for label in family.labels)
        lines.append(f"| `{family.name}` | {family.kind} | {labels} | {family.help} |")
    return "\n".join(lines) + "\n"
