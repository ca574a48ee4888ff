"""What is agreed on with kernels, new and old."""

from memfs.fuse.kernel.negotiation import ALWAYS, Agreement, agree
from memfs.fuse.kernel.protocol import InitFlag, InitIn

NEW = InitIn(7, 45, 131072, 0x73FFFFFB, 0x5FD)


def meet(said: InitIn, *, writeback: bool = False, acls: bool = False, locks: bool = False):
    return agree(said, writeback=writeback, acls=acls, locks=locks)


def test_all_that_a_new_kernel_offers_is_taken() -> None:
    found = meet(NEW)
    assert found is not None
    assert found.flags == ALWAYS and found.minor == 41


def test_what_is_optional_is_taken_when_it_is_wanted() -> None:
    found = meet(NEW, writeback=True, acls=True, locks=True)
    assert found is not None
    for flag in (InitFlag.WRITEBACK_CACHE, InitFlag.POSIX_ACL, InitFlag.FLOCK_LOCKS):
        assert found.has(flag)
        plain = meet(NEW)
        assert plain is not None and not plain.has(flag)


def test_a_kernel_without_the_second_word_of_flags_is_not_asked_for_them() -> None:
    found = meet(InitIn(7, 31, 131072, 0x3FFFFFF, 0xFFFFFFFF))
    assert found is not None
    assert found.flags >> 32 == 0 and found.minor == 31


def test_too_old_and_too_different_kernels_are_refused() -> None:
    assert meet(InitIn(7, 30, 131072, 0, 0)) is None
    assert meet(InitIn(8, 45, 131072, 0, 0)) is None


def test_which_kernels_keep_to_the_order_of_attributes() -> None:
    found = [meet(InitIn(7, minor, 131072, 0, 0)) for minor in (31, 32, 45)]
    assert [each is not None and each.keeps_order for each in found] == [False, True, True]


def test_the_reply_holds_both_words() -> None:
    reply = Agreement(1 << 39 | 1 << 5, 41).reply(1 << 23)
    assert (reply.flags, reply.flags2, reply.max_readahead) == (1 << 5, 1 << 7, 1 << 23)
    assert reply.max_write == reply.max_pages * 4096


def test_an_agreement_can_be_handed_on() -> None:
    found = meet(NEW)
    assert found is not None and Agreement.of_text(found.text()) == found
