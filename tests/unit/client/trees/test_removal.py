"""Trees that are too large for one step: what is asked, and what stays when something refuses."""

from __future__ import annotations

import pytest

from memfs import limits
from memfs.client.filesystem import AsyncFileSystem
from memfs.client.trees import removal
from memfs.errors import AccessDeniedError, NotPermittedError, PathNotFoundError
from tests.unit.client.fake_cluster import FakeCluster

OWNERS = ("ann", "bob", "cid")


@pytest.fixture
async def tree(fs: AsyncFileSystem, monkeypatch: pytest.MonkeyPatch) -> AsyncFileSystem:
    """/t, whose directories are too many for one step, as are those of /t/bob; small pages."""
    monkeypatch.setattr(removal, "PAGE", 2)
    await fs.mkdir("/t")
    for owner in OWNERS:
        for number in range(6 if owner == "bob" else 1):
            path = f"/t/{owner}/{number}"
            await fs.makedirs(path)
            await fs.chown(path, owner)
            await fs.chmod(path, 0o777)
            await fs.write_bytes(f"{path}/file", b"x")
        await fs.chmod(f"/t/{owner}", 0o777)
    await fs.chmod("/", 0o777)
    await fs.chmod("/t", 0o777)
    monkeypatch.setattr(limits, "SUBTREE_STEPS", 60)
    return fs


async def test_part_by_part(tree: AsyncFileSystem, cluster: FakeCluster) -> None:
    dan = cluster.connect(user="dan", groups=("dan",))
    cluster.asked.clear()
    await dan.rmtree("/t")
    assert not await tree.exists("/t")
    assert cluster.asked["RemoveDirectory"] == 1 + 6 + 1 + 2 + 1
    with pytest.raises(PathNotFoundError):
        await dan.rmtree("/t")


@pytest.mark.parametrize("path", ["/t/bob/3", "/t/cid/0", "/t/bob", "/t"])
async def test_what_refuses_is_named_and_all_stays(
    tree: AsyncFileSystem, cluster: FakeCluster, path: str
) -> None:
    await tree.chmod(path, 0o755)
    before = await tree.du("/")
    dan = cluster.connect(user="dan", groups=("dan",))
    with pytest.raises(AccessDeniedError) as caught:
        await dan.rmtree("/t")
    assert caught.value.filename == path
    assert f'inode="{path}":' in caught.value.message
    assert await tree.du("/") == before


@pytest.mark.parametrize("directory", ["/t/bob/3", "/t/bob", "/t"])
async def test_a_sticky_directory_is_named_with_what_it_keeps(
    tree: AsyncFileSystem, cluster: FakeCluster, directory: str
) -> None:
    await tree.chmod(directory, 0o1777)
    dan = cluster.connect(user="dan", groups=("dan",))
    with pytest.raises(NotPermittedError) as caught:
        await dan.rmtree("/t")
    assert f'parent="{directory}":' in caught.value.message
    assert f'path="{caught.value.filename}":' in caught.value.message
    assert str(caught.value.filename).startswith(f"{directory}/")


async def test_one_step_names_what_refuses_too(fs: AsyncFileSystem, cluster: FakeCluster) -> None:
    await fs.makedirs("/open/shut/in it")
    for path in ("/", "/open", "/open/shut/in it"):
        await fs.chmod(path, 0o777)
    dan = cluster.connect(user="dan", groups=("dan",))
    for given in ("/open", "/open/", "/open/shut"):
        with pytest.raises(AccessDeniedError) as caught:
            await dan.rmtree(given)
        assert caught.value.filename == "/open/shut"
    with pytest.raises(PathNotFoundError) as missing:
        await dan.rmtree("/open/gone")
    assert missing.value.filename == "/open/gone"
