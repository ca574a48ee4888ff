"""Which etcd the tests accept."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import etcd_package


@pytest.mark.parametrize(
    ("version", "good"), [("3.4.23", False), ("3.5.2", False), ("3.5.16", True)]
)
def test_an_etcd_that_loses_data_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, good: bool
) -> None:
    binary = tmp_path / "etcd"
    binary.write_text(f"#!/bin/sh\necho etcd Version: {version}\n")
    binary.chmod(0o755)
    monkeypatch.setenv(etcd_package.BINARIES_VARIABLE, str(tmp_path))
    if good:
        assert etcd_package.etcd_binaries() == tmp_path
    else:
        with pytest.raises(RuntimeError, match="or newer"):
            etcd_package.etcd_binaries()


def test_without_one_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str, packages: tuple[str, ...]) -> Path:
        raise RuntimeError("no Debian archive is configured")

    monkeypatch.delenv(etcd_package.BINARIES_VARIABLE, raising=False)
    monkeypatch.setattr(etcd_package, "unpacked", none)
    with pytest.raises(RuntimeError, match="MEMFS_TEST_ETCD"):
        etcd_package.etcd_binaries()
