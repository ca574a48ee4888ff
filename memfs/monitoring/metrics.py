"""What a node counts, and how it is shown to Prometheus.

Owns the counts of operations; everything else is read from its owner
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

from memfs.monitoring.catalogue import CATALOGUE, Family

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OK = "ok"

BOUNDS = (
    *(base * scale for scale in (1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0) for base in (1.0, 2.5, 5.0)),
    10.0,
    30.0,
)
"""Upper bounds of the latency buckets, seconds: 10 us to 30 s, three a decade."""


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
            name = _full_name(short)
            assert name in _BY_NAME and not _BY_NAME[name].labels, f"{name} is not in the catalogue"
            self._readers[name] = read

    def bind_labelled(self, **readers: Callable[[], Mapping[str, float]]) -> None:
        """As :meth:`bind`, for metrics with one label: values by that label's."""
        for short, read in readers.items():
            name = _full_name(short)
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
                make = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
                labelled = make(family.name, family.help, labels=family.labels)
                for label, value in self._labelled[family.name]().items():
                    labelled.add_metric((label,), value)
                yield labelled
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


def _full_name(short: str) -> str:
    name = f"memfs_{short}"
    return name if name in _BY_NAME else f"{name}_total"


def _single(family: Family, value: float) -> Metric:
    if family.kind == "counter":
        return CounterMetricFamily(family.name, family.help, value=value)
    return GaugeMetricFamily(family.name, family.help, value=value)
