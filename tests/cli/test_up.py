"""`emu up` as a process: its screens, its ends, its exit codes, and what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.cli.running import (
    EMU,
    PATIENCE_S,
    SMALL,
    TINY,
    Up,
    emu,
    emu_process,
    environment,
    with_workers,
)

CONTRACT = {
    "name", "nodes", "ready_s", "requests", "errors", "availability", "latency_s",
    "lost_acknowledged_writes", "loop_lag_s", "trustworthy", "expectations", "verdict",
}  # fmt: skip
Begin = Callable[..., Up]
REPLICATED = """
name: replicated
tiers:
  web: {kind: web, public: true, uses: db}
  db: {kind: database, nodes: 3}
accepts: {single-point: this is a test}
"""


@pytest.fixture
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a short name: a socket's path has an end."""
    return tmp_path_factory.mktemp("up") / "s"


@pytest.fixture
def begin(state: Path) -> Iterator[Begin]:
    """`begin(text, words...)`: emu up of that topology; killed at the end if it still runs."""
    begun: list[Up] = []

    def up(text: str, *words: str, **more: str) -> Up:
        file = state.parent / "topology.yaml"
        file.write_text(text)
        begun.append(Up(state, str(file), *words, **more))
        return begun[-1]

    yield up
    for each in begun:
        each.process.kill()
        each.process.wait()


def dial(address: str) -> None:
    host, _, port = address.rpartition(":")
    socket.create_connection((host, int(port)), timeout=5).close()


def front(state: Path) -> str:
    """Where the site is served: private listeners reset whoever comes from outside."""
    rows = json.loads(emu(state, "ps", "--json").stdout)
    return next(str(row["address"]) for row in rows if row["public"] and row["kind"] != "dns")


def test_a_timed_run_prints_one_object_last_and_leaves_its_record_alone(
    begin: Begin, state: Path
) -> None:
    """`emu report` drew an earlier run where that was gone, too."""
    up = begin(SMALL, "--for", "1s", "--json")
    assert up.process.wait(PATIENCE_S) == 0, up.said
    summary = json.loads(up.stdout.splitlines()[-1])
    assert set(summary) >= CONTRACT
    assert set(summary["latency_s"]) == {"p50", "p99"}
    assert (summary["name"], summary["nodes"]) == ("small", 6)
    assert summary["verdict"] == ("passed" if summary["trustworthy"] else "untrusted")
    assert summary["requests"] > 0 and summary["lost_acknowledged_writes"] == 0
    assert sorted(path.name for path in state.iterdir()) == ["lock", "small.record.json"]
    page = state.parent / "page.html"
    assert emu(state, "report", "--out", str(page)).exit_code == 0
    assert "small" in page.read_text("utf-8")


def test_whoever_is_up_answers_also_after_a_restart_on_kept_disks(
    begin: Begin, state: Path
) -> None:
    for _ in range(2):
        up = begin(REPLICATED)
        up.wait_ready()
        with urlopen(f"http://{front(state)}/", timeout=PATIENCE_S) as answer:
            assert answer.status == 200
        assert up.end() == 130, up.said


