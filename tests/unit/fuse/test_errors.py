"""The errno that a program sees."""

import errno

import pytest

from memfs import errors
from memfs.fuse.errors import errno_of


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (errors.PathNotFoundError(), errno.ENOENT),
        (errors.NoSpaceError(), errno.ENOSPC),
        (errors.QuotaExceededError(), errno.EDQUOT),
        (errors.LeaseHeldError(), errno.EBUSY),
        (errors.UnavailableError(), errno.EIO),
        (errors.DeadlineError(), errno.EIO),
        (errors.OutcomeUnknownError(), errno.EIO),
        (errors.LeaseLostError(), errno.EIO),
        (errors.InvalidPathError(), errno.EILSEQ),
        (OSError(errno.ERANGE, "x"), errno.ERANGE),
        (InterruptedError("a signal"), errno.EINTR),
        (ValueError("a mistake of ours"), errno.EIO),
    ],
    ids=lambda each: type(each).__name__,
)
def test_errors_have_the_number_that_programs_expect(error: Exception, number: int) -> None:
    assert errno_of(error) == number
