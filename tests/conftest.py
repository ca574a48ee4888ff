"""For every level of tests."""

import os
import signal
from pathlib import Path

# Imported while there is one thread only. Otherwise pytest's plugin of it does so when the tests
# are over, and CPython 3.11 fails to rewrite it (SystemError) beside a cluster's busy thread.
import hypothesis
import pytest

from tests.support.environments import USED, built_wheel, unpacked_wheel

# Ctrl-C works in the tests and in what they start, also when a shell began them in the background,
# where it is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No test asserts a time: machines are noisy. HYPOTHESIS_PROFILE=nightly tries many more examples.
hypothesis.settings.register_profile("memfs", deadline=None, max_examples=60)
hypothesis.settings.register_profile("nightly", deadline=None, max_examples=2000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "memfs"))


def pytest_addoption(parser):
    parser.addoption(
        "--record", action="store_true", help="write what the scenarios of nodes print into them"
    )


def pytest_terminal_summary(terminalreporter):
    for line in USED.values():
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built on the spot."""
    return built_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def installed(wheel: Path) -> Path:
    """A directory with what the wheel installs: for environments of heavy libraries."""
    return unpacked_wheel(wheel)