def test_a_failed_expectation_exits_4(begin: Begin, tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    up = begin(SMALL.replace("availability >= 1%", "ready <= 1ms"), "--for", "200ms",
               "--strict", "--junit", str(junit))  # fmt: skip
    assert up.process.wait(PATIENCE_S) == 4
    assert '<testcase classname="emu.small" name="ready &lt;= 1ms"><failure' in junit.read_text()
    assert "FAILED  ready <= 1ms" in up.said
    assert "verdict: failed" in up.said


def test_the_first_screen_says_what_to_type(begin: Begin) -> None:
    up = begin(SMALL)
    facts = up.wait_ready()
    give_up_s = time.monotonic() + PATIENCE_S
    while "Ctrl-C ends it" not in up.said:
        assert time.monotonic() < give_up_s, up.said
        time.sleep(0.01)
    screen = up.said
    address = front(up.state).rpartition(".")[0]
    assert "small is up: 6 of 6 nodes in " in screen
    assert f"curl -i http://{address}" in screen and re.search(
        r"dig @127\.\S+ -p 5300 www\.example\.test", screen
    )
    assert f"{facts['observe']}/sd " in screen
    assert "emu kill 'one web' --for 5s" in screen
    assert "node up" not in screen and "\x1b" not in screen and " \n" not in screen
    assert max(len(line) for line in screen.splitlines()) < 100


def test_ctrl_c_ends_it_with_a_verdict_and_frees_every_address(begin: Begin) -> None:
    up = begin(SMALL)
    up.wait_used()
    address = front(up.state)
    dial(address)
    assert emu(up.state, "kill", "web-1", "--for", "30s").exit_code == 0
    assert up.end(signal.SIGINT) == 0, up.said
    assert "Ctrl-C again: at once" in up.said and "unknown" not in up.said
    assert " acknowledged writes lost" in up.said
    assert "What was done, and what users paid" in up.said and "kill web-1" in up.said
    with pytest.raises(ConnectionRefusedError):
        dial(address)
    assert emu(up.state, "ps").exit_code == 1
    assert "Traceback" not in up.said


def test_a_second_ctrl_c_ends_it_in_a_moment(begin: Begin) -> None:
    up = begin(SMALL)
    up.wait_ready()
    assert emu(up.state, "kill", "db-1").exit_code == 0
    up.process.send_signal(signal.SIGINT)
    give_up_s = time.monotonic() + PATIENCE_S
    while "Ctrl-C again" not in up.said:
        assert time.monotonic() < give_up_s, up.said
        time.sleep(0.01)
    began_s = time.monotonic()
    assert up.end(signal.SIGINT) in (0, 4, 130)  # it may have been judged just before
    assert time.monotonic() - began_s < 5.0
    assert "Traceback" not in up.said


def test_what_a_run_came_to_can_be_drawn_after_its_end(begin: Begin, state: Path) -> None:
    up = begin(SMALL)
    up.wait_ready()
    assert up.end(signal.SIGINT) in (0, 4)
    page = state.parent / "page.html"
    for words in ([], ["small"], ["--cluster", "small"]):
        page.unlink(missing_ok=True)
        assert emu(state, "report", *words, "--out", str(page)).exit_code == 0
        assert "small" in page.read_text("utf-8")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP], ids=lambda how: how.name)
def test_other_signals_end_it_in_order_too(begin: Begin, how: signal.Signals) -> None:
    up = begin(TINY)
    up.wait_ready()
    assert up.end(how) == 130
    assert "verdict" in up.said


@pytest.mark.slow
@pytest.mark.parametrize("after_s", [0.1, 0.35, 0.6])
def test_ctrl_c_during_the_boot_ends_it_without_a_traceback(begin: Begin, after_s: float) -> None:
    up = begin(TINY.replace("web,", "web, nodes: 300,"))
    time.sleep(after_s)
    assert up.end(signal.SIGINT) in (130, -signal.SIGINT)
    if "<frozen" not in up.said:  # before Python itself had started, it is Python's to answer
        assert "Traceback" not in up.said


def test_down_ends_it_and_keeps_its_disks(begin: Begin, state: Path) -> None:
    up = begin(SMALL)
    up.wait_used()
    told = emu(state, "down").stderr
    assert told.endswith("`small` is down\n") and "verdict: " in told and "unknown" not in told
    assert up.process.wait(PATIENCE_S) == 0, up.said
    assert list((state / "small" / "data" / "db-1").iterdir())


def test_down_with_volumes_forgets_them(begin: Begin, state: Path) -> None:
    up = begin(SMALL)
    up.wait_used()
    assert "disks wiped" in emu(state, "down", "--volumes").stderr
    assert up.process.wait(PATIENCE_S) == 0
    assert not (state / "small").exists()
    assert "no cluster is running" in emu(state, "clusters").stderr


