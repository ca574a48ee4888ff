"""Hadoop's specification of a file system, case by case, by Hadoop's own client in Java."""

from __future__ import annotations

import re

import pytest
from hadoop_served import site

from tests.support.hadoop import java_program

PROGRAM = "HadoopContract"
CASES = 80


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the program says of a new cluster."""
    with site(tmp_path_factory.mktemp("nodes")) as served:
        served.native.mkdir("/contract")
        directory = tmp_path_factory.mktemp("java")
        return java_program(PROGRAM, directory, served.settings, [f"{served.url}/contract"])


def test_every_case(said: str) -> None:
    assert re.findall("^FAILED .*", said, re.MULTILINE) == []
    assert len(re.findall("^ok ", said, re.MULTILINE)) == CASES, said
