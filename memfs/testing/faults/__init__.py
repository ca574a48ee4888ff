"""Fault injection by seed: which faults, when, to whom, and what may be lost.

- :mod:`memfs.testing.faults.plan`: what a seed chooses: size, settings, workloads, fault kinds.
- :mod:`memfs.testing.faults.scene`: what injectors see and share; the promise they respect.
- :mod:`memfs.testing.faults.hosts`, ``links``, ``coordination``, ``growth``, ``calls``: injectors.
- :mod:`memfs.testing.faults.schedule`: strikes, and heals everything in the end.
- :mod:`memfs.testing.faults.rare`: bounds made tiny, so that rare paths are common.
"""
