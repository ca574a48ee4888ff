"""Checkers of histories: pure functions from calls to violations.

Each is exact for its kind of object: it reports a violation if and only if no order of the calls
that respects real time explains what the clients were told. What was never answered may have
happened at any time after it was asked, or not at all.

- :mod:`memfs.testing.checkers.registers`: one value, each written once (O(n log n)).
- :mod:`memfs.testing.checkers.append_log`: an append-only log of unique records (O(n log n)).
- :mod:`memfs.testing.checkers.names`: a directory whose names are created and removed once.
- :mod:`memfs.testing.checkers.single_writer`: writers that take a file from one another.
- :mod:`memfs.testing.checkers.trees`: what a tree must look like, whatever was renamed.
- :mod:`memfs.testing.checkers.conserved_sums`: what must add up at every moment.
- :mod:`memfs.testing.checkers.search`: any small object, by search within a budget.
"""
