"""The faults: each is done, lasts, and is undone, while clients are at work.

Owns what each fault does. Must not know when it comes or how it is judged. A fault may leave the
cluster as it is at its worst: :meth:`FaultyCluster.heal` comes after each.
"""

from __future__ import annotations

import enum
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import memfs
from memfs.client.blocking.filesystem import FileSystem
from memfs.errors import MemfsError, NoSpaceError
from tests.support.hosts import Hosts
from tests.support.nemesis.cluster import FaultyCluster
from tests.support.proxy import Proxy

HEALTH_SECONDS = 120.0
FILL_PIECE_BYTES = 4 << 20

Act = Callable[[FaultyCluster, random.Random], None]


class Need(enum.Enum):
    """What a fault cannot do without."""

    HOSTS = "network namespaces"
    PROXIES = "proxies"
    JOURNAL = "a journal"
    DISKS = "a disk of its own for each journal"


@dataclass(frozen=True)
class Fault:
    """One kind of fault."""

    name: str
    act: Act
    needs: frozenset[Need] = frozenset()


FAULTS: dict[str, Fault] = {}
"""Every kind by its name."""


def fault(*needs: Need) -> Callable[[Act], Act]:
    """Enter a function into the table under its own name."""

    def enter(act: Act) -> Act:
        name = act.__name__.replace("_", "-")
        FAULTS[name] = Fault(name, act, frozenset(needs))
        return act

    return enter


def _backup(cluster: FaultyCluster, dice: random.Random) -> str:
    """A node in sync that is not the primary, if there is one."""
    primary = cluster.primary()
    others = [name for name in cluster.names if name != primary]
    return dice.choice([name for name in cluster.in_sync() if name in others] or others)


# --- processes that die --------------------------------------------------------------------------


@fault()
def kill_primary(cluster: FaultyCluster, dice: random.Random) -> None:
    """kill -9, back after the others have taken over, or before."""
    victim = cluster.primary()
    cluster.kill(victim)
    cluster.hold(dice.uniform(0.5, 8))
    cluster.revive(victim)


@fault()
def kill_backup(cluster: FaultyCluster, dice: random.Random) -> None:
    """kill -9 of a member of the in-sync set."""
    victim = _backup(cluster, dice)
    cluster.kill(victim)
    cluster.hold(dice.uniform(0.5, 8))
    cluster.revive(victim)


@fault()
def kill_all_but_one_copy(cluster: FaultyCluster, dice: random.Random) -> None:
    """R-1 nodes at once, the primary often among them: the most that must not lose anything."""
    victims = dice.sample(cluster.in_sync(), min(cluster.replication - 1, len(cluster.in_sync())))
    for victim in victims:
        cluster.kill(victim)
    cluster.hold(dice.uniform(1, 6))
    for victim in victims:
        cluster.revive(victim, wait=False)


@fault()
def restart_faster_than_the_lease(cluster: FaultyCluster, dice: random.Random) -> None:
    """kill -9 and at once a new process under the same name: it is empty and must not count."""
    victim = cluster.primary() if dice.random() < 0.6 else _backup(cluster, dice)
    cluster.kill(victim)
    cluster.revive(victim)


@fault()
def kill_each_in_turn(cluster: FaultyCluster, dice: random.Random) -> None:
    """Every node once, the next one when the cluster is whole again."""
    for victim in dice.sample(cluster.names, len(cluster.names)):
        cluster.kill(victim)
        cluster.hold(dice.uniform(0, 2))
        cluster.revive(victim)
        cluster.wait_healthy(HEALTH_SECONDS)
        cluster.wait_copied(HEALTH_SECONDS)


@fault(Need.JOURNAL)
def kill_all(cluster: FaultyCluster, dice: random.Random) -> None:
    """A power cut of the whole cluster: what the journal has is back."""
    victims = cluster.names
    for victim in victims:
        cluster.kill(victim)
    cluster.hold(dice.uniform(0.2, 4))
    for victim in dice.sample(victims, len(victims)):
        cluster.revive(victim, wait=False)


@fault()
def rolling_restart(cluster: FaultyCluster, dice: random.Random) -> None:
    """SIGTERM and start, node after node: planned, so hardly felt."""
    for name in cluster.names:
        cluster.node(name).stop()
        cluster.revive(name)
        cluster.wait_healthy(HEALTH_SECONDS)
        cluster.wait_copied(HEALTH_SECONDS)


@fault()
def grow_and_shrink(cluster: FaultyCluster, dice: random.Random) -> None:
    """A node joins under load, and one leaves."""
    cluster.add()
    cluster.wait_healthy(HEALTH_SECONDS)
    cluster.hold(dice.uniform(1, 4))
    leaving = dice.choice(cluster.names)
    cluster.node(leaving).stop()
    cluster.remove(leaving)


