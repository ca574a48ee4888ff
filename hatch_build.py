"""Builds the optional shim for TensorFlow where there is a C compiler; else the wheel is pure.

The shim needs no headers but libc's, so it does not depend on TensorFlow or Python: the wheel is
tagged for the platform only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = Path("memfs/integrations/tensorflow/shim.c")
TARGET = SOURCE.with_name("_shim.so")


class ShimHook(BuildHookInterface[Any]):
    """Called by hatchling for every wheel, an editable one included."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and say what the wheel is then for."""
        compiler = shutil.which(os.environ.get("CC", "cc"))
        if self.target_name != "wheel" or compiler is None:
            return
        top = Path(self.root)
        command = [compiler, "-shared", "-fPIC", "-O2", "-s", "-o", TARGET, SOURCE]
        if subprocess.run(command, cwd=top, check=False).returncode:
            return
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"
        build_data["artifacts"].append(str(TARGET))
