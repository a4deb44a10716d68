"""What a database acknowledged is there after every way to die, once: kill, power cut, kill -9."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import emu
from emu.checks.history import Recorder
from emu.topology.loading import loads
from protocols import rpc
from tests.live.running import emu_up

ALONE = """
name: alone
tiers:
  db: {kind: database, public: true}
  load: {kind: clients, asks: db, workload: set, processes: 8, think_time: 1ms}
"""
OUTSIDE = "name: outside\ntiers: {db: {kind: database, public: true}}\n"
both_worlds = pytest.mark.parametrize(
    "world", ["sim", pytest.param("live", marks=pytest.mark.slow)]
)


async def die_often(c: emu.Scenario, times: int, acknowledged: int) -> dict[str, Any]:
    """Kill and power cut in turn, with the load going on, and until enough is acknowledged."""
    for _ in range(times):
        await c.sleep(0.3)
        await c.kill("db", for_s=0.1)
        await c.sleep(0.3)
        await c.crash("db", for_s=0.1)
    while added(c) < acknowledged:
        await c.sleep(0.5)
    return {**await c.finish(), "added": added(c)}


def added(c: emu.Scenario) -> int:
    """The elements whose insertion was acknowledged."""
    recorder = c.cluster.world.history
    assert isinstance(recorder, Recorder)
    return sum(each.f == "add" and each.is_ok for each in recorder.operations)


def check(found: dict[str, Any], at_least: int) -> None:
    """Lost, doubled or refused and yet there: each would be an anomaly of a set."""
    assert found["anomalies"] == [] and found["undecided"] == []
    assert found["added"] >= at_least


@both_worlds
def test_acknowledged_commits_survive_kills_and_power_cuts_once_each(world: Any) -> None:
    check(emu.run(lambda c: die_often(c, 2, 0), loads(ALONE), world=world), 100)


@pytest.mark.soak
def test_ten_thousand_commits_survive_ten_kills_and_ten_power_cuts() -> None:
    check(emu.run(lambda c: die_often(c, 10, 10_000), loads(ALONE), world="live"), 10_000)


class Caller:
    """A MessagePack-RPC client that knows nothing of emu; it asks again where it was refused."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address, timeout=10)
        self._rpc = rpc.Connection()
        self._msgid = 0

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def call(self, method: str, *params: Any) -> Any:
        """Raises OSError if the connection breaks."""
        self._msgid += 1
        self._socket.sendall(self._rpc.send_request(self._msgid, method, list(params)))
        while True:
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionResetError("the server ended")
            for _, _, error, result in self._rpc.receive_data(data):
                if error is None:
                    return result
                assert error[0] == "unavailable", error
                time.sleep(0.05)
                return self.call(method, *params)


@pytest.mark.slow
def test_acknowledged_commits_survive_kill_9_of_emu_itself(tmp_path: Path) -> None:
    file = tmp_path / "outside.yaml"
    file.write_text(OUTSIDE)
    state = tmp_path / "state"
    state.mkdir()
    acknowledged: list[int] = []
    with ExitStack() as stack, emu_up(state, str(file)) as running:
        caller = stack.enter_context(Caller(running.address("db-1")))
        caller.call("write", [["CREATE TABLE t (id INTEGER NOT NULL PRIMARY KEY)", []]], {})
        for number in range(300):
            write(caller, number)
            acknowledged.append(number)
        os.kill(running.process.pid, signal.SIGKILL)
        running.process.wait(10)
    with ExitStack() as stack, emu_up(state, str(file)) as running:
        caller = stack.enter_context(Caller(running.address("db-1")))
        write(caller, acknowledged[-1])  # a retry of what may have been in flight
        write(caller, 300)
        rows = caller.call("query", "SELECT id FROM t ORDER BY id", [], {})["rows"]
    assert [row[0] for row in rows] == [*acknowledged, 300]


def write(caller: Caller, number: int) -> None:
    statement = ["INSERT INTO t VALUES (?)", [number]]
    caller.call("write", [statement], {"request_id": f"outside-{number}"})