@fault()
def decommission(cluster: FaultyCluster, dice: random.Random) -> None:
    """A node, the primary at times, gives up all that it holds and ends; another one joins."""
    leaving = dice.choice(cluster.names)
    cluster.begin_decommission(leaving)
    cluster.end_decommission(leaving, HEALTH_SECONDS)
    cluster.add()


@fault()
def decommission_and_kill_primary(cluster: FaultyCluster, dice: random.Random) -> None:
    """The primary dies in the middle of a decommission: its successor brings that to its end."""
    primary = cluster.primary()
    leaving = dice.choice([name for name in cluster.names if name != primary])
    cluster.begin_decommission(leaving)
    cluster.hold(dice.uniform(0, 2))
    cluster.kill(primary)
    cluster.hold(dice.uniform(0.5, 8))
    cluster.revive(primary)
    cluster.end_decommission(leaving, HEALTH_SECONDS)
    cluster.add()


# --- processes that stand still ------------------------------------------------------------------


def _stand_still(cluster: FaultyCluster, names: list[str], seconds: float) -> None:
    for name in names:
        cluster.node(name).pause()
    cluster.hold(seconds)
    for name in names:
        cluster.node(name).resume()


@fault()
def pause_primary(cluster: FaultyCluster, dice: random.Random) -> None:
    """SIGSTOP past the lease: it wakes up as a primary that is none any more."""
    _stand_still(cluster, [cluster.primary()], dice.uniform(4, 15))


@fault()
def pause_primary_briefly(cluster: FaultyCluster, dice: random.Random) -> None:
    """SIGSTOP about as long as the lease."""
    for _ in range(3):
        _stand_still(cluster, [cluster.primary()], dice.uniform(1, 3.5))
        cluster.hold(dice.uniform(0, 2))


@fault()
def pause_backup(cluster: FaultyCluster, dice: random.Random) -> None:
    """A slow but living member must not stall everyone for long."""
    _stand_still(cluster, [_backup(cluster, dice)], dice.uniform(1, 15))


@fault()
def pause_two(cluster: FaultyCluster, dice: random.Random) -> None:
    """The primary and a backup."""
    _stand_still(cluster, [cluster.primary(), _backup(cluster, dice)], dice.uniform(2, 10))


@fault()
def pause_long(cluster: FaultyCluster, dice: random.Random) -> None:
    """Longer than it takes to be removed from the cluster: it comes back as a stranger."""
    _stand_still(cluster, [dice.choice(cluster.names)], dice.uniform(20, 30))


# --- etcd ----------------------------------------------------------------------------------------


@fault()
def kill_etcd_leader(cluster: FaultyCluster, dice: random.Random) -> None:
    """The coordinator elects another one; the cluster serves on."""
    cluster.etcd.kill(cluster.etcd.leader())
    cluster.hold(dice.uniform(2, 6))


@fault()
def pause_etcd_leader(cluster: FaultyCluster, dice: random.Random) -> None:
    """It holds its connections and says nothing."""
    leader = cluster.etcd.leader()
    cluster.etcd.pause(leader)
    cluster.hold(dice.uniform(2, 6))
    cluster.etcd.resume(leader)


