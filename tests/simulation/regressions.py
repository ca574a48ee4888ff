"""Seeds that once showed a bug, with what they showed. Played by ``test_campaign.py``.

A change of the code changes what a seed does; an entry stays worth its time as one more seed.
"""

REGRESSIONS = (
    (13, "connections from before a node had a number were never recognised as the primary's"),
    (136, "a backup was published in sync while entries acknowledged before were on their way"),
    (153, "the end of a doubtful shrink removed the link of the member that had come back"),
    (171, "an expansion that was published was taken for certainly not published"),
    (156, "below the minimum in sync a backup that had failed was left out for up to a minute"),
    (
        20028,
        "a backup was in sync while entries acknowledged meanwhile were on their way",
    ),
    (20091, "the publisher proposed from a stale record after a handover"),
    (1000513, "a journal counted what only a cache held, and was damaged by the next power cut"),
    (1001672, "a decision to forget a copy counted from its commit, and hit the copy made before"),
)
"""Seed, and the bug that it found."""
