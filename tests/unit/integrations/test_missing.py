"""What is said where a library that an integration is for is not installed."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("library", ["fsspec", "tensorflow", "torch"])
def test_an_import_says_what_to_install(library: str) -> None:
    """The core itself needs none of them."""
    program = (
        f"import sys; sys.modules[{library!r}] = None\n"
        "import memfs, memfs.aio, memfs.integrations.training, memfs.cli.main\n"
        f"try:\n    import memfs.{library}\n"
        "except ImportError as error:\n    print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    said = f"{library} is not installed: pip install 'memfs-cluster[{library}]'\n"
    assert (ran.returncode, ran.stdout) == (0, said), ran.stderr
