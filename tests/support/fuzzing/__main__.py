"""Run atheris on targets one after the other: see ``tests.support.fuzzing``."""

from __future__ import annotations

import argparse
import hashlib
import importlib
import subprocess
import sys
from pathlib import Path

DIRECTORY = Path(".fuzz")
"""What was found, and the corpus that grows from run to run."""

READERS = (
    *("memfs.protocol.records", "memfs.protocol.frames", "memfs.protocol.messages"),
    *("memfs.node.log.entries", "memfs.node.journal.segment_format"),
    *("memfs.security.delegation_tokens", "memfs.security.signature", "memfs.security.acls"),
    *("memfs.gateway.hadoop.parameters", "memfs.gateway.http.addresses"),
)
"""Instrumented with what they stand on. All of memfs would take a minute."""


def main() -> int:
    """Exit with 1 when a target found something."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.fuzzing", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of all targets together")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run one input, once")
    parser.add_argument("--seconds", type=int, help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    given = parser.parse_args()
    if given.seconds:
        (name,) = given.targets
        _fuzz(name, given.seconds)
        return 0
    from tests.support.fuzzing.targets import TARGETS

    if unknown := set(given.targets) - set(TARGETS):
        parser.error(f"no target {', '.join(sorted(unknown))}: {', '.join(TARGETS)}")
    names = given.targets or list(TARGETS)
    if given.replay:
        for name in names:
            TARGETS[name].run(given.replay.read_bytes())
        return 0
    seconds = max(1, int(60 * given.minutes / len(names)))
    failed = [name for name in names if _run(name, seconds)]
    print(
        f"found something in {', '.join(failed)}: see {DIRECTORY}/" if failed else "found nothing"
    )
    return 1 if failed else 0


def _run(name: str, seconds: int) -> int:
    """A process for each target: atheris does not return, and a finding ends it."""
    print(f"{name}: {seconds} s", flush=True)
    command = [sys.executable, "-m", "tests.support.fuzzing", "--seconds", str(seconds), name]
    return subprocess.run(command, check=False).returncode


def _fuzz(name: str, seconds: int) -> None:
    import atheris

    with atheris.instrument_imports(include=["memfs"]):
        for reader in READERS:
            importlib.import_module(reader)
    from tests.support.fuzzing.targets import TARGETS

    target, directory = TARGETS[name], DIRECTORY / name
    corpus = directory / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds():
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    options = (f"-max_total_time={seconds}", f"-artifact_prefix={directory}/", "-max_len=4096")
    atheris.Setup([sys.argv[0], *options, "-verbosity=0", str(corpus)], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
