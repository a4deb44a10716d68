"""Nodes in processes that join by themselves (`emu node NAME --join ADDRESS`): who waits for whom,
and what their end means. Below are handles, then a whole cluster on the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from emu.processes import door
from emu.processes.apart import is_unreal
from emu.processes.door import DoorError
from protocols.errors import RpcError
from tests.cli.running import EMU, PATIENCE_S, Up, emu, environment
from tests.processes.rig import APART, TOKEN, open_rig

pytestmark = pytest.mark.slow
FILE = """
name: j
seed: 5
tiers:
  db: {kind: database, nodes: 3, ack: quorum, detection_timeout: 1s}
  load: {kind: clients, asks: db, workload: set, processes: 4, think_time: 50ms, timeout: 3s}
accepts: {single-point: a test}
"""


async def test_a_node_waits_for_its_process_and_is_down_when_that_was_killed(tmp_path):
    async with open_rig("joined", tmp_path) as r:
        one, two = r.notebook("pad-1"), r.notebook("pad-2")
        one.joins = two.joins = False
        two.boot()
        assert one.handle.waits_for == ""
        how = f"emu node pad-2 --join {r.runner.address}"
        assert two.handle.waits_for == f"a process to join as pad-2: {how}"
        assert [
            (e["node"], e["command"]) for e in r.events if e["event"].startswith("waiting")
        ] == [("pad-2", how)]
        await r.sleep(0.05)
        assert two.heard == [] and two.handle.running, "it waits, and may be ended meanwhile"
        two.handle.end(crash=False)
        one.boot()
        guest = r.join("pad-1", "pad-2")
        await r.until(lambda: one.heard == ["started"])
        assert two.heard == [], "ended before its process came"
        assert one.handle.process.pid == guest.pid
        await two.up(2)
        assert r.runner.facts() == [
            {"process": 1001, "pid": guest.pid, "nodes": ["pad-1", "pad-2"]}
        ]
        assert r.world.titles[1001] == "the process of pad-1, pad-2"
        await one.call("note", "kept")
        guest.send_signal(signal.SIGKILL)
        lost = "its process ended (it closed its connection)"
        await r.until(lambda: one.heard == ["started", lost])
        r.join("pad-1")
        await one.up(2)
        assert await one.call("read") == "kept"
        assert [each["event"] for each in r.events if each["event"].startswith("process")] == [
            "process joined", "process lost", "process joined"]  # fmt: skip


class Cluster:
    """`emu up --join-at` of FILE, and processes that have joined it."""

    def __init__(self, state: Path) -> None:
        self.state = state
        file = state.parent / "j.yaml"
        file.write_text(FILE)
        self.up = Up(state, str(file), "--join-at", "0", "--joined", "db", "--json")
        self.guests: list[subprocess.Popen[bytes]] = []
        self.until("waits", (self.state / "j" / "run.json").exists)
        self.address = json.loads((self.state / "j" / "run.json").read_text())["join"]

    def join(self, *words: str) -> subprocess.Popen[bytes]:
        guest = subprocess.Popen(
            [*EMU, "node", *words, "--join", self.address], env=environment(self.state)
        )
        self.guests.append(guest)
        return guest

    def states(self) -> dict[str, str]:
        rows = json.loads(emu(self.state, "ps", "--json").stdout)
        return {row["name"]: row["state"] for row in rows}

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = emu(self.state, "events", "--json").stdout.splitlines()
        return [each for each in map(json.loads, lines) if each["event"] == name]

    def until(self, what: str, holds: Callable[[], bool]) -> None:
        give_up_s = time.monotonic() + PATIENCE_S
        while not holds():
            assert self.up.process.poll() is None and time.monotonic() < give_up_s, self.up.said
            time.sleep(0.05)


@contextmanager
def waiting(folder: Path) -> Iterator[Cluster]:
    cluster = Cluster(folder / "s")
    try:
        yield cluster
    finally:
        for each in (cluster.up.process, *cluster.guests):
            each.kill()
            each.wait()


def test_a_cluster_whose_nodes_join_is_used_broken_and_judged(tmp_path_factory):
    with waiting(tmp_path_factory.mktemp("joining")) as c:
        token = c.state / "j" / "join.token"
        assert oct(token.stat().st_mode)[-3:] == "600"
        assert "waiting for processes" in c.up.said and f"--join {c.address}" in c.up.said
        one, others = c.join("db-1"), c.join("db-2,db-3")
        c.until("up", lambda: set(c.states().values()) == {"up"})
        for words, why in (
            (("db-2",), f"db-2 is run by another process already (pid {others.pid})"),
            (("nobody",), "nothing is called `nobody`"),
            (("load-1",), "load-1 runs in emu's own process"),
        ):
            refused = emu(c.state, "node", *words, "--join", c.address)
            assert refused.exit_code == 1 and why in refused.stderr
        stranger = emu(c.state, "node", "db-1", "--join", c.address, EMU_JOIN_TOKEN="x" * 32)
        assert stranger.exit_code == 1 and "does not know the token" in stranger.stderr

        c.until("some requests", lambda: _answered(c) > 20)
        os.kill(one.pid, signal.SIGKILL)
        c.until("killed", lambda: c.states()["db-1"] == "killed")
        (lost,) = c.events("process lost")
        assert lost["nodes"] == ["db-1"]
        assert [each["node"] for each in c.events("node killed")] == ["db-1"]
        before = _answered(c)
        one = c.join("db-1")
        c.until("back", lambda: c.states()["db-1"] == "up")
        assert emu(c.state, "heal").exit_code == 0, "its kill is over"

        one.send_signal(signal.SIGTERM)
        assert one.wait(PATIENCE_S) == 0
        assert c.states()["db-1"] == "stopped" and c.events("process left")
        one = c.join("db-1")
        c.until("back again", lambda: c.states()["db-1"] == "up")
        c.until("more requests", lambda: _answered(c) > before)

        assert c.up.end(signal.SIGINT) == 0, c.up.said
        summary = json.loads(c.up.stdout.splitlines()[-1])
        assert (summary["anomalies"], summary["lost_acknowledged_writes"]) == ([], 0)
        assert (one.wait(PATIENCE_S), others.wait(PATIENCE_S)) == (1, 1), "emu has ended"
        assert not token.exists()


def _answered(c: Cluster) -> int:
    return int(json.loads(emu(c.state, "summary", "--json").stdout)["requests"])


@pytest.mark.soak
def test_the_end_does_not_wait_for_ever_for_a_process_that_was_killed(tmp_path_factory):
    with waiting(tmp_path_factory.mktemp("joining")) as c:
        c.join("db-1,db-2")
        gone = c.join("db-3")
        c.until("up", lambda: set(c.states().values()) == {"up"})
        c.until("some requests", lambda: _answered(c) > 20)
        os.kill(gone.pid, signal.SIGKILL)
        c.until("killed", lambda: c.states()["db-3"] == "killed")
        healed = emu(c.state, "heal")
        assert healed.exit_code == 0, "what may never come is not waited for"
        assert c.up.end(signal.SIGINT) == 0, c.up.said
        summary = json.loads(c.up.stdout.splitlines()[-1])
        how = f"a process to join as db-3: emu node db-3 --join {c.address}"
        assert (summary["verdict"], summary["anomalies"]) == ("unknown", [])
        assert f"db-3 could not be read: it waited for {how}" in summary["why"]
        assert summary["lost_acknowledged_writes"] == 0, "of those who were there"


def test_one_that_waits_can_be_ended(tmp_path_factory):
    with waiting(tmp_path_factory.mktemp("joining")) as c:
        emu(c.state, "down")
        assert c.up.process.wait(PATIENCE_S) == 1
        assert "ended before its nodes had joined: db-1, db-2, db-3" in c.up.said


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("up", "04", "--joined", "db"), "say where they join, by --join-at"),
        (("up", "04", "--join-at", "nonsense"), "is no HOST:PORT"),
        (("up", "04", "--join-at", "127.0.0.1:70000"), "is no HOST:PORT"),
        (("up", "04", "--join-at", "0", "--joined", "no-tier"), "nothing is called `no-tier`"),
        (("up", "04", "--join-at", "0", "--no-aliases"), "needs loopback addresses"),
        (("up", "04", "--join-at", "0.0.0.0:70"), "say which address it is"),
        (("up", "04", "--join-at", "here:70"), "`here` is no IPv4 address"),
        (("up", "04", "--join-at", "10.0.0.1:70", "--workers", "2"), "are for one computer"),
        (
            ("up", "04", "--join-at", "10.0.0.1:70", "--joined", "users-local-1"),
            "by emu's own clock",
        ),
        (("node", "web-1", "--join", "7070"), "no run of this computer lets nodes join at"),
        (("node", "web-1", "--join", "1", "--token-file", "/none"), "cannot read the token"),
    ],
)
def test_what_cannot_be_is_said(words, why, tmp_path):
    result = emu(tmp_path / "s", *words)
    assert result.exit_code == 2 and why in result.stderr


def test_a_token_that_can_be_guessed_is_refused(tmp_path):
    result = emu(tmp_path / "s", "up", "04", "--join-at", "0", EMU_JOIN_TOKEN="short")
    assert result.exit_code == 2 and "fewer than 16 characters" in result.stderr


async def test_who_dials_is_known_where_machines_are_on_several_computers(tmp_path):
    """emu's machines share its address, so it tells the endpoint; an address is a node's name."""
    async with open_rig("apart", tmp_path) as r:
        one, two = r.notebook("pad-1", dials=("pad", "own")), r.notebook("pad-2", dials=("pad",))
        own = r.notebook("own-1", runner=r.in_process, dials=("pad",))
        other = r.notebook("other-1", runner=r.in_process)
        for pad in (one, two, own, other):
            await pad.up()
            await pad.call("note", pad.name)
        assert len({each.handle.address for each in (one, two, own, other)}) == 4
        assert is_unreal(own.handle.address) and not is_unreal(one.handle.address)
        for dialer, target in ((one, two), (two, one), (one, own), (own, one), (own, two)):
            assert (await dialer.call("dial", target.name))[0] == target.name
        for dialer, target in ((two, own), (other, one), (one, other)):
            with pytest.raises(RpcError):
                await dialer.call("dial", target.name)
        await r.until(lambda: len(refused(r)) >= 3)
        assert refused(r) == {("pad-2", "own-1"), ("other-1", "pad-1"), ("pad-1", "other-1")}
        one.handle.end(crash=False)
        r.guests[0].kill()
        await r.until(lambda: "pad-1" in r.runner.missing())
        assert is_unreal(one.handle.address), "whoever is there now is somebody else"
        await two.handle.in_force()
        with pytest.raises(RpcError):
            await two.call("dial", "pad-1")
        await one.up(2)
        assert one.handle.address == f"{APART}4", "another pod"
        await two.handle.in_force()
        assert (await two.call("dial", "pad-1"))[0] == "pad-1"


def refused(r) -> set[tuple[str, str]]:
    return {
        (each["dialer"], each["node"]) for each in r.events if each["event"] == "connection refused"
    }


async def test_who_may_not_come_from_another_computer_is_told_why(tmp_path):
    async with open_rig("apart", tmp_path) as r:
        for name in ("pad-1", "pad-2", "pad-3"):
            r.notebook(name)
        for words, source, why in (
            ("pad-1,pad-2", "2", "brings one node"),
            ("pad-1", "1", "emu's own address"),
        ):
            stream = await trio.open_tcp_stream(*host_and_port(r), local_address=f"{APART}{source}")
            with pytest.raises(DoorError, match=why):
                await door.knock(stream, TOKEN, nodes=words)
        first = r.join("pad-3")
        await r.until(lambda: "pad-3" not in r.runner.missing())
        stream = await trio.open_tcp_stream(*host_and_port(r), local_address=f"{APART}2")
        with pytest.raises(DoorError, match="is pad-3's address already"):
            await door.knock(stream, TOKEN, nodes="pad-1")
        assert first.poll() is None


def host_and_port(r) -> tuple[str, int]:
    host, _, port = r.runner.address.rpartition(":")
    return host, int(port)
