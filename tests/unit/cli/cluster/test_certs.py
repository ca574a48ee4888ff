"""``memfs certs``: what it writes, under which modes, and what it refuses."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from memfs.cli.cluster.certs import certs
from memfs.errors import ConfigError
from memfs.security.certificate_files import check_private, find_client


def _run(directory: Path, *arguments: str) -> Result:
    return CliRunner().invoke(certs, [*arguments, f"--certs-dir={directory}"])


def _made(directory: Path) -> None:
    assert _run(directory, "create-ca").exit_code == 0
    assert _run(directory, "create-node", "localhost", "127.0.0.1").exit_code == 0
    assert _run(directory, "create-client", "alice").exit_code == 0


def test_the_layout_and_its_modes(tmp_path: Path) -> None:
    directory = tmp_path / "certs"
    _made(directory)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    stems = ("ca", "node", "client.alice")
    assert modes == {f"{stem}.crt": 0o644 for stem in stems} | {
        f"{stem}.key": 0o600 for stem in stems
    }
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_nothing_is_replaced_unasked(tmp_path: Path) -> None:
    _made(tmp_path)
    before = (tmp_path / "node.crt").read_bytes()
    refused = _run(tmp_path, "create-node", "localhost")
    assert isinstance(refused.exception, ConfigError)
    assert "--overwrite" in str(refused.exception)
    assert (tmp_path / "node.crt").read_bytes() == before
    assert _run(tmp_path, "create-node", "localhost", "--overwrite").exit_code == 0
    assert (tmp_path / "node.crt").read_bytes() != before


def test_the_authority_s_key_may_be_elsewhere(tmp_path: Path) -> None:
    safe = tmp_path / "safe.key"
    assert _run(tmp_path / "certs", "create-ca", f"--ca-key={safe}").exit_code == 0
    assert safe.exists()
    assert not (tmp_path / "certs/ca.key").exists()
    without = _run(tmp_path / "certs", "create-client", "bob")
    assert "ca.key" in str(without.exception)
    assert _run(tmp_path / "certs", "create-client", "bob", f"--ca-key={safe}").exit_code == 0


def test_which_certificate_proves_a_user(tmp_path: Path) -> None:
    _made(tmp_path)
    assert find_client(tmp_path, "alice") == "client.alice"
    assert find_client(tmp_path, "bob") == "client.alice", "the only one there is"
    assert _run(tmp_path, "create-client", "carol").exit_code == 0
    with pytest.raises(ConfigError, match="create-client bob"):
        find_client(tmp_path, "bob")


@pytest.mark.parametrize(("mode", "good"), [(0o600, True), (0o640, True), (0o604, False)])
def test_a_key_that_others_can_read_is_not_used(tmp_path: Path, mode: int, good: bool) -> None:
    key = tmp_path / "node.key"
    key.write_text("key")
    key.chmod(mode)
    if good:
        check_private(key)
    else:
        with pytest.raises(ConfigError, match="chmod 600"):
            check_private(key)
