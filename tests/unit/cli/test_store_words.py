"""What commands say of external stores."""

from __future__ import annotations

import inspect

import pytest

from memfs import errors
from memfs.cli.shell import reason

OF_STORES = [
    each
    for name, each in inspect.getmembers(errors, inspect.isclass)
    if name.startswith(("Store", "Object"))
]


@pytest.mark.parametrize("kind", OF_STORES)
def test_a_store_is_told_of_in_its_own_words(kind: type[errors.MemfsError]) -> None:
    """The system's word for a missing bucket is "No such device or address"."""
    assert reason(kind("s3://bucket: what is wrong")) == "s3://bucket: what is wrong"


def test_these_are_the_errors_of_stores() -> None:
    assert {errors.StoreMissingError, errors.ObjectMissingError} < set(OF_STORES)
