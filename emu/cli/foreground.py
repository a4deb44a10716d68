"""One run that keeps its terminal: signals, boot, first screen, events, summary, exit code."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from contextlib import suppress
from typing import Any, Final

import trio
from rich.text import Text

from emu import state
from emu.cli import lines, output
from emu.cli.printing import Printer
from emu.cli.screen import summary_screen, welcome_screen
from emu.live.addresses import SubnetError
from emu.machine.events import Event
from emu.model.verdicts import FAILED, PASSED
from emu.session import Session

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SOFT_END_S: Final = 1.1
"""After an end asked for at once, whatever has not answered by then is cancelled."""
HARD_END_S: Final = 1.4
"""And then the process goes, however many tasks are still unwinding: the kernel closes the rest."""
ENDING: Final = (
    "Ending: faults are healed, clients stop and read back what they wrote. Ctrl-C again: at once."
)
QUIET_S: Final = 2.0
"""What the end waits for is told so often, if it is something else."""
MANY_NODES: Final = 100
"""Above it, something is said before the boot."""


class Foreground:
    """`run` once. Gives the exit code."""

    def __init__(
        self, session: Session, *, json_events: bool, as_json: bool, strict: bool = False
    ) -> None:
        self.session = session
        self.json_events = json_events
        self.as_json = as_json
        self.strict = strict
        """Whether what cannot be told, or believed, has failed."""
        self.asked = False
        """Whether Ctrl-C has asked for the end."""
        self.interrupted = False
        """Whether it is to end at once, judged or not."""
        self.ready = False
        self.unread = False
        self.token: trio.lowlevel.TrioToken | None = None
        self.began_s = time.monotonic()
        self._finishing = threading.Lock()
        self._repeats = lines.Repeats()
        session.options.printer = self._event

    def run(self) -> int:
        """Boot, serve, end; then free the state folder."""
        self.printer = Printer(self._unread_soon)
        before = {number: signal.signal(number, self._on_signal) for number in _heard()}
        problem = ""
        try:
            trio.run(self._main)
        except* KeyboardInterrupt:
            self.interrupted = True
        except* (SubnetError, TimeoutError, OSError) as group:
            problem = "; ".join(_explained(each) for each in output.leaves(group))
        finally:
            self._finishing.acquire()  # kept: from here on the hard end would come too late
            for number, handler in before.items():
                signal.signal(number, handler)
            self._free()
        return self._finish(problem)

    def _on_signal(self, number: int, frame: object) -> None:
        """Heard even while the loop is busy. The first Ctrl-C ends the run in order, the second (or
        another signal) in a moment, and after that it ends without another word."""
        if self.interrupted:
            os._exit(output.INTERRUPTED)
        if self.token is None:
            raise KeyboardInterrupt
        first = number == signal.SIGINT and not self.asked
        self.asked = True
        if first and self.ready:
            self.token.run_sync_soon(self.session.end)
            return
        self.interrupted = True
        self._limit_the_end()
        self.token.run_sync_soon(self._end)

    def _unread_soon(self) -> None:
        """Nobody reads what we print any more (`emu up | head`): end. Called in a thread."""
        self.unread = True
        if self.token is not None:
            with suppress(trio.RunFinishedError):
                self.token.run_sync_soon(self._end)

    def _end(self) -> None:
        self.session.hurry()
        if not self.ready:
            self.scope.cancel()

    def _limit_the_end(self) -> None:
        timer = threading.Timer(HARD_END_S, self._end_hard)
        timer.daemon = True
        timer.start()

    def _end_hard(self) -> None:
        """In a thread: tell what there is to tell, free the folder, and go."""
        if self._finishing.acquire(blocking=False):
            self._free()
            os._exit(self._finish(""))

    async def _main(self) -> None:
        self.token = trio.lowlevel.current_trio_token()
        with trio.CancelScope() as self.scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._await_the_end)
                if not (self.as_json or self.json_events):
                    nursery.start_soon(self._tell_what_it_waits_for)
                count = len(self.session.topology.placements())
                if count > MANY_NODES:
                    self.printer.show(f"starting {count} nodes ...")
                await self.session.run(self._welcome)
                nursery.cancel_scope.cancel()

    async def _await_the_end(self) -> None:
        await self.session.ending.wait()
        if not (self.interrupted or self.as_json or self.json_events):
            self.printer.show(Text(ENDING, style="dim"))
        await self.session.hurried.wait()
        if not self.interrupted:  # `emu down --now`, or nobody reads: a signal has set it already
            self._limit_the_end()
        await trio.sleep(SOFT_END_S)
        self.scope.cancel()

    async def _tell_what_it_waits_for(self) -> None:
        """Of a run that ends, by itself too, if that lasts: silence looks as if it hung."""
        told = seen = ""
        while not self.session.hurried.is_set():
            await trio.sleep(QUIET_S)
            before, seen = seen, self.session.waits_for
            if seen == before != told:
                told = seen
                self.printer.show(Text(f"  waiting for {told}", style="dim"))

    async def _welcome(self, session: Session) -> None:
        self.ready = True
        if self.as_json or self.json_events:
            return
        others = len(state.running()) > 1
        took_s = time.monotonic() - self.began_s
        screen = welcome_screen(session, took_s, emu=output.command_name(), others=others)
        self.printer.show(screen)
        self.printer.show("")

    def _event(self, event: Event) -> None:
        """Print one event; of the boot only what went wrong, unless more was asked for."""
        if self.json_events:
            self.printer.show(Text(lines.as_json(event), no_wrap=True))
            return
        told = self.ready or event["level"] in ("warning", "error")
        shown = self._repeats.shown(event)
        if shown is not None and (told or self.session.options.level == "debug"):
            self.printer.show(lines.as_text(shown))

    def _free(self) -> None:
        folder = self.session.folder
        folder.discard() if self.session.wipe_at_end else folder.release()

    def _finish(self, problem: str) -> int:
        """The summary; then what the run came to, as an exit code."""
        summary = self.session.summary
        if summary is not None and not self.as_json:
            self.printer.show(summary_screen(summary))
        if problem:
            self.printer.show(Text(f"emu: {problem}", style="red"))
        self.printer.close()
        if summary is not None and self.as_json:
            output.result(summary)
        if self.interrupted:
            return output.INTERRUPTED
        if problem or self.unread:
            return output.FAILURE
        if summary is None or summary["verdict"] == PASSED:
            return output.OK
        failed = self.strict or summary["verdict"] == FAILED
        return output.VERDICT_FAILED if failed else output.OK


def _heard() -> list[signal.Signals]:
    """The signals that end a run; under nohup the terminal's end does not."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return [number for number in SIGNALS if number != signal.SIGHUP]
    return list(SIGNALS)


def _explained(error: Any) -> str:
    """An operating failure in the user's words."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"no space left on the disk that holds {state.root()}"
    return str(error) or type(error).__name__
