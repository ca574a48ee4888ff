"""Hostile bytes for everything that reads what others send, guided by coverage (atheris).

    make fuzz MINUTES=10 ARGS="messages journal"
    python -m tests.support.fuzzing --replay .fuzz/journal/crash-... journal

``targets`` has a function for each reader: it takes bytes, and raises only when there is a bug.
``mutation`` makes the few inputs that every test run tries, without atheris.
"""
