"""Random sequences of operations: each result, and the tree at the end, as the model says."""

from __future__ import annotations

import pytest

from memfs.testing.model.filesystem import Model
from memfs.testing.model.operations import WEIGHTS, RaisedError, RandomOperations, outcome, snapshot
from memfs.testing.model.tree import ModelTree

from .surface import Feature

OF_FEATURE = {
    Feature.APPEND: ("append",),
    Feature.RANDOM_WRITE: ("write_at",),
    Feature.TRUNCATE: ("truncate",),
    Feature.SYMLINK: ("symlink", "readlink"),
    Feature.LINK: ("link",),
    Feature.RENAME_MODES: ("exchange",),
    Feature.CHMOD: ("chmod",),
    Feature.XATTR: ("setxattr", "getxattr", "removexattr", "listxattr"),
    Feature.ACL: ("modify_acl", "remove_acl_entries", "remove_acl", "acl"),
    Feature.DU: ("du",),
}


def lacking(surface):
    """Methods that the surface does not have; what the command puts has a mode from elsewhere."""
    features = surface.features - ({Feature.ACL} if surface.name == "cli" else set())
    return [m for feature, names in OF_FEATURE.items() if feature not in features for m in names]


@pytest.mark.parametrize("seed", range(12))
def test_a_random_sequence(surface, top, seed):
    model = Model(ModelTree(block_size=surface.block_size))
    model.mkdir(top)
    without = lacking(surface)
    assert set(without) <= set(WEIGHTS)
    workload = RandomOperations(seed, top=top, block_size=surface.block_size, without=without)
    story = []
    for _ in range(120):
        operation = workload.next(model)
        settles = operation.method == "rmtree" and has_hard_links(model, top)
        expected = outcome(lambda op=operation: op.on(model))
        found = outcome(lambda op=operation: op.on(surface))
        if settles:  # the names of a tree that is gone are counted off one after the other
            surface.settle()
        story.append(f"{operation} -> {str(found)[:60]}")
        assert same(found, expected, surface, operation.method), "\n".join(
            [*story[-12:], f"expected {expected}"]
        )
    assert snapshot(surface, top) == snapshot(model, top)


def has_hard_links(model, top):
    return any(inode.names > 1 for _, inode in model.walk_tree(top))


PATH_ERRORS = {"ENOENT", "ENOTDIR", "ELOOP"}
TWO_PATHS = {"rename", "exchange", "link"}


def same(found, expected, surface, method):
    """Equal; or both failed, where several reasons apply or the surface cannot say which."""
    if not isinstance(found, RaisedError) or not isinstance(expected, RaisedError):
        return found == expected
    either = method in TWO_PATHS and {found.error, expected.error} <= PATH_ERRORS
    vague = method == "makedirs" or Feature.ERRORS not in surface.features
    return found == expected or either or vague
