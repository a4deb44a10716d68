"""What is longer than the terminal is wide goes on below its own column, and no word is cut."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Group
from rich.text import Text

from emu.cli import output
from emu.cli.folding import FoldingConsole, folded
from emu.cli.nodes import show_rows
from emu.running.views import kinds
from emu.topology.loading import load

EVENT = "    6.267s ! emu          alert firing  why=db has no primary  look=Its members elect one"


def test_the_rest_of_a_row_stands_below_its_last_column_on_the_left() -> None:
    assert folded(Text(EVENT), 60).plain.split("\n") == [
        "    6.267s ! emu          alert firing",
        "                          why=db has no primary",
        "                          look=Its members elect one",
    ]


@pytest.mark.parametrize("width", range(30, 100, 7))
def test_no_line_is_wider_than_the_terminal_and_no_word_is_lost(width: int) -> None:
    text = Text(f"{EVENT}\n\n{EVENT[20:]}\n", style="red")
    told = folded(text, width).plain
    assert max(map(len, told.split("\n"))) <= width
    assert told.split() == text.plain.split()
    assert told.count("\n\n") == 1 and told.endswith("\n")


def test_it_is_broken_between_columns_rather_than_in_one() -> None:
    row = Text("  emu kill 'db primary' --for 10s        a replica takes its place")
    assert folded(row, 50).plain.split("\n") == [
        "  emu kill 'db primary' --for 10s",
        "  a replica takes its place",
    ]


def test_a_word_that_is_longer_than_the_terminal_stays_whole_in_its_line() -> None:
    url = "http://127.8.0.1:9100/#token=" + "t" * 40
    assert url in folded(Text(f"watch it here:  {url}  in a browser"), 40).plain.split("\n")[0]


def test_colours_stay_on_their_words() -> None:
    text = Text("one two ").append("three four", style="red")
    lines = folded(text, 10).split("\n")
    assert [line.plain for line in lines] == ["one two", "three four"]
    assert [span.style for span in lines[1].spans] == ["red"]


@pytest.mark.parametrize("terminal", [True, False])
def test_only_a_terminal_folds(terminal: bool) -> None:
    file = StringIO()
    console = FoldingConsole(file=file, force_terminal=terminal, width=40, soft_wrap=True)
    console.print(EVENT, markup=False)
    assert file.getvalue().count("\n") == (3 if terminal else 1)
    console.print(Text(EVENT, no_wrap=True))
    assert file.getvalue().endswith(f"{EVENT}\n")


def test_a_narrow_table_loses_what_may_go_and_folds_its_widest_column(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = StringIO()
    monkeypatch.setattr(
        output, "out", FoldingConsole(file=file, force_terminal=True, width=50, soft_wrap=True)
    )
    row = [
        "queue-broker-1-1",
        "running",
        "127.7.1.15:7000",
        "epoch 1, lsn 281, lag 0 s, records 99",
    ]
    output.table(["name", "state", "address", "says"], [row], {}, droppable=["address"])
    told = Text.from_ansi(file.getvalue()).plain
    assert "127.7.1.15" not in told and "…" not in told
    assert {"queue-broker-1-1", "running", "99"} <= set(told.split())
    assert max(map(len, told.split("\n"))) <= 50


STRANGERS = "a\x1b[31mb\x07\x9b2J\u202ec\r\td\ne"


@pytest.mark.parametrize("made", [str, Text, lambda text: Text(text, style="red", no_wrap=True),
                                  lambda text: Group(Text(text))])  # fmt: skip
def test_what_strangers_wrote_is_no_command_of_the_terminal(made) -> None:
    seen = StringIO()
    console = FoldingConsole(file=seen, force_terminal=True, color_system=None, width=80)
    console.print(made(STRANGERS), markup=False)
    told = seen.getvalue()
    assert [each for each in told if each in "\x1b\x07\x9b\r\u202e"] == []
    assert told.startswith("a\u241b[31mb") and "\ufffd2J\ufffdc" in told and told.endswith("\ne\n")


def test_a_pipe_gets_what_strangers_wrote() -> None:
    seen = StringIO()
    console = FoldingConsole(file=seen, color_system=None, width=80, soft_wrap=True)
    console.print("a\x1b[31mb", markup=False)
    assert "a\x1b[31mb" in seen.getvalue()


@pytest.mark.parametrize(
    ("width", "told"),
    [(40, "db-1  primary  up     epoch 3, lsn 71"), (100, "yes     2.0 s   3      71")],
)
def test_where_columns_have_no_room_each_node_says_it_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, width: int, told: str
) -> None:
    """The least that `ps` shows of a database is who leads: it was the first to go."""
    row = {"name": "db-1", "kind": "database", "tier": "db", "region": "local", "role": "primary",
           "state": "up", "address": "127.7.1.5:7000", "public": True, "uptime_s": 2.0, "error": "",
           "epoch": 3, "lsn": 71}  # fmt: skip
    file = StringIO()
    console = FoldingConsole(file=file, force_terminal=True, color_system=None, width=width)
    monkeypatch.setattr(output, "out", console)
    show_rows([row], kinds(load("05")), {})
    assert told in file.getvalue()
