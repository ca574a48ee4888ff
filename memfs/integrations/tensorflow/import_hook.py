"""Registers ``memfs://`` when a program imports tensorflow; ``memfs tensorflow-hook`` copies it.

The copy runs at the start of every Python of an environment, without memfs around it: it imports
nothing, and whatever fails leaves TensorFlow's import as it is.
"""

from __future__ import annotations

import sys

from memfs.types import Untyped

PLUGIN = "memfs.integrations.tensorflow.plugin"


class Finder:
    """Finds tensorflow as the others do, and has the file system registered after it."""

    @classmethod
    def find_spec(cls, name: str, path: Untyped = None, target: Untyped = None) -> Untyped:
        """The spec that the other finders return, with a further step after the import."""
        if name != "tensorflow":
            return None
        others = (each for each in sys.meta_path if each is not cls)
        found = (each.find_spec(name, path, target) for each in others)
        spec = next((each for each in found if each is not None), None)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: Untyped) -> None:
                execute(module)
                _register()

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _register() -> None:
    if PLUGIN in sys.modules:  # it is what imports tensorflow
        return
    try:
        from memfs.integrations.tensorflow.plugin import register

        register()
    except Exception as error:
        text = f"memfs: TensorFlow does not know memfs://: {error} ({__file__} was to register it)"
        print(text, file=sys.stderr)


def watch() -> None:
    """Install the finder."""
    sys.meta_path.insert(0, Finder)
