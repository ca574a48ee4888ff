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
    (1002493, "the simulation took both copies of a block, while a third was on its way"),
    (1017134, "the simulation took the last copies that all but the lost primary knew of"),
    (1003389, "a primary that was deposed while it handed over was opened again, and answered"),
    (1005043, "damage of a copy went down into the versions that were built on it"),
    (1008672, "a trim took the copies that a short answer had not verified for good"),
    (1009214, "a copy that was made anew unnoticed stayed bad when it was the last one"),
    (1012557, "the observer missed a copy that was being made anew after a bit had flipped"),
    (1012980, "a journal that had begun anew refused everything for a failure that was over"),
    (
        3000030,
        "a new primary took its own log for committed while an in-sync member lacked its end",
    ),
    (3000114, "a deposed primary that could spare nobody did not look at the coordinator"),
    (289, "a mount that did not hear that it was to forget all went on believing it"),
    (500697, "the checker took the repeated answer to a stolen lease for a second theft"),
    (1012614, "a client that was started twice at once lost its connections without a word"),
    (8000070, "a new primary published what only the lost one had held"),
    (3100062, "a node that was taken for dead dropped the only copies of what others had lost"),
    (3300029, "two versions of one block that came in one batch were counted, and one was held"),
    (8200045, "a backup took over that had promised anew while it read the view record"),
    (21000266, "a deaf primary refused what lay on nodes that it did not hear"),
    (53125, "a node that joined took blocks before its journal did, and acknowledged them"),
    (457000058, "a kernel was told to believe a name for longer than a short lease lasted"),
    (210000208, "the checker wanted what was read before a command under way had come back"),
    (140000857, "a command that came again was answered while others believed what it had changed"),
    (60001324, "the observer forgot the copies of who was taken for dead and was coming back"),
    (60001855, "what was closed while the command to free it was under way stayed for good"),
    (
        72000143,
        "a change did not wait for who had been told of an earlier one and had not answered",
    ),
    (91000079, "a scrubber went on at the pace of the few blocks with which it had begun"),
    (96000287, "the observer asked for what a replaced member had held, whom the primary counted"),
    (7304, "a copy that nobody named of a replaced version stayed while its writer had the file"),
    (
        95300141,
        "a member that failed while a new primary brought it up to date was not tried again",
    ),
    (120000055, "the judge took slow disks for attempts at a silent node"),
    (453, "an unlock and a close that were cancelled while earlier releases ran left a lock held"),
)
"""Seed, and the bug that it found."""
