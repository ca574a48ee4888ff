"""The simulated network: streams keep order and bytes; partitions hold, resets lose, hosts die."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from memfs.paths import Endpoint
from memfs.testing.simulation.network import Fabric
from memfs.testing.simulation.network_conditions import Conditions
from memfs.testing.simulation.virtual import run

PORT = 10500
SERVER = Endpoint("b", PORT)


class Recorder(asyncio.BufferedProtocol):
    """Keeps what it receives, through a small buffer; echoes it when asked to."""

    def __init__(self, *, echo: bool = False, buffer: int = 100) -> None:
        self.data = bytearray()
        self.lost: list[Exception | None] = []
        self.paused = 0
        self.resumed = 0
        self.echo = echo
        self.transport: asyncio.Transport
        self._buffer = bytearray(buffer)

    def connection_made(self, transport):
        self.transport = transport

    def get_buffer(self, sizehint):
        return self._buffer

    def buffer_updated(self, nbytes):
        self.data += self._buffer[:nbytes]
        if self.echo:
            self.transport.write(bytes(self._buffer[:nbytes]))

    def eof_received(self):
        return False

    def pause_writing(self):
        self.paused += 1

    def resume_writing(self):
        self.resumed += 1

    def connection_lost(self, exc):
        self.lost.append(exc)


async def pair(fabric, **options):
    """A client protocol on host a, connected to a server protocol on host b."""
    accepted = []

    def accept():
        accepted.append(Recorder(**options))
        return accepted[-1]

    await fabric.host("b").listen(accept, SERVER)
    client = await fabric.host("a").connect(Recorder, SERVER)
    return client, accepted[0]


PAYLOAD = bytes(range(256)) * 40
MOST_PIECES = 6
"""Into which what leaves at once is cut."""


def test_bytes_arrive_in_order_however_they_are_cut():
    async def main():
        client, server = await pair(Fabric(1, Conditions(split_chance=0.9)), echo=True)
        for at in range(0, len(PAYLOAD), 1000):
            client.transport.writelines([PAYLOAD[at : at + 10], PAYLOAD[at + 10 : at + 1000]])
        await asyncio.sleep(5)
        return client, server

    client, server = run(main())
    assert bytes(server.data) == PAYLOAD
    assert bytes(client.data) == PAYLOAD


def test_close_delivers_what_was_written_and_then_the_end():
    async def main():
        client, server = await pair(Fabric(2))
        client.transport.write(PAYLOAD)
        client.transport.close()
        client.transport.write(b"too late")
        await asyncio.sleep(5)
        return client, server

    client, server = run(main())
    assert bytes(server.data) == PAYLOAD
    assert client.lost == [None] and server.lost == [None]


def test_a_reader_that_stops_stops_the_writer():
    async def main():
        fabric = Fabric(3, Conditions(window_bytes=4096))
        client, server = await pair(fabric)
        server.transport.pause_reading()
        client.transport.set_write_buffer_limits(high=10_000, low=100)
        client.transport.write(bytes(50_000))
        await asyncio.sleep(10)
        stuck = client.transport.get_write_buffer_size(), client.paused, client.resumed
        server.transport.resume_reading()
        await asyncio.sleep(10)
        return stuck, client, server

    stuck, client, server = run(main())
    assert stuck == (50_000 - 4096, 1, 0)
    assert (client.paused, client.resumed, len(server.data)) == (1, 1, 50_000)


@pytest.mark.parametrize("split_chance", [0.0, 0.6, 0.9])
@pytest.mark.parametrize("window", [1, 2, 3, 100, 4096, 16_384])
def test_a_window_opens_by_whole_segments_however_little_the_reader_takes(window, split_chance):
    """RFC 1122, 4.2.3.3: by a segment or half the buffer, else ever smaller pieces travel."""

    async def main():
        fabric = Fabric(16, Conditions(window_bytes=window, split_chance=split_chance))
        client, server = await pair(fabric, buffer=10)
        before = fabric.trace.count
        client.transport.write(data)
        await asyncio.sleep(600)
        return bytes(server.data), fabric.trace.count - before

    opened = min(1460, -(-window // 2))
    data = PAYLOAD[: 100 * opened] if window < 4096 else 20 * PAYLOAD
    received, pieces = run(main())
    assert received == data
    assert pieces <= MOST_PIECES * (len(data) // opened + 2)


def test_a_one_way_partition_holds_bytes_until_it_heals():
    async def main():
        fabric = Fabric(4)
        client, server = await pair(fabric)
        fabric.block("a", "b")
        client.transport.write(b"held")
        server.transport.write(b"passes")
        await asyncio.sleep(60)
        during = bytes(server.data), bytes(client.data)
        fabric.heal()
        client.transport.write(b" back")
        await asyncio.sleep(1)
        return during, bytes(server.data)

    assert run(main()) == ((b"", b"passes"), b"held back")


def test_connecting_through_a_partition_waits():
    async def main():
        fabric = Fabric(5)
        await fabric.host("b").listen(Recorder, SERVER)
        fabric.isolate("a")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await fabric.host("a").connect(Recorder, SERVER)
        fabric.heal()
        await fabric.host("a").connect(Recorder, SERVER)

    run(main())


def test_nobody_listening_is_refused():
    async def main():
        fabric = Fabric(6)
        fabric.host("b")
        with pytest.raises(ConnectionRefusedError):
            await fabric.host("a").connect(Recorder, SERVER)

    run(main())


def test_a_cut_resets_both_ends_and_loses_what_flies():
    async def main():
        fabric = Fabric(7)
        client, server = await pair(fabric)
        client.transport.write(PAYLOAD)
        await asyncio.sleep(0)
        fabric.cut("a", "b")
        await asyncio.sleep(1)
        return client, server

    client, server = run(main())
    assert isinstance(client.lost[0], ConnectionResetError)
    assert isinstance(server.lost[0], ConnectionResetError)
    assert bytes(server.data) == PAYLOAD[: len(server.data)] != PAYLOAD


@pytest.mark.parametrize("silent", [False, True])
def test_a_crashed_host_says_nothing_more(silent):
    async def main():
        fabric = Fabric(8)
        client, server = await pair(fabric)
        fabric.host("b").crash(silent=silent)
        client.transport.write(b"anybody?")
        await asyncio.sleep(60)
        return client, server

    client, server = run(main())
    assert server.data == b"" and server.lost == []
    assert bool(client.lost) is not silent


def test_a_restarted_host_can_listen_again():
    async def main():
        fabric = Fabric(9)
        await pair(fabric)
        fabric.host("b").crash()
        fabric.host("b").restart()
        client, server = await pair(fabric)
        client.transport.write(b"hello")
        await asyncio.sleep(1)
        return bytes(server.data)

    assert run(main()) == b"hello"


def test_a_paused_host_receives_later():
    async def main():
        fabric = Fabric(10)
        client, server = await pair(fabric)
        fabric.host("b").process.pause()
        client.transport.write(PAYLOAD)
        await asyncio.sleep(30)
        during = len(server.data)
        fabric.host("b").process.resume()
        await asyncio.sleep(1)
        return during, bytes(server.data)

    assert run(main()) == (0, PAYLOAD)


def test_a_buffer_changed_after_write_is_sent_changed():
    """Like uvloop, so that such a mistake is found here."""

    async def main():
        client, server = await pair(Fabric(11))
        buffer = bytearray(b"right")
        client.transport.write(buffer)
        buffer[:] = b"wrong"
        await asyncio.sleep(1)
        return bytes(server.data)

    assert run(main()) == b"wrong"


def test_one_way_is_opened_again_and_the_others_stay_blocked():
    async def main():
        fabric = Fabric(12)
        client, server = await pair(fabric)
        fabric.isolate("a", ["b"])
        client.transport.write(b"there")
        server.transport.write(b"back")
        await asyncio.sleep(1)
        fabric.unblock("a", "b")
        await asyncio.sleep(1)
        return bytes(server.data), bytes(client.data)

    assert run(main()) == (b"there", b"")


def test_a_reset_does_not_cross_a_partition():
    async def main():
        fabric = Fabric(13)
        client, server = await pair(fabric)
        fabric.block("a", "b")
        client.transport.write(b"first")
        client.transport.abort()
        await asyncio.sleep(5)
        during = list(server.lost)
        fabric.heal()
        await asyncio.sleep(1)
        return during, server.lost

    during, after = run(main())
    assert during == []
    assert isinstance(after[0], ConnectionResetError)


def test_a_silent_death_is_noticed_once_the_host_is_back():
    async def main():
        fabric = Fabric(14)
        client, _ = await pair(fabric)
        fabric.host("b").crash(silent=True)
        client.transport.write(b"anybody?")
        await asyncio.sleep(60)
        during = list(client.lost)
        fabric.host("b").restart()
        client.transport.write(b"you?")
        await asyncio.sleep(1)
        return during, client.lost

    during, after = run(main())
    assert during == []
    assert isinstance(after[0], ConnectionResetError)


@pytest.mark.parametrize("fault", ["slow", "loss"])
def test_slow_and_losing_links_deliver_late_and_in_order(fault):
    async def main():
        lossy = Conditions(loss_chance=0.5)
        fabric = Fabric(15, lossy if fault == "loss" else None)
        client, server = await pair(fabric)
        if fault == "slow":
            fabric.slow("b", 1.0)
        for at in range(0, len(PAYLOAD), 1000):
            client.transport.write(PAYLOAD[at : at + 1000])
            await asyncio.sleep(0.01)
        early = len(server.data)
        await asyncio.sleep(600)
        return early, bytes(server.data)

    early, late = run(main())
    assert early < len(PAYLOAD) and late == PAYLOAD


PROGRAM = """
import asyncio
from memfs.testing.simulation.virtual import run
from test_network import Fabric, Conditions, pair, PAYLOAD
async def main():
    fabric = Fabric({seed}, Conditions(split_chance=0.8))
    client, server = await pair(fabric, echo=True)
    for at in range(0, len(PAYLOAD), 500):
        client.transport.write(PAYLOAD[at : at + 500])
        await asyncio.sleep(0.0001)
    await asyncio.sleep(5)
    print(fabric.trace.digest())
run(main())
"""


def digest(seed, hash_seed):
    here = os.path.dirname(__file__)
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": here}
    program = [sys.executable, "-c", PROGRAM.format(seed=seed)]
    return subprocess.run(program, env=environment, capture_output=True, check=True).stdout


def test_one_seed_gives_one_trace_whatever_the_hash_seed():
    assert digest(1, "1") == digest(1, "2") != digest(2, "1")
