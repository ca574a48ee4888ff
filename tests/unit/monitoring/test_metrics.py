"""Metrics: counted right, shown as Prometheus reads it, and documented."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from memfs.monitoring.catalogue import CATALOGUE, catalogue_table
from memfs.monitoring.metrics import BOUNDS, Histogram, Metrics
from memfs.node.metric_bindings import bind_shares
from memfs.protocol.messages import BoundStatus

DOCUMENT = Path(__file__).parents[3] / "docs" / "metrics.md"


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = metrics.expose().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_operations() -> None:
    metrics = Metrics(process=False)
    operation = metrics.operation("Lookup")
    operation.succeeded(0.0003)
    operation.succeeded(0.0003)
    operation.failed(100.0, "PathNotFoundError")
    found = samples(metrics)
    kind = ("kind", "Lookup")
    assert found["memfs_operations_total", (kind, ("result", "ok"))] == 2
    assert found["memfs_operations_total", (kind, ("result", "PathNotFoundError"))] == 1
    assert found["memfs_operation_seconds_count", (kind,)] == 3
    assert found["memfs_operation_seconds_sum", (kind,)] == pytest.approx(100.0006)
    assert found["memfs_operation_seconds_bucket", (kind, ("le", "0.00025"))] == 0
    assert found["memfs_operation_seconds_bucket", (kind, ("le", "0.0005"))] == 2
    assert found["memfs_operation_seconds_bucket", (kind, ("le", "30"))] == 2
    assert found["memfs_operation_seconds_bucket", (kind, ("le", "+Inf"))] == 3


def test_the_same_kind_is_the_same_counts() -> None:
    metrics = Metrics(process=False)
    assert metrics.operation("A") is metrics.operation("A")
    assert metrics.operation("A") is not metrics.operation("B")


def test_bounds_are_inclusive_and_rising() -> None:
    assert list(BOUNDS) == sorted(set(BOUNDS))
    histogram = Histogram()
    for bound in BOUNDS:
        histogram.observe(bound)
    assert histogram.counts == [1] * len(BOUNDS) + [0]
    histogram.observe(1e9)
    assert histogram.buckets()[-1] == ("+Inf", len(BOUNDS) + 1)


def test_bound_values_are_read_at_scrape_time() -> None:
    metrics = Metrics(process=False)
    state = {"used": 1.0}
    metrics.bind(memory_used_bytes=lambda: state["used"], sent_bytes=lambda: 7)
    assert samples(metrics)["memfs_memory_used_bytes", ()] == 1
    state["used"] = 2
    found = samples(metrics)
    assert found["memfs_memory_used_bytes", ()] == 2
    assert found["memfs_sent_bytes_total", ()] == 7
    assert ("memfs_blocks", ()) not in found


def test_labelled_values_are_counters_or_gauges() -> None:
    metrics = Metrics(process=False)
    metrics.bind_labelled(
        store_hits=lambda: {"/a": 3, "/b": 4}, store_cached_bytes=lambda: {"/a": 5}
    )
    found = samples(metrics)
    assert found["memfs_store_hits_total", (("mount", "/a"),)] == 3
    assert found["memfs_store_hits_total", (("mount", "/b"),)] == 4
    assert found["memfs_store_cached_bytes", (("mount", "/a"),)] == 5
    with pytest.raises(AssertionError, match="has not one label"):
        metrics.bind_labelled(memory_used_bytes=dict)


def test_only_the_catalogue_can_be_bound() -> None:
    with pytest.raises(AssertionError, match="not in the catalogue"):
        Metrics(process=False).bind(nonsense=lambda: 1)
    with pytest.raises(AssertionError, match="not in the catalogue"):
        Metrics(process=False).bind(operations=lambda: 1)


def test_all_that_is_exposed_is_in_the_catalogue() -> None:
    metrics = Metrics(process=False)
    metrics.operation("Lookup").succeeded(0.1)
    metrics.loop_lag.observe(0.01)
    plain = [family for family in CATALOGUE if not family.labels and family.kind != "histogram"]
    metrics.bind(**{family.name.removeprefix("memfs_"): lambda: 1 for family in plain})
    for name in ("journal_namespace_seconds", "journal_blocks_seconds"):
        metrics.bind_histogram(name, Histogram())
    bind_shares(metrics, lambda: (BoundStatus("connections", 0, 0, 1, 1),))
    of_mounts = [family for family in CATALOGUE if family.labels == ("mount",)]
    metrics.bind_labelled(
        **{family.name.removeprefix("memfs_"): lambda: {"/data": 1} for family in of_mounts}
    )
    text = metrics.expose().decode()
    exposed = {
        line.split()[2]: line.split()[3] for line in text.splitlines() if line.startswith("# TYPE")
    }
    assert exposed == {family.name: family.kind for family in CATALOGUE}


def test_registries_are_apart() -> None:
    one, two = Metrics(), Metrics()
    one.operation("Lookup").succeeded(0.1)
    assert "Lookup" in one.expose().decode()
    assert "Lookup" not in two.expose().decode()
    assert "process_resident_memory_bytes" in one.expose().decode()


def test_names_follow_the_conventions() -> None:
    for family in CATALOGUE:
        assert family.name.startswith("memfs_")
        assert family.name.endswith("_total") == (family.kind == "counter")
        assert family.help.endswith(".")


def test_document_holds_the_catalogue() -> None:
    assert catalogue_table() in DOCUMENT.read_text(), "paste what catalogue_table() returns"


def test_shares_of_clients_are_shown_with_their_bounds() -> None:
    metrics = Metrics(process=False)
    bind_shares(metrics, lambda: (BoundStatus("connections", 7, 4, 5, 8),))
    found = samples(metrics)
    shown = {
        short: found[f"memfs_client_share_{short}", (("bound", "connections"),)]
        for short in ("used", "largest", "limit", "total_limit")
    }
    assert shown == {"used": 7, "largest": 4, "limit": 5, "total_limit": 8}
