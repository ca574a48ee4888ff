"""The error when the library of an integration is not installed."""

from __future__ import annotations

from memfs.installation import DISTRIBUTION


def missing(library: str, extra: str, error: ImportError) -> ImportError:
    """The error to raise from ``error``: which library, and what to type."""
    if error.name and error.name.partition(".")[0] != library:
        return error
    return ImportError(
        f"{library} is not installed: pip install '{DISTRIBUTION}[{extra}]'", name=library
    )
