"""Every verb on a small cluster that runs in a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

from tests.cli.conftest import Verb
from tests.cli.running import EMU, PATIENCE_S, SMALL, Up, emu_process, environment

PS_KEYS = ["name", "kind", "tier", "region", "role", "state", "address", "public", "uptime_s"]
"""The contract of `emu ps --json`."""


@pytest.fixture(autouse=True)
def heal(ask: Verb) -> Iterator[None]:
    yield
    assert ask("heal").exit_code == 0
    ask("start", "all")


def states(ask: Verb) -> dict[str, str]:
    return {row["name"]: row["state"] for row in json.loads(ask("ps", "--json").stdout)}


def eventually(ask: Verb, wanted: dict[str, str]) -> None:
    give_up_s = time.monotonic() + PATIENCE_S
    while not wanted.items() <= states(ask).items():
        assert time.monotonic() < give_up_s, states(ask)
        time.sleep(0.02)


def test_ps_gives_the_contract_keys_first(ask: Verb) -> None:
    rows = json.loads(ask("ps", "--json").stdout)
    assert [list(row)[: len(PS_KEYS)] for row in rows] == [PS_KEYS] * len(rows)
    database = next(row for row in rows if row["name"] == "db-1")
    assert (database["role"], database["public"], database["state"]) == ("primary", False, "up")


def test_ps_is_plain_aligned_text_in_a_pipe(ask: Verb) -> None:
    head, *rows = ask("ps", "web").stdout.splitlines()
    assert head.split()[:4] == ["NAME", "KIND", "REGION", "STATE"]
    assert [row.split()[0] for row in rows] == ["web-1", "web-2"]
    assert all(line == line.rstrip() for line in [head, *rows])
    assert "\x1b" not in head


def test_url_prints_one_line_that_a_client_takes_as_it_is(ask: Verb) -> None:
    answer = ask("url", "lb")
    assert answer.exit_code == 0 and answer.stdout.count("\n") == 1
    with urllib.request.urlopen(answer.stdout.strip(), timeout=PATIENCE_S) as page:
        assert page.status == 200
    row = json.loads(ask("url", "lb", "--door", "rpc", "--json").stdout)
    assert row["url"].startswith("rpc://127.") and row["node"] == "lb-1"


def test_url_of_a_private_tier_or_of_no_door_says_what_to_do(ask: Verb) -> None:
    private = ask("url", "db")
    assert (private.exit_code, private.stdout) == (1, "")
    assert "give tier `db` `public: true`" in private.stderr
    missing = ask("url", "lb", "--door", "redis")
    assert missing.exit_code == 1
    assert "no door `redis`; choose from http, rpc" in missing.stderr


def test_killed_and_started_again(ask: Verb) -> None:
    killed = ask("kill", "web-1")
    assert killed.stdout == "web-1 killed\n"
    assert states(ask)["web-1"] == "killed"
    assert ask("start", "web-1").stdout == "web-1 up\n"


def test_a_crash_undoes_itself_after_its_time(ask: Verb) -> None:
    result = ask("crash", "db", "--for", "200ms", "--json")
    assert json.loads(result.stdout)["changed"] == {"db-1": "crashed"}
    eventually(ask, {"db-1": "up"})


def test_words_choose_targets_without_quotes_too(ask: Verb) -> None:
    assert re.fullmatch(r"web-[12] paused\n", ask("pause", "one", "web").stdout)
    assert ask("unpause", "web").stdout.endswith(" up\n")
    assert ask("stop", "db primary").stdout == "db-1 stopped\n"


def test_a_verb_says_what_undoes_it_and_whether_there_was_anything_to_do(ask: Verb) -> None:
    killed = ask("kill", "web-1").stderr
    number = re.fullmatch(r"kill web-1: done; `emu heal (\d+)` undoes it\n", killed)
    assert number, killed
    healed = ask("heal", number[1])
    assert (healed.stdout, healed.stderr) == (
        "web-1 up\n",
        f"kill web-1: undone\nheal {number[1]}: done\n",
    )
    assert ask("unpause", "web-1").stderr == "unpause web-1: nothing to do: it is so already\n"
    assert ask("heal").stderr == "heal all: nothing to do: it is so already\n"
    assert ask("scale", "web=2").stderr == "scale web: nothing to do: it is so already\n"
    assert ask("restart", "web-1").stdout == "web-1 up\n"


def test_killing_all_spares_the_people_unless_they_are_named(ask: Verb) -> None:
    killed = json.loads(ask("kill", "all", "--json").stdout)["changed"]
    assert sorted(killed) == ["db-1", "dns-1", "lb-1", "web-1", "web-2"]
    assert states(ask)["users-local-1"] == "up"
    ask("heal")
    assert ask("kill", "users-local").stdout == "users-local-1 killed\n"
    ask("heal")


def test_restart_makes_a_new_generation(ask: Verb) -> None:
    before = json.loads(ask("ps", "db", "--json").stdout)[0]["generation"]
    assert ask("restart", "db").exit_code == 0
    assert json.loads(ask("ps", "db", "--json").stdout)[0]["generation"] == before + 1


def test_faults_are_listed_as_one_writes_them_and_healed_by_number(ask: Verb) -> None:
    ask("slow", "web", "--latency", "20ms", "--to", "db")
    ask("partition", "lb", "web-1", "--one-way", "--for", "1m")
    ask("disk", "db", "--slow-factor", "3", "--fail", "reads")
    listed = {row["verb"]: row["number"] for row in json.loads(ask("faults", "--json").stdout)}
    text = ask("faults").stdout
    assert re.search(r"^NUMBER +FAULT +BEGAN +ENDS$", text, re.MULTILINE)
    assert re.search(r"slow web .* when healed$", text, re.MULTILINE)
    assert re.search(r"partition lb web-1 .* in \d\d\.\d s$", text, re.MULTILINE)
    assert "slow web --latency 20ms --to db" in text
    assert "partition lb web-1 --one-way" in text
    assert "disk db --slow-factor 3 --fail reads" in text
    assert ask("heal", str(listed["slow"])).exit_code == 0
    assert "slow web" not in ask("faults").stdout
    unknown = ask("heal", "999")
    assert unknown.exit_code == 1
    assert "no active fault has the number `999`" in unknown.stderr
    assert "partition lb web-1 --one-way: undone\n" in ask("heal").stderr
    assert ask("faults").stderr == "nothing is broken\n"


def test_scale_there_and_back(ask: Verb) -> None:
    assert ask("scale", "web=3").stdout == "web-3 up\n"
    assert ask("scale", "web=2").stdout == "web-3 removed\n"


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        (("kill", "wep"), 1, "nothing is called `wep`; did you mean `web`?"),
        (("kill", "web", "primary"), 1, "no `primary` in `web primary`"),
        (("scale", "web"), 2, "write TIER=NODES, for example web=5"),
        (("scale", "wep=2"), 1, "no tier is called `wep`"),
        (("slow", "web", "--latency", "5"), 2, "write 5s or 5ms"),
        (("disk", "db", "--fail", "all"), 2, "none, reads, writes, both"),
        (("disk", "db"), 2, "it does nothing; say `--slow-factor`, `--fail`, `--full` or `--flip"),
        (("skew", "db"), 2, "it does nothing; say `--step` or `--drift`: `emu skew --help`"),
        (("throttle", "db", "--bandwidth", "0.5B/s"), 2, "must be at least 1B/s"),
        (("heal", "--for", "5s"), 2, "No such option: --for"),
        (("unpause", "web", "--for", "5s"), 2, "No such option: --for"),
        (("kill", "web", "--for", "soon"), 2, "--for:"),
        (("call", "db-1", "fly"), 1, "no_such_method: fly; there are:"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
)
def test_a_wrong_word_is_explained(
    ask: Verb, words: tuple[str, ...], code: int, complaint: str
) -> None:
    result = ask(*words)
    assert result.exit_code == code
    assert complaint in result.stderr
    assert result.stdout == ""


def test_call_asks_one_node_or_several(ask: Verb) -> None:
    assert ask("call", "web-1", "ping").stdout == "pong\n"
    answers = json.loads(ask("call", "web", "ping", "--json").stdout)
    assert answers == {"web-1": {"ok": "pong"}, "web-2": {"ok": "pong"}}
    row = json.loads(ask("call", "db", "query", "select 40 + 2").stdout)["rows"]
    assert row == [[42]]
    assert "role" in json.loads(ask("call", "--admin", "db", "describe").stdout)


def test_events_and_logs_tell_what_happened(ask: Verb) -> None:
    ask("kill", "web-2")
    last = json.loads(ask("events", "web-2", "--json").stdout.splitlines()[-1])
    assert (last["event"], last["node"], last["level"]) == ("node killed", "web-2", "info")
    assert re.search(r"\d\.\d{3}s +web-2 +node killed", ask("logs", "web-2").stdout)
    assert len(ask("events", "-n", "3").stdout.splitlines()) == 3


def test_summary_has_the_contract_keys(ask: Verb) -> None:
    found: dict[str, Any] = json.loads(ask("summary", "--json").stdout)
    assert {"name", "nodes", "ready_s", "requests", "errors", "availability", "latency_s",
            "lost_acknowledged_writes", "loop_lag_s", "trustworthy", "expectations",
            "verdict"} <= set(found)  # fmt: skip
    assert "verdict:" in ask("summary").stdout


def test_completion_knows_the_nodes_and_the_clusters(cluster: Up) -> None:
    shell = {"_EMU_COMPLETE": "complete_bash", "COMP_CWORD": "2"}
    targets = emu_process(cluster.state, **shell, COMP_WORDS="emu kill we")
    assert targets.stdout.split() == ["web", "web-1", "web-2"]
    names = emu_process(cluster.state, **{**shell, "COMP_CWORD": "3"}, COMP_WORDS="emu ps -c ")
    assert names.stdout.split() == ["small"]


def test_only_its_owner_may_use_the_control_socket(cluster: Up) -> None:
    (socket,) = cluster.state.glob("small/control.sock")
    assert stat.S_IMODE(os.stat(socket).st_mode) == 0o600


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xc1",
        b"\x94\x00\x01",
        b"\x93" * 10_000,
        b"\xdf\xff\xff\xff\xff",
        msgpack.packb([0, 1, "inject", [{"verb": "kill"}]]),
        msgpack.packb([0, 1, "ps", [1, 2, 3]]),
        msgpack.packb([0, 1, "apply", ["/etc/passwd"]]),
        msgpack.packb([0, 1, "call", ["web", "ping", {"a": 1}]]),
        msgpack.packb([0, 1, "inject", [{"verb": "scale", "tier": "web", "nodes": -1}]]),
        msgpack.packb([0, 1, "inject", [{"verb": "slow", "target": "web", "latency_s": "x"}]]),
    ],
    ids=lambda garbage: repr(garbage[:24]),
)
def test_garbage_on_the_control_socket_does_no_harm(ask: Verb, cluster: Up, garbage: bytes) -> None:
    before = states(ask)
    (path,) = cluster.state.glob("small/control.sock")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(path))
        connection.sendall(garbage)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
    assert states(ask) == before


def test_up_again_shows_the_changes_and_makes_them(ask: Verb, cluster: Up) -> None:
    file = cluster.folder / "small.yaml"
    assert "running as the file says" in ask("up", str(file)).stderr
    file.write_text(SMALL.replace("nodes: 2", "nodes: 3"))
    assert "  add: web-3\n" in ask("up", str(file)).stderr
    assert states(ask)["web-3"] == "up"
    file.write_text(SMALL)
    for said in ("n\n", "\n", ""):
        refused = ask("up", "--json", str(file), stdin=said)
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert "nothing was changed" in refused.stderr and states(ask)["web-3"] == "up"
    result = ask("up", "--json", "--yes", str(file))
    assert json.loads(result.stdout) == {"name": "small", "changed": ["remove: web-3"]}
    assert "web-3" not in states(ask)


def test_up_again_with_a_broken_file_changes_nothing(ask: Verb, cluster: Up) -> None:
    file = cluster.folder / "small.yaml"
    file.write_text(SMALL.replace("nodes: 2", "nodes: many"))
    assert ask("up", str(file)).exit_code == 3
    file.write_text(SMALL)
    assert states(ask).keys() >= {"web-1", "web-2"}


def test_fresh_disks_are_refused_while_it_runs(ask: Verb, cluster: Up) -> None:
    result = ask("up", "--fresh", str(cluster.folder / "small.yaml"))
    assert result.exit_code == 1
    assert "`emu down` ends it" in result.stderr


@pytest.mark.slow
def test_a_restart_says_what_it_waits_for_and_ctrl_c_ends_that(cluster: Up, ask: Verb) -> None:
    host, port = json.loads(ask("ps", "lb", "--json").stdout)[0]["address"].split(":")
    with socket.create_connection((host, int(port))) as held:
        held.sendall(b"GET / HTTP/1.1\r\nHost: lb\r\n\r\n")
        assert held.recv(12) == b"HTTP/1.1 200"
        restart = subprocess.Popen(
            [*EMU, "restart", "lb"],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            env=environment(cluster.state),
        )
        assert restart.stderr is not None
        assert re.match(
            r"waiting for lb-1: \d+ connections? left \(10 s", restart.stderr.readline()
        )
        restart.send_signal(signal.SIGINT)
        _, said = restart.communicate(timeout=PATIENCE_S)
    assert restart.returncode == 0
    assert "not waiting for lb-1" in said
    assert "restart lb: done" in said


def test_a_restart_now_drains_nothing(ask: Verb) -> None:
    assert ask("restart", "lb", "--now").exit_code == 0
    events = [json.loads(line) for line in ask("events", "lb", "--json").stdout.splitlines()]
    assert [each["event"] for each in events if each["event"].startswith("node")][-2:] == [
        "node stopped",
        "node up",
    ]
