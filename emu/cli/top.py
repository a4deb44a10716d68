"""`emu top`: the running cluster on one screen. What it draws is top_screen.py's.

It asks the control socket for the status, as any other verb does.
"""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import termios
import time
import tty
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Annotated, Any, Final, NoReturn

import typer
from rich.console import Console, Group
from rich.live import Live

from emu.cli import output, top_screen
from emu.cli.attach import ClusterOption, JsonOption, attached
from emu.control.client import ControlClient
from protocols.errors import RpcError

REFRESH_S: Final = 1.0
KEPT_EVENTS: Final = 50
ESCAPE_S: Final = 0.05
"""Escape alone leaves; what begins an arrow's sequence is followed by the rest within this."""
QUIT_KEYS: Final = ("q", "Q", "\x1b", "\x03", "\x04")
DOWN_KEYS: Final = ("\x1b[B", "j")
UP_KEYS: Final = ("\x1b[A", "k")

OnceOption = Annotated[bool, typer.Option("--once", help="Print it once, and end.")]


def top(cluster: ClusterOption = "", once: OnceOption = False, as_json: JsonOption = False) -> None:
    """Watch a running cluster: tiers, nodes, rates, errors, latencies, faults, events.

    Rates count requests (of a balancer, which reads none: each time a client speaks and the server
    answers), WAIT those that have no answer yet.
    """
    with attached(cluster) as client:
        if as_json:
            output.result(client.call("status"))
        elif once or not (sys.stdout.isatty() and sys.stdin.isatty()):
            status = client.call("status")
            for line in top_screen.plain(status, status["events"]):
                output.out.print(line)
        else:
            with suppress(KeyboardInterrupt):
                _Screen(client).run()


class _Screen:
    """The live view: asks once a second, and looks at the keyboard between."""

    def __init__(self, client: ControlClient) -> None:
        self.client = client
        self.console = Console(highlight=False)
        self.events: deque[dict[str, Any]] = deque(maxlen=KEPT_EVENTS)
        self.since = 0
        self.skip_nodes = 0
        self.held = False
        self.status: dict[str, Any] = {}
        self.trouble = ""
        """Why the latest answer is missing; the one before is shown."""

    def run(self) -> None:
        """Until q, Ctrl-C, or the end of the cluster."""
        with _keys(), Live(console=self.console, screen=True, auto_refresh=False) as live:
            self._ask()
            next_s = time.monotonic() + REFRESH_S
            while True:
                live.update(self._drawing(), refresh=True)
                for key in _keys_within(max(0.0, next_s - time.monotonic())):
                    if key in QUIT_KEYS:
                        return
                    self._press(key)
                if time.monotonic() >= next_s:
                    next_s = time.monotonic() + REFRESH_S
                    if not self.held:
                        self._ask_again()

    def _ask_again(self) -> None:
        """One answer that fails ends nothing: the next may come."""
        try:
            self._ask()
        except RpcError as error:
            self.trouble = error.message or error.code
        else:
            self.trouble = ""

    def _ask(self) -> None:
        self.status = self.client.call("status", self.since)
        for event in self.status["events"]:
            self.events.append(event)
            self.since = event["index"] + 1

    def _press(self, key: str) -> None:
        if key == " ":
            self.held = not self.held
        elif key in DOWN_KEYS:
            self.skip_nodes = min(self.skip_nodes + 1, len(self.status["nodes"]))
        elif key in UP_KEYS:
            self.skip_nodes = max(0, self.skip_nodes - 1)

    def _drawing(self) -> Group:
        width, height = self.console.size
        return Group(
            *top_screen.draw(
                self.status,
                tuple(self.events),
                width,
                height,
                skip_nodes=self.skip_nodes,
                held=self.held,
                trouble=self.trouble,
            )
        )


@contextmanager
def _keys() -> Iterator[None]:
    """Single keys from the terminal; as it was, however this ends."""
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    handler = signal.signal(signal.SIGTERM, _leave)
    try:
        tty.setcbreak(fd)
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
        signal.signal(signal.SIGTERM, handler)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise typer.Exit(128 + number)


def _keys_within(seconds: float) -> list[str]:
    """The keys that were pressed, as soon as there is one; [] if none was in that time."""
    fd = sys.stdin.fileno()
    if not select.select([fd], [], [], seconds)[0]:
        return []
    typed = os.read(fd, 64)
    if typed.endswith(b"\x1b") and select.select([fd], [], [], ESCAPE_S)[0]:
        typed += os.read(fd, 64)  # the rest of an arrow
    return keys_of(typed.decode("utf-8", "replace")) or [QUIT_KEYS[0]]


def keys_of(typed: str) -> list[str]:
    """`jj\x1b[Aq` are four keys: an arrow is one."""
    return re.findall(r"\x1b\[[0-9;]*[@-~]|.", typed, re.DOTALL)
