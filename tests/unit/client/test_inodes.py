"""Operations by inode mean what those by path mean."""

from memfs.client.filesystem import AsyncFileSystem
from memfs.client.inodes import InodeOperations
from memfs.types import XattrMode


async def test_attributes_of_any_size_are_those_that_paths_show(fs: AsyncFileSystem) -> None:
    await fs.write_bytes("/file", b"")
    inode = (await fs.stat("/file")).st_ino
    by_inode = InodeOperations(fs._session)
    values = {f"user.{size}": bytes([size % 251]) * size for size in (0, 1, 8192, 8193, 65_536)}
    for name, value in values.items():
        await by_inode.set_xattr(inode, name, value, XattrMode.SET)
    assert await by_inode.xattrs(inode) == await fs.getxattrs("/file") == values
    assert await by_inode.xattrs(inode, "user.8193") == {"user.8193": values["user.8193"]}
    assert await by_inode.xattr_names(inode) == tuple(sorted(values))
