"""The frame of the command: help, usage errors, laziness, exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from memfs import config as config_module
from memfs.cli import main as main_module
from memfs.cli.fields import Kind, descriptions, markdown
from memfs.cli.main import run
from memfs.config import ClientConfig, GatewayConfig, NodeConfig

DOCUMENTS = Path(__file__).parents[3] / "docs"


def every_command() -> list[tuple[str, ...]]:
    """The path of each command, those of groups included."""
    found: list[tuple[str, ...]] = []
    context = click.Context(main_module.memfs)
    for name in main_module.memfs.list_commands(context):
        command = main_module.memfs.get_command(context, name)
        found.append((name,))
        if isinstance(command, click.Group):
            found += [(name, inner) for inner in command.list_commands(context)]
    return found


@pytest.mark.parametrize("path", every_command(), ids=" ".join)
def test_every_help_ends_with_an_example(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*path, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("Usage: memfs ")
    example = text.partition("Example:")[2]
    assert "memfs " + " ".join(path)[:20] in example


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    text = capsys.readouterr().out
    for name, *_ in every_command():
        assert f"  {name} " in text
    assert "Example" in text


def test_the_table_has_the_help_of_the_commands() -> None:
    context = click.Context(main_module.memfs)
    for name, (_, text) in main_module._COMMANDS.items():
        command = main_module.memfs.get_command(context, name)
        assert command is not None and command.name == name and command.help
        assert text.endswith(".")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nonsense"], "no such command 'nonsense'"),
        (["lss"], "did you mean 'ls'?"),
        (["ls", "--nonsense"], "--nonsense"),
        (["cat"], "Missing argument"),
        (["mkdir", "-m"], "requires an argument"),
        (["head", "-n", "x", "/a"], "x"),
        (["chmod", "u+q", "/a"], "invalid mode"),
        (["ls", "http://a/b"], "the scheme is not memfs://"),
        (["ls", "memfs://a:1/x", "memfs://b:2/y"], "other nodes"),
        (["ls", ""], "empty path"),
        (["dev", "--nodes", "0"], "0"),
        (["dev", "--port", "\N{FULLWIDTH DIGIT ONE}2"], "not a valid integer"),
        (["tree", "-L", "1_0", "/"], "not a valid integer"),
    ],
)
def test_usage_errors(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert says in found.err
    assert all(line.startswith("memfs: ") for line in found.err.splitlines())


def test_wrong_settings_are_usage_errors(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMFS_NODE_PROT", "1")
    assert run(["node", "--memory", "lots", "--weight", "x"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "memfs: MEMFS_NODE_PROT: unknown: did you mean 'port'?"
    assert [line.split(":")[1] for line in lines[1:]] == [" --memory", " --weight"]


def test_config_shows_values_and_origins(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(config_module.sources, "SYSTEM_FILE", str(tmp_path / "absent"))
    monkeypatch.setattr(config_module.sources, "USER_FILE", str(tmp_path / "absent"))
    monkeypatch.setenv("MEMFS_NODE_WEIGHT", "7")
    assert run(["config", "--url", "memfs://a:1"]) == 0
    text = capsys.readouterr().out
    assert "weight = 7  # MEMFS_NODE_WEIGHT" in text
    assert 'endpoints = ["a:1"]  # --url' in text
    assert run(["config", "client", "--json"]) == 0
    assert "[node]" not in capsys.readouterr().out


def test_what_config_prints_can_be_read_back(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(["config"]) == 0
    file = tmp_path / "c.toml"
    file.write_text(capsys.readouterr().out)
    before = config_module.load(NodeConfig, environ={})
    assert config_module.load(NodeConfig, path=str(file), environ={}) == before


@pytest.mark.parametrize("arguments", [["--timeout", "5ms", "config"], ["config", "--timeout=5ms"]])
def test_the_time_of_a_request(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMFS_CLIENT_TIMEOUT_SECONDS", "1m")
    assert run(["config", "client"]) == 0
    assert "timeout_seconds = 60.0  # MEMFS_CLIENT_TIMEOUT_SECONDS" in capsys.readouterr().out
    assert run(["--timeout", "1s", "config", "--timeout=20ms", "client"]) == 0
    assert "timeout_seconds = 0.02  # --timeout" in capsys.readouterr().out.splitlines()
    assert run(arguments) == 2
    assert capsys.readouterr().err.startswith("memfs: --timeout: ")
    assert run(["find", "/", "--timeout", "5ms", "-name", "x"]) == 2  # words of find's own
    assert capsys.readouterr().err.startswith("memfs: --timeout: ")


def test_a_time_that_a_command_has_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cluster", "wait", "--help"]) == 0
    assert capsys.readouterr().out.count("--timeout") == 2  # the option, the example
    assert run(["--timeout", "soon", "cluster", "wait", "--timeout", "1s"]) == 2
    assert capsys.readouterr().err.startswith("memfs: --timeout: 'soon' is no duration")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    assert "_MEMFS_COMPLETE" in capsys.readouterr().out


def test_help_imports_little() -> None:
    code = (
        "import sys; from memfs.cli.main import run; run(['--help']); "
        "heavy = {'rich', 'aiohttp', 'uvloop', 'asyncio', 'awscrt', 'msgpack', "
        "'prometheus_client', 'memfs.client', 'memfs.node', 'memfs.protocol'}; "
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("kind", "table"),
    [(NodeConfig, "node"), (ClientConfig, "client"), (GatewayConfig, "gateway")],
)
def test_document_holds_every_setting(kind: Kind, table: str) -> None:
    text = (DOCUMENTS / "configuration.md").read_text()
    assert markdown(kind, table) in text, "paste what markdown() returns"


@pytest.mark.parametrize("kind", [NodeConfig, ClientConfig, GatewayConfig])
def test_every_setting_is_described(kind: Kind) -> None:
    texts = descriptions(kind)
    assert texts.keys() == kind.__dataclass_fields__.keys()
    assert all(text.endswith(".") for text in texts.values())


def test_document_names_every_command() -> None:
    text = (DOCUMENTS / "cli.md").read_text()
    for path in every_command():
        assert f"memfs {' '.join(path)}" in text, path


@pytest.mark.parametrize("path", [(), ("certs",), ("cluster",), ("xattr",)], ids=" ".join)
def test_a_group_without_a_command_shows_its_help(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*path]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("Usage: memfs ")
    assert "memfs: " not in said.err and "Try 'memfs" not in said.err
