"""The alarms: rules that Prometheus takes, of metrics that there are, and the document has them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from memfs.monitoring.catalogue import CATALOGUE
from tests.support.debian import unpacked

TOP = Path(__file__).parents[3]
RULES = TOP / "deploy" / "alarms.yml"
CASES = Path(__file__).with_name("alarms_test.yml")
SUITE = "bookworm"
"""Whose package of Prometheus has promtool in it."""


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return list(group["rules"])


def test_prometheus_takes_the_rules_and_they_fire_when_they_should(tmp_path: Path) -> None:
    promtool = unpacked("prometheus", ["prometheus"], SUITE) / "usr" / "bin" / "promtool"
    for path in (RULES, CASES):
        shutil.copy(path, tmp_path)
    for command in (["check", "rules", RULES.name], ["test", "rules", CASES.name]):
        done = subprocess.run(
            [promtool, *command], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_metrics_exist() -> None:
    named = {name for rule in rules() for name in re.findall(r"memfs_\w+", rule["expr"])}
    assert named <= {family.name for family in CATALOGUE}


def test_the_document_has_the_same_table() -> None:
    text = (TOP / "docs" / "operations.md").read_text()
    table = text.partition("| alarm | severity |")[2].partition("\n\n")[0].splitlines()[2:]
    assert table == [row(rule) for rule in rules()]


def row(rule: dict[str, Any]) -> str:
    expression = " ".join(rule["expr"].split())
    cells = (
        f"`{rule['alert']}`",
        rule["labels"]["severity"],
        f"`{expression}`",
        rule.get("for", "at once"),
        rule["annotations"]["step"],
    )
    return f"| {' | '.join(cells)} |"


def test_the_compose_file_loads_them() -> None:
    deploy = TOP / "deploy"
    assert yaml.safe_load((deploy / "prometheus.yml").read_text())["rule_files"] == [RULES.name]
    services = yaml.safe_load((deploy / "compose.yaml").read_text())["services"]
    assert f"./{RULES.name}:/etc/prometheus/{RULES.name}:ro" in services["prometheus"]["volumes"]
