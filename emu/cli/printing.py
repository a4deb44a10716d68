"""Prints from a thread of its own: a slow terminal or a full pipe must never hold the loop."""

from __future__ import annotations

import io
import os
import queue
import threading
from collections.abc import Callable
from typing import Any, Final

from rich.console import RenderableType

from emu.cli.folding import FoldingConsole

MAX_WAITING: Final = 10_000
"""Lines that wait for a slow reader; what comes above it is left out, and counted."""
END_S: Final = 0.3


class _Descriptor(io.TextIOBase):
    """A file descriptor as rich's file: no buffer, and no lock that a stuck thread could keep."""

    encoding = "utf-8"

    def __init__(self, number: int) -> None:
        self._number = number

    def write(self, text: str) -> int:
        data = text.encode("utf-8", "replace")
        while data:
            data = data[os.write(self._number, data) :]
        return len(text)

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def fileno(self) -> int:
        return self._number


class _Console(FoldingConsole):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class Printer:
    """`show` never waits. `on_gone()` is called, in the thread, once nobody reads any more."""

    def __init__(self, on_gone: Callable[[], object], *, descriptor: int = 2) -> None:
        file = _Descriptor(descriptor)
        how: Any = {"file": file, "highlight": False, "soft_wrap": True, "emoji": False}
        self.console = _Console(**how)
        self._on_gone = on_gone
        self._waiting: queue.SimpleQueue[RenderableType | None] = queue.SimpleQueue()
        self._left_out = 0
        self._thread = threading.Thread(target=self._print_all, daemon=True)
        self._thread.start()

    def show(self, what: RenderableType) -> None:
        """Print it soon (text is printed as it is, without markup)."""
        if self._waiting.qsize() < MAX_WAITING:
            self._waiting.put(what)
        else:
            self._left_out += 1

    def close(self) -> None:
        """Print what waits, but no longer than END_S."""
        self._waiting.put(None)
        self._thread.join(END_S)

    def _print_all(self) -> None:
        try:
            while (what := self._waiting.get()) is not None:
                self.console.print(what, markup=False)
                if self._waiting.empty():
                    self._tell_left_out()
            self._tell_left_out()
        except OSError:
            self._on_gone()

    def _tell_left_out(self) -> None:
        left_out, self._left_out = self._left_out, 0
        if left_out:
            self.console.print(f"({left_out} lines left out: they came too fast)")
