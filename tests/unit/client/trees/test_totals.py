"""Totals of trees that are too large for one step: the same numbers, and the same refusals."""

from __future__ import annotations

import pytest

from memfs import limits
from memfs.client.filesystem import AsyncFileSystem
from memfs.client.trees import totals
from memfs.errors import AccessDeniedError, StaleHandleError, TreeTooLargeError
from memfs.protocol import messages as m
from tests.unit.client.fake_cluster import FakeCluster

OWNERS = ("ann", "bob", "cid")


@pytest.fixture
async def tree(fs: AsyncFileSystem, monkeypatch: pytest.MonkeyPatch) -> AsyncFileSystem:
    """/t, whose directories are too many for one step, as are those of /t/bob; small pages."""
    monkeypatch.setattr(totals, "PAGE", 2)
    for owner in OWNERS:
        for number in range(6 if owner == "bob" else 1):
            path = f"/t/{owner}/{number}"
            await fs.makedirs(path)
            await fs.chown(path, owner)
            await fs.chmod(path, 0o775)
            await fs.write_bytes(f"{path}/file", bytes(number + 1))
    for number in range(5):
        await fs.write_bytes(f"/t/bob/small {number}", b"1234")
    await fs.symlink("/t", "/t/link")
    await fs.set_quota("/t", names=1000, space=1 << 40)
    await fs.chmod("/t/bob/3", 0o770)
    monkeypatch.setattr(limits, "SUBTREE_STEPS", 60)
    return fs


@pytest.fixture
async def dan(tree: AsyncFileSystem, cluster: FakeCluster) -> AsyncFileSystem:
    """Who may read all of it, as one of a group."""
    return cluster.connect(user="dan", groups=("wheel",))


async def open_to_dan(tree: AsyncFileSystem) -> None:
    await tree.chown("/t/bob/3", None, "wheel")


async def test_part_by_part(
    tree: AsyncFileSystem, dan: AsyncFileSystem, cluster: FakeCluster
) -> None:
    await open_to_dan(tree)
    cluster.asked.clear()
    for path in ("/t", "/t/", "/t/link", "/t/bob", "/t/bob/3", "/t/bob/small 1", "/"):
        assert await dan.summarise(path) == await tree.summarise(path), path
    assert cluster.asked["SummarisePage"] > 3 * (len(OWNERS) + 1) // 2


async def test_files_with_several_names_count_once(
    tree: AsyncFileSystem, dan: AsyncFileSystem
) -> None:
    await open_to_dan(tree)
    await tree.link("/t/bob/small 1", "/t/bob/again")
    await tree.link("/t/bob/small 1", "/t/bob/zzz")
    await tree.link("/t/bob/small 2", "/t/ann/0/elsewhere")
    await tree.link("/t/cid/0/file", "/t/bob/from elsewhere")
    for path in ("/t", "/t/bob"):
        assert await dan.du(path) == await tree.du(path), path


@pytest.mark.parametrize("path", ["/t/bob/3", "/t/cid/0", "/t/bob", "/t"])
async def test_what_refuses_is_named(
    tree: AsyncFileSystem, dan: AsyncFileSystem, path: str
) -> None:
    await open_to_dan(tree)
    await tree.chown(path, None, "supergroup")
    await tree.chmod(path, 0o774)
    with pytest.raises(AccessDeniedError) as caught:
        await dan.du("/t")
    assert caught.value.filename == path
    assert f'access=READ_EXECUTE, inode="{path}":' in caught.value.message


async def test_a_directory_that_goes_meanwhile_does_not_count(
    tree: AsyncFileSystem, dan: AsyncFileSystem, cluster: FakeCluster
) -> None:
    await open_to_dan(tree)
    whole, gone = await dan.du("/t"), await dan.du("/t/ann")
    cluster.refuse_once[m.Summarise] = [StaleHandleError("gone"), TreeTooLargeError("look")]
    found = await dan.du("/t")
    assert found == tuple(all_ - part for all_, part in zip(whole, gone, strict=True))
