"""What a new cluster begins with."""

from memfs.testing.simulation.cluster import SimulatedCluster
from memfs.testing.simulation.virtual import run


def test_directories_that_everybody_expects():
    async def main():
        cluster = SimulatedCluster(
            1, standard_directories=True, homes=("ann", "bob"), replication=2
        )
        await cluster.start(nodes=3)
        client = await cluster.connect(user="ann", groups=("staff",))
        found = {}
        for top in ("/", "/user"):
            for entry in await client.scandir(top):
                stat = entry.stat()
                found[entry.path] = (oct(stat.st_mode & 0o7777), stat.owner)
        assert found == {
            "/tmp": ("0o1777", "root"),
            "/user": ("0o755", "root"),
            "/user/ann": ("0o755", "ann"),
            "/user/bob": ("0o755", "bob"),
            "/user/root": ("0o755", "root"),
        }
        await client.write_bytes("/tmp/mine", b"first write")
        await client.write_bytes("/user/ann/mine", b"at home")
        await client.rmtree("/user/ann", ignore_errors=True)
        await client.close()
        cluster.crash("n1")
        again = await cluster.connect(user="root")
        assert await again.listdir("/") == ["tmp", "user"], "made once, and nowhere else"
        await again.close()

    run(main())


def test_none_of_them():
    async def main():
        cluster = SimulatedCluster(1)
        await cluster.start(nodes=1)
        client = await cluster.connect()
        assert await client.listdir("/") == []
        await client.close()

    run(main())
