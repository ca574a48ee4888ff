"""No file of the machine that runs the tests is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from memfs.config import sources


@pytest.fixture(autouse=True)
def no_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No file of the machine that runs the tests is read; returns where the user's file goes."""
    user = tmp_path / "user.toml"
    monkeypatch.setattr(sources, "SYSTEM_FILE", str(tmp_path / "system.toml"))
    monkeypatch.setattr(sources, "USER_FILE", str(user))
    return user
