"""Every case runs on every surface that has what the case needs, each in a directory of its own."""

from __future__ import annotations

import itertools

import pytest

from .surfaces import SURFACES
from .surfaces.served import Served

_numbers = itertools.count(1)


def pytest_configure(config):
    config.addinivalue_line("markers", "needs(*features): what a surface must offer")


def pytest_generate_tests(metafunc):
    if "surface" not in metafunc.fixturenames:
        return
    markers = [*metafunc.definition.iter_markers("needs")]
    wanted = {feature for marker in markers for feature in marker.args}
    names = [name for name, cls in SURFACES.items() if wanted <= cls.features]
    metafunc.parametrize("surface", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def served():
    """The cluster behind the surfaces that have one; started when it is first needed."""
    served = Served()
    yield served
    served.close()


@pytest.fixture(scope="session")
def surface(request, served):
    """One surface, shared by all its cases."""
    opened = SURFACES[request.param](served)
    yield opened
    opened.close()


@pytest.fixture
def top(surface):
    """An empty directory for one case."""
    path = f"/case-{next(_numbers)}"
    surface.mkdir(path)
    return path
