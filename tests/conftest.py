"""For every level of tests."""

import signal

# Imported while there is one thread only. Otherwise pytest's plugin of it does so when the tests
# are over, and CPython 3.11 fails to rewrite it (SystemError) beside a cluster's busy thread.
import hypothesis

# Ctrl-C works in the tests and in what they start, also when a shell began them in the background,
# where it is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No test asserts a time: machines are noisy.
hypothesis.settings.register_profile("memfs", deadline=None)
hypothesis.settings.load_profile("memfs")
