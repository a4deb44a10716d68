"""One process that runs nodes, as emu sees it: how it is told and heard; and a worker process,
which emu starts and reaps. What its nodes are to the cluster is in node.py."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import trio

from emu.children import PYTHON
from emu.processes.control import Control, Hear
from emu.running.handle import ASK_TIMEOUT_S

PROGRAM: Final = "emu.processes.child"
LAST_S: Final = 2.0


class NodesProcess:
    """The other end of a control connection, as long as that lasts."""

    def __init__(self, number: int, control: Control) -> None:
        self.number = number
        self.title = f"worker {number}"
        """What it is called where people read of it."""
        self.pid = 0
        """0 until it was started."""
        self.own_disks = False
        """Whether it keeps the disks of its nodes elsewhere than emu would."""
        self.ended = False
        """Nothing is heard of it any more."""
        self.code: set[str] = set()
        """Modules that were looked at, whether it has to be told of them."""
        self.why = ""
        """How it ended."""
        self._control = control
        self._told = self._heard = 0
        """Notices sent, and how many of them it is known to have obeyed."""
        self._obeyed = trio.Event()

    def notify(self, word: str, *params: Any) -> None:
        if not self.ended:
            self._told += 1
            self._control.tell(word, *params)

    def obeyed(self, number: int) -> None:
        """It says that it has obeyed so many notices."""
        self._heard = number
        self._obeyed.set()
        self._obeyed = trio.Event()

    async def in_force(self) -> None:
        """Return when all that it was told holds, or it has ended, or hears nothing for long."""
        self.notify("obeyed?", self._told + 1)  # also so that all it has said until then is heard
        wanted = self._told
        with trio.move_on_after(ASK_TIMEOUT_S):
            while self._heard < wanted and not self.ended:
                await self._obeyed.wait()

    def over(self) -> None:
        """Nothing more is heard of it; who waits for it need not."""
        self.ended = True
        self._obeyed.set()


class WorkerProcess(NodesProcess):
    """From its start to its end; after that another one takes its number."""

    def __init__(self, number: int) -> None:
        ours, self._theirs = socket.socketpair()
        super().__init__(number, Control(ours))
        self.killed = False
        """Whether somebody else did that, by SIGKILL."""
        self._process: trio.Process | None = None

    async def run(self, hear: Hear, trunks_fd: int, begun: Callable[[], object]) -> None:
        """Until it ends, whoever ends it."""
        try:
            await self._start(trunks_fd)
            begun()
            await self._control.serve(hear)
            await self._see_it_end()
        finally:
            self.over()
            with trio.CancelScope(shield=True):
                await self._reap()

    async def _start(self, trunks_fd: int) -> None:
        fds = (self._theirs.fileno(), trunks_fd)
        self._process = await trio.lowlevel.open_process(
            [*PYTHON, "-m", PROGRAM, *map(str, fds)],
            pass_fds=fds,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for emu, which ends it
        )
        self.pid = self._process.pid
        self._theirs.close()

    async def _see_it_end(self) -> None:
        """It has closed its connection: as a rule because it has ended."""
        assert self._process is not None
        self.why = self._control.problem or "it closed its connection"
        if self._control.problem:
            return
        with trio.move_on_after(LAST_S):
            code = await self._process.wait()
            self.killed = code == -signal.SIGKILL
            self.why = f"signal {-code}" if code < 0 else f"exit code {code}"

    async def _reap(self) -> None:
        """Nothing of it is left after this."""
        self._theirs.close()
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        self._control.close()
