"""The built wheel in empty environments, with the README's first lines; the other project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_cluster import clean_environment, dev_cluster

TOP = Path(__file__).parents[2]
OLDEST, NEWEST = "3.11", "3.13"
OTHER = "memfs==0.1.8"
"""The project that owns the name on PyPI."""


def run(*command: str | Path, **options: object) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
        **options,  # type: ignore[call-overload]
    )
    assert done.returncode == 0, f"{command}: {done.stdout}"
    return str(done.stdout)


def interpreter(version: str) -> str:
    """A Python of this version: our own, on the PATH, or one that pyenv keeps."""
    if version == "{}.{}".format(*sys.version_info):
        return sys.executable
    kept = Path("~/.pyenv/versions").expanduser().glob(f"{version}*/bin/python{version}")
    found = next(map(str, sorted(kept)), None) or shutil.which(f"python{version}")
    if found is None:
        assert not os.environ.get("CI"), f"Python {version} is missing"
        pytest.skip(f"the wheel was not tried on Python {version}: it is not here")
    return found


@pytest.fixture(scope="module", params=[OLDEST, NEWEST])
def environment(
    request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """The programs of an environment that holds nothing but the wheel and what it asks for."""
    assert wheel.name.startswith("memfs_cluster-")
    top = tmp_path_factory.mktemp("environment")
    run(interpreter(request.param), "-m", "venv", top)
    run(top / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", wheel)
    yield top / "bin"
    shutil.rmtree(top)


def blocks(language: str) -> list[str]:
    """The README's blocks of code."""
    text = (TOP / "README.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_readme_in_an_empty_environment(environment: Path, tmp_path: Path) -> None:
    (tmp_path / "local-directory").mkdir()
    (tmp_path / "local-directory" / "some.txt").write_text("some text\n")
    program = str(environment / "memfs")
    assert run(program, "--version") == "memfs 0.1.0\n"
    with dev_cluster(tmp_path, "--memory=256MiB", command=[program]) as cluster:
        path = f"{environment}:{os.environ['PATH']}"
        settings = clean_environment(MEMFS_URL=cluster.url, PATH=path)
        python = environment / "python"
        first = run(python, "-W", "error", "-c", blocks("python")[0], cwd=tmp_path, env=settings)
        assert first == "Hello, world!\n"
        (commands,) = (block for block in blocks("sh") if block.startswith("memfs mkdir -p"))
        said = run("bash", "-euxc", commands, cwd=tmp_path, env=settings)
        assert "some text\n" in said and "healthy" in said, said


def test_paths_and_files_are_those_of_this_python(environment: Path) -> None:
    """The rules of ``pathlib`` change between releases; the other levels run on one of them."""
    pip = [environment / "pip", "install", "--quiet", "--disable-pip-version-check"]
    run(*pip, "pytest", "pytest-asyncio", "pytest-timeout", "hypothesis")
    tests = [f"tests/unit/client/blocking/test_{name}.py" for name in ("path", "files")]
    run(environment / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, cwd=TOP)


def test_beside_the_other_project(environment: Path, wheel: Path) -> None:
    """Whichever was installed last: one sentence says what is wrong and what to do."""
    pip = [environment / "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]
    python = environment / "python"
    advice = "pip uninstall memfs memfs-cluster"
    run(*pip, OTHER)
    for reinstalled in (False, True):
        if reinstalled:
            run(*pip, "--force-reinstall", wheel)
            done = subprocess.run(
                [python, "-Pc", "import memfs"], capture_output=True, text=True, check=True
            )
            assert advice in done.stderr
        done = subprocess.run(
            [python, "-Pm", "memfs.cli", "--version"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1 and advice in done.stderr
        assert "Traceback" not in done.stderr
    run(environment / "pip", "uninstall", "--quiet", "--yes", "memfs", "memfs-cluster")
    run(*pip, wheel)
    assert run(environment / "memfs", "--version") == "memfs 0.1.0\n"
