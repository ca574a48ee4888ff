"""TensorBoard's way to ``memfs://`` where TensorFlow is installed: a plugin without a page.

TensorBoard loads what the entry points ``tensorboard_plugins`` name before it looks at its log
directory. Without TensorFlow it takes fsspec, which knows ``memfs://`` by itself.
"""

from __future__ import annotations

import importlib.util

from tensorboard.plugins.base_plugin import TBLoader

from memfs.paths import SCHEME
from memfs.types import Untyped

ITS_SECONDS, OUR_SECONDS = 5.0, 1.0
"""Seconds between two looks at the logs: TensorBoard's default, and ours for files in memory."""


class Loader(TBLoader):  # type: ignore[misc]  # tensorboard has no types
    """Acts when the flags are known and lead here: nobody else pays for TensorFlow."""

    def fix_flags(self, flags: Untyped) -> None:
        """Called once, before anything is read."""
        given = (getattr(flags, name, "") or "" for name in ("logdir", "logdir_spec"))
        if not any(f"{SCHEME}://" in each for each in given):
            return
        if getattr(flags, "reload_interval", None) == ITS_SECONDS:
            flags.reload_interval = OUR_SECONDS
        if importlib.util.find_spec("tensorflow"):
            from memfs.integrations.tensorflow.plugin import register

            register()

    def load(self, context: Untyped) -> None:
        """There is no page to show."""
