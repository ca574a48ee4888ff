"""For every level of tests."""

# Imported while there is one thread only. Otherwise pytest's plugin of it does so when the tests are
# over, and CPython 3.11 parses source wrongly (SystemError) while a cluster's thread works beside it.
import hypothesis  # noqa: F401
