"""Lines for people: they never hold the loop, whoever reads them or does not."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from rich.text import Text

from emu.cli import campaign, injecting, printing
from emu.cli.lines import Repeats, as_json, as_text
from emu.cli.printing import Printer
from tests.cli.running import PATIENCE_S

EVENT = {
    "index": 3, "time_s": 1.5, "level": "warning", "event": "server down",
    "node": "lb-1", "tier": "lb", "region": "local", "server": "web-1", "why": None, "took_s": 0.25,
}  # fmt: skip


def test_an_event_is_one_line_with_its_own_fields_last() -> None:
    assert (
        as_text(EVENT).plain == "    1.500s ! lb-1         server down  server=web-1  took_s=0.25"
    )
    assert as_json(EVENT).startswith('{"index": 3, "time_s": 1.5')


def test_markup_in_what_a_node_says_is_printed_as_it_is() -> None:
    shown = printed(lambda printer: printer.show("[bold]x[/]"))
    assert shown == "[bold]x[/]\n"


def printed(print_some: Callable[[Printer], object]) -> str:
    reading, writing = os.pipe()
    printer = Printer(lambda: None, descriptor=writing)
    print_some(printer)
    printer.close()
    os.close(writing)
    with open(reading, encoding="utf-8") as pipe:
        return pipe.read()


def test_a_reader_who_does_not_read_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too much is left out, and counted once there is room again."""
    monkeypatch.setattr(printing, "MAX_WAITING", 50)
    reading, writing = os.pipe()
    printer = Printer(lambda: None, descriptor=writing)
    line = Text("x" * 4096)
    began_s = time.monotonic()
    for _ in range(200):
        printer.show(line)
    printer.close()  # gives up waiting for the thread
    assert time.monotonic() - began_s < PATIENCE_S / 2
    os.set_blocking(reading, False)
    give_up_s = time.monotonic() + PATIENCE_S
    text = ""
    while "lines left out" not in text:
        assert time.monotonic() < give_up_s
        try:
            text += os.read(reading, 65536).decode()
        except BlockingIOError:
            time.sleep(0.005)
    os.close(reading)
    os.close(writing)


def event(level: str, name: str, **fields: Any) -> dict[str, Any]:
    return {"index": 1, "time_s": 1.0, "level": level, "event": name, **fields}


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (event("warning", "alert firing", alert="EmuNoPrimary", severity="critical",
               why="db has no primary", look="Its members elect one."),
         "alert firing  EmuNoPrimary (critical)  db has no primary  Its members elect one."),
        (event("info", "alert cleared", alert="EmuNoPrimary", severity="critical",
               why="db has no primary"),
         "alert cleared  EmuNoPrimary, which was: db has no primary"),
        (event("info", "fault started", verb="partition", between=("db primary", "db"),
               one_way=False, mode="hold", number=2),
         "fault started  partition db primary / db  number=2"),
        (event("info", "fault started", verb="scale", tier="web", nodes=0, number=1),
         "fault started  scale web: nodes 0  number=1"),
        (event("info", "verdict", verdict="passed"), "verdict  passed"),
        (event("info", "members changed", members=[["db-1", "voter"], ["db-2", "voter"]]),
         "members changed  members=db-1 voter, db-2 voter"),
    ],
)  # fmt: skip
def test_alerts_and_faults_are_told_in_words(told: dict[str, Any], words: str) -> None:
    assert as_text(told).plain.partition("emu          ")[2] == words


def test_who_fails_at_each_request_does_not_fill_the_screen() -> None:
    repeats = Repeats()
    failed = event("error", "handler failed", node="web-1", error="TypeError('no')")
    shown = [repeats.shown({**failed, "time_s": float(time_s)}) for time_s in range(100)]
    told = [(place + 1, each.get("times")) for place, each in enumerate(shown) if each]
    assert told == [(1, None), (2, None), (3, None), (10, 10), (100, 100)]
    assert repeats.shown({**failed, "node": "web-2"}) == {**failed, "node": "web-2"}
    assert all(repeats.shown(EVENT) is EVENT for _ in range(5))


@pytest.mark.parametrize(("seeds", "named"), [(1, False), (20, True)])
def test_what_a_few_seeds_did_not_meet_is_not_named(seeds: int, named: bool, capsys: Any) -> None:
    record = dict.fromkeys(("failed", "counted", "not_run", "injected", "judged", "undecided"), ())
    record |= {"reached": {"a split vote": 3}, "never": ["a torn tail"], "seeds": seeds}
    campaign.tell({**record, "virtual_s": 9.0, "wall_s": 1.0, "messages": 5, "digest": "d"})
    told = capsys.readouterr().err
    assert ("a torn tail" in told) == named and "a split vote" in told
    assert f"{seeds} seed{'s' if named else ''}, 0 failed" in told


def test_when_nobody_reads_any_more_it_is_told_once() -> None:
    reading, writing = os.pipe()
    gone = threading.Event()
    printer = Printer(gone.set, descriptor=writing)
    os.close(reading)
    printer.show("lost")
    assert gone.wait(PATIENCE_S)
    printer.show("lost too")
    printer.close()
    os.close(writing)


def test_what_others_say_is_no_command_of_the_terminal() -> None:
    told = {**EVENT, "why": "\x1b[2J\n  9.9s  FAKE"}
    assert "why=\\x1b[2J\\n  9.9s  FAKE" in as_text(told).plain


def test_whoever_waits_for_a_process_to_join_reads_how_it_is_begun(capsys):
    class Client:
        answers = iter([TimeoutError, TimeoutError, "done"])

        def wait(self, msgid: int, wait_s: float) -> str:
            answer = next(self.answers)
            if answer is TimeoutError:
                raise TimeoutError
            return answer

        def call(self, method: str, tier: str) -> dict[str, Any]:
            boots = [
                f"a process to join as web-{n}: emu node web-{n} --join 7" for n in range(1, 6)
            ]
            return {"most_s": 10, "connections": {}, "boots": boots, "leaderless": []}

    assert injecting.until_done(Client(), 1) == "done"
    (line,) = capsys.readouterr().err.replace("\n", " ").strip().split("waiting for ")[1:]
    assert line.startswith("a process to join as web-1: emu node web-1 --join 7; a process to")
    assert line.endswith("web-3 --join 7; and 2 more")
