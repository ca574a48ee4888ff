"""``python -m benchmarks``: run benchmarks, print the table.

A benchmark that fails is reported and does not stop the others; the exit code is then 1. A target
that is missed is a result, not a failure; nor is it one when a library cannot be had.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
import traceback
from collections.abc import Iterator

from rich.console import Console

from benchmarks.guard import guarded
from benchmarks.harness import Row, Scale, SkippedError, show

TABLE_COLUMNS = 132
BENCHMARKS = (
    "sequential_read",
    "sequential_write",
    "local_read",
    "local_commands",
    "zero_copy",
    "tls",
    "stat",
    "stat_concurrent",
    "read_many",
    "write_many",
    "create_small",
    "append",
    "growth",
    "listing",
    "scale",
    "memory",
    "node_memory",
    "small_memory",
    "pauses",
    "healing",
    "mount",
    "stores",
    "gateway",
    "gateway_java",
    "libraries.fsspec_cat",
    "libraries.images",
    "libraries.checkpoint",
    "libraries.tfrecords",
)


def main() -> int:
    """Run what the command line chooses; return the exit code."""
    chosen = arguments()
    scale = Scale(chosen.smoke, 1 if chosen.smoke else chosen.rounds)
    rows: list[Row] = []
    failed: list[str] = []
    for name in chosen.only or BENCHMARKS:
        started = time.monotonic()
        print(f"{name} ...", end=" ", file=sys.stderr, flush=True)
        try:
            rows += run(name, scale)
        except SkippedError as reason:
            print(f"skipped: {reason}", file=sys.stderr)
        except Exception:
            failed.append(name)
            traceback.print_exc()
        print(f"{time.monotonic() - started:.0f} s", file=sys.stderr)
    if chosen.json:
        print(json.dumps([row.as_dict() for row in rows], indent=2))
    else:
        size = "smoke size: the numbers mean nothing" if scale.smoke else f"{scale.rounds} rounds"
        show(rows, console(), f"memfs benchmarks, {size}")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


def console() -> Console:
    """Return the terminal; a pipe gets the table as wide as it is."""
    return Console(width=None if sys.stdout.isatty() else TABLE_COLUMNS)


def run(name: str, scale: Scale) -> Iterator[Row]:
    """Run one benchmark."""
    module = importlib.import_module(f"benchmarks.{name}")
    yield from module.run(scale)


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=BENCHMARKS, metavar="NAME")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: only shows that it runs")
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds of each contender")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    return parser.parse_args()


if __name__ == "__main__":
    with guarded():
        outcome = main()
    sys.exit(outcome)
