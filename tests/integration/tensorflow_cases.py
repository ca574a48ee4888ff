"""Walks through TensorFlow on memfs: ``python tensorflow_cases.py memfs://host:port LOCAL``.

Runs where TensorFlow is, and prints a line a case. TensorFlow takes seconds to start, so all cases
share one process; each gets a directory of its own.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tensorflow_gfile
import tensorflow_training

import memfs.tensorflow

REMOTE = "memfs:///cases"


def main(url: str, local: str) -> int:
    """How many cases failed."""
    os.environ["MEMFS_URL"] = url
    tensorflow_gfile.the_authority_stays.named = lambda top: url + top.removeprefix("memfs://")
    memfs.tensorflow.register()  # a second time does nothing
    failed = 0
    for name, call in tensorflow_gfile.CALLS.items():
        failed += not told(f"gfile: {name}", lambda call=call: compare(call, local))
    for case in (*tensorflow_gfile.CASES, *tensorflow_training.CASES):
        failed += not told(case.__name__, lambda case=case: case(fresh(REMOTE)))
    return failed


def told(name: str, act: Callable[[], object]) -> bool:
    """Run and print; whether it went well."""
    begun = time.monotonic()
    try:
        act()
    except Exception:
        print(f"FAILED {name}\n{traceback.format_exc()}", flush=True)
        return False
    print(f"ok {name} ({time.monotonic() - begun:.2f} s)", flush=True)
    return True


def fresh(parent: str) -> str:
    """A directory that nobody has used."""
    fresh.used += 1
    top = f"{parent}/{fresh.used}"
    tf.io.gfile.makedirs(top)
    return top


fresh.used = 0


def compare(call: Callable[[str], Any], local: str) -> None:
    """TensorFlow's local file system says what is right."""
    expected, found = (outcome(call, fresh(parent)) for parent in (local, REMOTE))
    assert found == expected, f"\n memfs {found}\n local {expected}"


def outcome(call: Callable[[str], Any], top: str) -> Any:
    """The result without where it was, or the class of the error."""
    tensorflow_gfile.tree(top)
    try:
        return relative(call(top), top)
    except (tf.errors.OpError, ValueError) as error:
        return type(error).__name__


def relative(found: Any, top: str) -> Any:
    if isinstance(found, str):
        return found.replace(top, "TOP")
    if isinstance(found, list | tuple):
        return [relative(each, top) for each in found]
    return found


if __name__ == "__main__":
    sys.exit(min(main(*sys.argv[1:]), 100))
