"""Lines about requests: the slow ones always, a sample of the others, the same at every node; and
the file that holds them is bounded."""

from __future__ import annotations

import json
from pathlib import Path

from emu.machine.lines import OLDER, Lines
from emu.machine.requests import KEPT, NodeAccess, Requests, sampled
from emu.machine.world import LogSpec, MachineSpec


class Alive:
    dead = False


def access(requests: Requests, name: str = "web-1", **spec: float) -> NodeAccess:
    machine = MachineSpec(name, "web", "web", "us", logs=LogSpec(**spec))
    return NodeAccess(requests, machine, Alive())  # type: ignore[arg-type]


def test_what_is_slow_is_told_whatever_the_sample():
    requests = Requests(lambda: 7.0)
    node = access(requests, slow_s=0.2)
    node.told("GET /", 0.19, "200", 1, "lb-1")
    node.told("GET /", 0.2, "200", 0xAB, "lb-1")
    (line,) = requests.since(0)
    assert line == {
        "time_s": 7.0, "level": "warning", "event": "request", "node": "web-1", "tier": "web",
        "region": "us", "request": "ab", "what": "GET /", "outcome": "200", "seconds": 0.2,
        "peer": "lb-1",
    }  # fmt: skip


def test_a_sample_is_the_same_requests_at_every_node_and_about_as_many_as_were_asked_for():
    requests = Requests(lambda: 0.0)
    for name in ("lb-1", "web-1"):
        node = access(requests, name, sample_ratio=0.1)
        for number in range(2000):
            node.told("GET /", 0.0, "200", number, "x")
    told = {name: [each["request"] for each in requests.since(0) if each["node"] == name]
            for name in ("lb-1", "web-1")}  # fmt: skip
    assert told["lb-1"] == told["web-1"]
    assert 150 < len(told["web-1"]) < 250
    assert all(sampled(number, 1.0) for number in range(100))
    assert not any(sampled(number, 0.0) for number in range(100))


def test_the_newest_lines_are_kept_and_a_dead_node_tells_nothing():
    requests = Requests(lambda: 0.0)
    node = access(requests, sample_ratio=1.0)
    for number in range(KEPT + 5):
        node.told("GET /", 0.0, "200", number, "x")
    assert [each["request"] for each in requests.since(KEPT + 3)] == [
        f"{KEPT + 3:x}", f"{KEPT + 4:x}"
    ]  # fmt: skip
    assert len(requests.since(0)) == KEPT
    node._life.dead = True  # type: ignore[misc]
    node.told("GET /", 9.0, "200", 1, "x")
    assert requests.next_index == KEPT + 5


def test_the_file_of_lines_is_bounded_and_each_is_json(tmp_path: Path):
    path = tmp_path / "lines.jsonl"
    lines = Lines(path, max_bytes=1000)
    for number in range(100):
        lines.write({"time_s": number, "event": "request", "why": OSError("full")})
    lines.close()
    lines.write({"time_s": 100})
    older = path.with_name(path.name + OLDER)
    assert path.stat().st_size <= 1000 and older.stat().st_size <= 1000
    told = [json.loads(each) for file in (older, path) for each in file.read_text().splitlines()]
    assert [each["time_s"] for each in told][-10:] == list(range(90, 100))
    assert lines.dropped == 1
