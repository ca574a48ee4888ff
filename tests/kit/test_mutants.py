"""The mutation gate itself: every patch fits the code, and a guard that is gone is noticed.

The whole gate is ``make mutants``; here it is run for a few guards that few seeds suffice for.
"""

from __future__ import annotations

import inspect
import sys

import pytest

from memfs.testing.patches import find, replaced
from tests.support.campaign import play_seed
from tests.support.mutants import MUTANTS

GUARDED = ("memfs.node", "memfs.cluster", "memfs.client", "memfs.fuse", "memfs.transport")
QUICK = ["ack-before-backups", "sweeps-uncommitted-blocks", "local-state-in-apply"]


def test_there_are_enough():
    assert len(MUTANTS) >= 20


@pytest.mark.parametrize("name", MUTANTS)
def test_every_patch_fits_and_is_taken_back(name):
    before = guards()
    with MUTANTS[name].patch():
        now = guards()
        assert now != before
    for owner, names in before.items():
        for each, value in names.items():
            if inspect.isfunction(value) and now[owner][each] is not value:
                assert can_be_called_like(value, now[owner][each]), f"{owner}.{each}"
    assert guards() == before


def can_be_called_like(function, instead):
    """Whether ``instead`` takes the arguments of ``function``: a crash proves nothing."""
    taken = inspect.signature(function).parameters.values()
    named = {p.name: None for p in taken if p.kind is p.KEYWORD_ONLY}
    placed = [p for p in taken if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    try:
        inspect.signature(instead).bind(*placed, **named)
    except TypeError:
        return False
    return True


def guards():
    """Everything that the modules of the node, the cluster and the client define now."""
    modules = {name: module for name, module in sys.modules.items() if name.startswith(GUARDED)}
    found = {}
    for name, module in modules.items():
        found[name] = dict(vars(module))
        for each in vars(module).values():
            if isinstance(each, type) and each.__module__ == name:
                found[f"{name}.{each.__name__}"] = dict(vars(each))
    return found


@pytest.mark.parametrize("name", QUICK)
def test_a_guard_that_is_gone_is_noticed(name):
    with MUTANTS[name].patch():
        assert any(play_seed(seed).failures for seed in range(12))


def test_a_replaced_name_comes_back_after_an_error():
    class Owner:
        value = 1

    with pytest.raises(RuntimeError), replaced(Owner, "value", 2):
        raise RuntimeError
    assert Owner.value == 1


def test_dotted_names():
    owner, name = find("memfs.limits.KIB")
    assert getattr(owner, name) == 1024
    owner, name = find("memfs.node.replication.primary.Primary.query")
    assert callable(getattr(owner, name))
