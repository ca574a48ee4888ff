"""Tags come back as they were, whatever their form, and as they were when an image was made."""

from __future__ import annotations

import random

import pytest

from memfs.node.namespace.tables.object_tags import Tags, listed

MD5 = b"ab" * 16
PARTS = (b"-1", b"-12", b"-253", b"-254", b"-0", b"-01", b"-", b"-x", b"-1-1", b"- 1", b"-10000")


@pytest.mark.parametrize(
    "tag",
    [
        *(b"", b"x", b'"' + MD5 + b'"', b'"' + MD5.upper() + b'"', b"y" * 15, b"z" * 16),
        *(b'"' + MD5 + parts + b'"' for parts in PARTS),
        *(MD5 + b"-12", b'"' + MD5 + b"-12", b'"' + MD5[:-1] + b'-12"', b'"' + MD5 + b'ab-12"'),
    ],
)
def test_tags_come_back_as_they_were(tag: bytes) -> None:
    tags = Tags()
    tags.set(5000, b'"' + MD5 + b'-7"')
    tags.set(5000, tag)
    assert tags.count == 1
    assert tags.get(5000) == tag and 5000 in tags and tags.get(5001) is None
    tags.pop(5000)
    assert tags.get(5000) is None and tags.count == 0


@pytest.mark.parametrize("seed", range(20))
def test_an_image_is_of_the_moment_it_was_made(seed: int) -> None:
    dice, tags, model, taken = random.Random(seed), Tags(), dict[int, bytes](), []
    texts = [b"", b"x", b'"' + MD5 + b'"', b'"' + MD5 + b'-3"']
    for _ in range(600):
        slot = dice.choice((1, 1023, 1024, 5000)) + dice.randrange(3)
        if dice.random() < 0.6:
            model[slot] = dice.choice(texts)
            tags.set(slot, model[slot])
        else:
            model.pop(slot, None)
            tags.pop(slot)
        assert tags.get(slot) == model.get(slot) and tags.count == len(model)
        if dice.random() < 0.03:
            taken.append((dict(model), listed(enumerate(tags.image()))))
    assert dict(tags.items()) == model
    for expected, found in taken:
        assert dict(found) == expected
    taken.clear()
    del found
    assert not tags.images
