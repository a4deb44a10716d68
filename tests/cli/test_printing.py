"""Lines for people: they never hold the loop, whoever reads them or does not."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from rich.text import Text

from emu.cli import injecting, printing
from emu.cli.lines import as_json, as_text
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
