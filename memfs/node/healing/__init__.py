"""Blocks where they belong: healing, rebalancing, scrubbing, removal of members that are gone.

The primary decides (:mod:`~memfs.node.healing.placement_check` says what a view asks of each
block), the target of a copy pulls it (:mod:`~memfs.node.healing.copier`). All of it may be
repeated, stopped or begun anew at any moment: a copy counts once the namespace names it, and goes
after that.
"""
