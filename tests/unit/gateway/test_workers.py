"""What several workers count, added up."""

from __future__ import annotations

from memfs.gateway.workers import Total
from memfs.monitoring.metrics import FamilySnapshot, Metrics, SampleSnapshot, Snapshot, expose


def counted(kind: str, times: int, connections: int = 0) -> Snapshot:
    metrics = Metrics(process=False)
    for _ in range(times):
        metrics.operation(kind).succeeded(0.001)
    metrics.operation(kind).failed(2.0, "BusyError")
    metrics.bind(gateway_connections=lambda: connections, gateway_hidden_names_total=lambda: times)
    return metrics.snapshot()


def lines(snapshot: Snapshot) -> set[str]:
    return {line for line in expose(snapshot).decode().splitlines() if not line.startswith("#")}


def test_a_snapshot_is_exposed_as_the_metrics_themselves() -> None:
    metrics = Metrics()
    metrics.operation("OPEN").succeeded(0.2)
    metrics.bind(files=lambda: 3)
    shown, again = metrics.expose().decode(), expose(metrics.snapshot()).decode()
    moving = ("process_cpu", "process_virtual", "process_resident")
    assert [line for line in shown.splitlines() if not line.startswith(moving)] == [
        line for line in again.splitlines() if not line.startswith(moving)
    ]


def test_counters_histograms_and_gauges_add_up() -> None:
    total = Total()
    total.add(counted("OPEN", 3, 5))
    total.add(counted("OPEN", 4, 1))
    total.add(counted("CREATE", 1))
    shown = lines(total.snapshot())
    assert 'memfs_operations_total{kind="OPEN",result="ok"} 7.0' in shown
    assert 'memfs_operations_total{kind="OPEN",result="BusyError"} 2.0' in shown
    assert 'memfs_operations_total{kind="CREATE",result="ok"} 1.0' in shown
    assert 'memfs_operation_seconds_count{kind="OPEN"} 9.0' in shown
    assert 'memfs_operation_seconds_bucket{kind="OPEN",le="0.001"} 7.0' in shown
    assert "memfs_gateway_connections 6.0" in shown
    assert "memfs_gateway_hidden_names_total 8.0" in shown


def test_who_has_ended_keeps_what_he_counted_and_holds_nothing() -> None:
    total = Total()
    total.add(counted("OPEN", 3, 5), ended=True)
    total.add(counted("OPEN", 1, 2))
    shown = lines(total.snapshot())
    assert 'memfs_operations_total{kind="OPEN",result="ok"} 4.0' in shown
    assert "memfs_gateway_connections 2.0" in shown


def test_together_they_are_as_old_as_the_oldest() -> None:
    total = Total()
    for started in (30.0, 10.0, 20.0):
        sample = SampleSnapshot("process_start_time_seconds", {}, started)
        total.add([FamilySnapshot("process_start_time_seconds", "gauge", "", [sample])])
    assert lines(total.snapshot()) == {"process_start_time_seconds 10.0"}