@fault()
def lose_etcd_quorum(cluster: FaultyCluster, dice: random.Random) -> None:
    """No compare-and-swap can be done: nobody fails, so nobody notices."""
    members = range(len(cluster.etcd.members))
    for index in dice.sample(members, len(members) // 2 + 1):
        cluster.etcd.kill(index)
    cluster.hold(dice.uniform(5, 10))


@fault()
def lose_etcd_quorum_and_the_primary(cluster: FaultyCluster, dice: random.Random) -> None:
    """Unavailable until etcd is back, and nothing is lost."""
    members = range(len(cluster.etcd.members))
    for index in dice.sample(members, len(members) // 2 + 1):
        cluster.etcd.kill(index)
    victim = cluster.primary()
    cluster.kill(victim)
    cluster.hold(dice.uniform(3, 6))
    for member in cluster.etcd.members:
        if not member.running:
            member.start()
    cluster.hold(dice.uniform(1, 3))
    cluster.revive(victim)


@fault()
def pause_etcd(cluster: FaultyCluster, dice: random.Random) -> None:
    """All of etcd hangs for a few seconds: no bytes move, nobody is replaced."""
    for index in range(len(cluster.etcd.members)):
        cluster.etcd.pause(index)
    cluster.hold(dice.uniform(3, 6))
    for index in range(len(cluster.etcd.members)):
        cluster.etcd.resume(index)


# --- links between hosts -------------------------------------------------------------------------


def _hosts(cluster: FaultyCluster) -> Hosts:
    assert cluster.hosts is not None, "the fault needs network namespaces"
    return cluster.hosts


@fault(Need.HOSTS)
def isolate_primary(cluster: FaultyCluster, dice: random.Random) -> None:
    """From nodes and etcd, while clients still reach it: it must not answer them with old news."""
    primary = cluster.primary()
    _hosts(cluster).isolate([primary], cluster.others(primary))
    cluster.hold(dice.uniform(2, 12))


@fault(Need.HOSTS)
def deafen_primary(cluster: FaultyCluster, dice: random.Random) -> None:
    """One way: what the others send does not arrive; what it sends does."""
    primary = cluster.primary()
    for other in cluster.others(primary):
        _hosts(cluster).block(other, primary)
    cluster.hold(dice.uniform(2, 12))


@fault(Need.HOSTS)
def mute_primary(cluster: FaultyCluster, dice: random.Random) -> None:
    """One way: it hears everybody, nobody hears it, clients do."""
    primary = cluster.primary()
    for other in cluster.others(primary):
        _hosts(cluster).block(primary, other)
    cluster.hold(dice.uniform(2, 12))


@fault(Need.HOSTS)
def cut_primary_from_backups(cluster: FaultyCluster, dice: random.Random) -> None:
    """etcd still hears it: it may shrink the in-sync set, they may try to take over."""
    primary = cluster.primary()
    nodes = [name for name in cluster.names if name != primary]
    _hosts(cluster).isolate([primary], nodes)
    cluster.hold(dice.uniform(2, 12))


@fault(Need.HOSTS)
def cut_primary_from_etcd(cluster: FaultyCluster, dice: random.Random) -> None:
    """The cluster serves on."""
    _hosts(cluster).isolate([cluster.primary()], cluster.etcd_names)
    cluster.hold(dice.uniform(3, 12))


@fault(Need.HOSTS)
def cut_a_backup_from_etcd(cluster: FaultyCluster, dice: random.Random) -> None:
    """Hardly anybody notices."""
    _hosts(cluster).isolate([_backup(cluster, dice)], cluster.etcd_names)
    cluster.hold(dice.uniform(3, 12))


@fault(Need.HOSTS)
def cut_all_from_etcd(cluster: FaultyCluster, dice: random.Random) -> None:
    """As if etcd were down."""
    _hosts(cluster).isolate(cluster.names, cluster.etcd_names)
    cluster.hold(dice.uniform(3, 10))


@fault(Need.HOSTS)
def split(cluster: FaultyCluster, dice: random.Random) -> None:
    """Two groups of nodes, etcd on the side of one of them."""
    names = cluster.names
    part = dice.sample(names, dice.randrange(1, len(names) // 2 + 1))
    _hosts(cluster).isolate(part, cluster.others(*part))
    cluster.hold(dice.uniform(3, 12))


@fault(Need.HOSTS)
def split_beside_etcd(cluster: FaultyCluster, dice: random.Random) -> None:
    """Two groups of nodes which both reach etcd."""
    names = cluster.names
    part = dice.sample(names, dice.randrange(1, len(names) // 2 + 1))
    _hosts(cluster).isolate(part, [name for name in names if name not in part])
    cluster.hold(dice.uniform(3, 12))


@fault(Need.HOSTS)
def cut_a_pair(cluster: FaultyCluster, dice: random.Random) -> None:
    """Two nodes that do not hear each other, or only one of them the other."""
    first, second = dice.sample(cluster.names, 2)
    _hosts(cluster).block(first, second)
    if dice.random() < 0.5:
        _hosts(cluster).block(second, first)
    cluster.hold(dice.uniform(3, 12))


@fault(Need.HOSTS)
def isolate_a_backup(cluster: FaultyCluster, dice: random.Random) -> None:
    """It is taken out of the in-sync set, and comes back."""
    victim = _backup(cluster, dice)
    _hosts(cluster).isolate([victim], cluster.others(victim))
    cluster.hold(dice.uniform(3, 12))


@fault(Need.HOSTS)
def cut_clients_from_primary(cluster: FaultyCluster, dice: random.Random) -> None:
    """Nobody fails, and no client is served meanwhile."""
    _hosts(cluster).block_outside(cluster.primary())
    cluster.hold(dice.uniform(1, 5))


@fault(Need.HOSTS)
def isolate_primary_from_all(cluster: FaultyCluster, dice: random.Random) -> None:
    """From nodes, etcd and clients."""
    primary = cluster.primary()
    _hosts(cluster).isolate([primary], cluster.others(primary))
    _hosts(cluster).block_outside(primary)
    cluster.hold(dice.uniform(4, 12))


@fault(Need.HOSTS)
def flapping_link(cluster: FaultyCluster, dice: random.Random) -> None:
    """A node that is cut off every other second."""
    victim = dice.choice(cluster.names)
    for _ in range(dice.randrange(3, 7)):
        _hosts(cluster).isolate([victim], cluster.others(victim))
        cluster.hold(dice.uniform(0.5, 2))
        _hosts(cluster).heal()
        cluster.hold(dice.uniform(0.5, 2))


@fault(Need.HOSTS)
def lossy_link(cluster: FaultyCluster, dice: random.Random) -> None:
    """A node that loses a share of the packets sent to it."""
    _hosts(cluster).lose(dice.choice(cluster.names), dice.uniform(0.05, 0.3))
    cluster.hold(dice.uniform(4, 10))


@fault(Need.HOSTS)
def slow_link(cluster: FaultyCluster, dice: random.Random) -> None:
    """A node whose answers trickle."""
    _hosts(cluster).slow(dice.choice(cluster.names), dice.choice((100_000, 1_000_000)))
    cluster.hold(dice.uniform(4, 10))


# --- links on loopback: what the proxies can do --------------------------------------------------


def _proxied(cluster: FaultyCluster, dice: random.Random) -> Proxy:
    """The proxy of the primary, often, or of another node."""
    victim = cluster.primary() if dice.random() < 0.5 else dice.choice(cluster.names)
    return cluster.proxies[victim]


@fault(Need.PROXIES)
def unreachable_node(cluster: FaultyCluster, dice: random.Random) -> None:
    """Nothing that others send reaches it; what it opens itself works."""
    _proxied(cluster, dice).link.blocked_in = True
    cluster.hold(dice.uniform(3, 10))


@fault(Need.PROXIES)
def silent_node(cluster: FaultyCluster, dice: random.Random) -> None:
    """It is asked, and its answers get lost."""
    _proxied(cluster, dice).link.blocked_out = True
    cluster.hold(dice.uniform(3, 10))


@fault(Need.PROXIES)
def delayed_node(cluster: FaultyCluster, dice: random.Random) -> None:
    """Every piece is late."""
    _proxied(cluster, dice).link.delay_seconds = dice.choice((0.02, 0.2))
    cluster.hold(dice.uniform(3, 10))


@fault(Need.PROXIES)
def trickling_node(cluster: FaultyCluster, dice: random.Random) -> None:
    """Little bandwidth."""
    _proxied(cluster, dice).link.bytes_per_second = dice.choice((100_000, 1_000_000))
    cluster.hold(dice.uniform(3, 10))


@fault(Need.PROXIES)
def flapping_node(cluster: FaultyCluster, dice: random.Random) -> None:
    """Its connections break and are blocked every other second."""
    proxy = _proxied(cluster, dice)
    for _ in range(dice.randrange(3, 7)):
        proxy.link.blocked_in = True
        proxy.cut()
        cluster.hold(dice.uniform(0.3, 1.5))
        proxy.heal()
        cluster.hold(dice.uniform(0.3, 1.5))


# --- memory --------------------------------------------------------------------------------------


@fault()
def fill_memory(cluster: FaultyCluster, dice: random.Random) -> None:
    """Until there is no space; writers are told so, and what was acknowledged stays."""
    top = f"/filled-{dice.getrandbits(32):08x}"
    written = 0
    with memfs.connect(cluster.url, local_descriptors=False, timeout_seconds=20) as fs:
        fs.mkdir(top)
        try:
            while True:
                fs.write_bytes(f"{top}/{written}", bytes(FILL_PIECE_BYTES))
                written += 1
        except NoSpaceError:
            cluster.hold(dice.uniform(1, 4))
        finally:
            _remove(fs, top)


@fault(Need.JOURNAL, Need.DISKS)
def fill_journal_disk(cluster: FaultyCluster, dice: random.Random) -> None:
    """Writes are refused, or the node is left out; nothing is lost."""
    disk = cluster.disks[dice.choice(cluster.names)]
    filler = disk / "filler"
    try:
        with filler.open("wb") as file:
            while True:
                file.write(bytes(1 << 20))
                file.flush()
    except OSError:  # it is full
        cluster.hold(dice.uniform(2, 6))
    finally:
        filler.unlink()


def _remove(fs: FileSystem, top: str) -> None:
    """Insist: the next fault must not begin in a full cluster."""
    for _ in range(10):
        try:
            fs.rmtree(top)
            return
        except FileNotFoundError:
            return
        except MemfsError:
            time.sleep(1)
