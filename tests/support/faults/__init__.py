"""Fault injection by seed: which faults, when, to whom, and what may be lost.

- :mod:`tests.support.faults.plan`: what a seed chooses: size, settings, workloads, fault kinds.
- :mod:`tests.support.faults.scene`: what injectors see and share; the promise they respect.
- :mod:`tests.support.faults.hosts`, ``links``, ``coordination``, ``growth``, ``calls``: injectors.
- :mod:`tests.support.faults.schedule`: strikes, and heals everything in the end.
- :mod:`tests.support.faults.rare`: bounds made tiny, so that rare paths are common.
"""
