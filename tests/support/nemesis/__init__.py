"""Faults on real processes, with clients at work whose histories are judged exactly.

``make nemesis MINUTES=60`` (``python -m tests.support.nemesis``) runs it. Five ``memfs node``
processes and three etcd members run in network namespaces, or on loopback without root; clients
in processes of their own run the workloads of :mod:`memfs.testing.workloads`; a schedule drawn
from a seed kills, stops, cuts off, starves and restarts. A *round* is some faults under one set of
clients, then quiet: the cluster heals, everything is read and judged, ``memfs fsck`` looks.

- :mod:`tests.support.nemesis.cluster`: the processes and what can be done to them.
- :mod:`tests.support.nemesis.faults`: the faults, each a function.
- :mod:`tests.support.nemesis.schedule`: which comes next (pure).
- :mod:`tests.support.nemesis.worker` and ``clients``: the clients, and the parent's end of them.
- :mod:`tests.support.nemesis.run`: rounds.
- :mod:`tests.support.nemesis.report`: what came of it (pure).
"""