def test_after_kill_9_the_next_up_just_works(begin: Begin, state: Path) -> None:
    first = begin(SMALL)
    first.wait_ready()
    first.end(signal.SIGKILL)
    assert emu(state, "ps").stderr == "emu: no cluster is running; start one with `emu up`\n"
    second = begin(SMALL)
    second.wait_ready()
    dial(front(state))
    assert second.end() == 130


def test_two_clusters_run_side_by_side(begin: Begin, state: Path) -> None:
    small = begin(TINY)
    small.wait_ready()
    other = begin(TINY, "--name", "other")
    facts = other.wait_ready()
    several = emu(state, "ps")
    assert several.exit_code == 1
    assert f"other (pid {facts['pid']})" in several.stderr and "--cluster NAME" in several.stderr
    first, second = (
        json.loads(emu(state, "ps", "-c", name, "--json").stdout)[0]["address"]
        for name in ("tiny", str(facts["pid"]))
    )
    assert first != second
    assert emu(state, "kill", "web", EMU_CLUSTER="other").stdout == "web-1 killed\n"


def test_in_the_background_it_says_how_to_end_it(state: Path, tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY)
    detached = emu_process(state, "up", str(file), "-d")
    assert detached.returncode == 0, detached.stderr
    assert "`tiny` is up in the background: 1 node, pid " in detached.stderr
    assert "emu down -c tiny" in detached.stderr
    site = re.search(r"the site:  (http://\S+/)$", detached.stderr, re.MULTILINE)
    assert site, detached.stderr
    assert emu(state, "up", str(file), "-d").stderr == "`tiny` is running as the file says\n"
    assert emu(state, "down").exit_code == 0


def test_all_that_run_are_ended_by_one_word(state: Path, tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY)
    for name in ("one", "two"):
        assert emu_process(state, "up", str(file), "-d", "--name", name).returncode == 0
    refused = emu(state, "down", "--all", "-c", "one")
    assert (refused.exit_code, refused.stdout) == (2, "")
    ended = emu(state, "down", "--all", "--volumes")
    assert "`one` is down, its disks wiped" in ended.stderr
    assert "`two` is down, its disks wiped" in ended.stderr
    assert emu(state, "down", "--all").stderr == "no cluster is running\n"


def test_a_boot_that_fails_in_the_background_is_told_by_the_parent(
    state: Path, tmp_path: Path
) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY)
    state.mkdir()
    (state / "tiny").write_text("not a folder")
    failed = emu(state, "up", str(file), "-d")
    assert failed.exit_code == 1
    assert "cannot use" in failed.stderr and "set EMU_STATE_DIR" in failed.stderr


def test_a_second_up_while_the_first_boots_is_told_to_wait(begin: Begin, state: Path) -> None:
    up = begin(TINY)
    up.wait_ready()
    (state / "tiny" / "run.json").unlink()  # as it is during the boot
    second = emu(state, "up", str(up.folder / "topology.yaml"))
    assert second.exit_code == 1
    assert "`tiny` is just starting or ending; try again in a moment" in second.stderr


def test_when_nobody_reads_what_it_says_it_ends(state: Path, tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY)
    reading, writing = os.pipe()
    words = with_workers("up", str(file))
    with subprocess.Popen([*EMU, *words], stderr=writing, env=environment(state)) as up:
        os.close(writing)
        os.read(reading, 1)
        os.close(reading)
        emu(state, "kill", "web")
        assert up.wait(PATIENCE_S) == 1


def test_a_closed_stdout_is_no_traceback(begin: Begin, state: Path) -> None:
    begin(TINY).wait_ready()
    command = f"{' '.join(EMU)} events --json | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env=environment(state), check=False
    )
    assert done.stderr == ""
