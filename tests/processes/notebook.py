"""A node for the handle's conformance suite: it keeps notes, tells the time, and can be made to
fail. It sees its Context and nothing else, so it runs wherever a runner runs it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from nodes.base import RPC_PORT, Context
from nodes.kind import Kind
from nodes.wire.admin import Admin
from nodes.wire.client import Client
from nodes.wire.service import Call, Service

NOTES = "notes"


@dataclass(frozen=True, slots=True)
class NotebookConfig:
    broken: str = ""
    """Why it cannot start."""


class NotebookNode:
    """`note` writes, `keep` makes durable, `read` answers all that is there."""

    def __init__(self, ctx: Context, config: NotebookConfig) -> None:
        self.ctx = ctx
        self.config = config
        self.failure = trio.Event()
        self.why = ""

    async def run(self, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        if self.config.broken:
            raise OSError(self.config.broken)
        service = self.service = Service(self.ctx)
        for word in (
            "note",
            "keep",
            "read",
            "time",
            "cores",
            "fail",
            "say",
            "dial",
            "record",
            "attack",
        ):
            service.add(word, getattr(self, f"_{word}"))
        self.notes = self.ctx.metrics.counter("notes_total", "Notes taken.")
        admin = Admin(self.ctx, service=service, facts=lambda: {"role": "scribe"})
        async with trio.open_nursery() as nursery:
            self.nursery = nursery
            nursery.start_soon(service.serve, await self.ctx.network.listen(RPC_PORT))
            nursery.start_soon(admin.listen_and_serve)
            task_status.started()
            await self.failure.wait()
            if not self.why:
                sys.exit(3)
            raise RuntimeError(self.why)

    def _note(self, call: Call, text: str) -> int:
        self.notes.value += 1
        return self.ctx.disk.append(NOTES, text.encode())

    async def _keep(self, call: Call) -> bool:
        await self.ctx.disk.sync(NOTES)
        return True

    async def _read(self, call: Call) -> str:
        if NOTES not in self.ctx.disk.names():
            return ""
        return (await self.ctx.disk.read(NOTES)).decode()

    def _time(self, call: Call) -> list[float]:
        return [self.ctx.clock.monotonic_s(), self.ctx.clock.wall_s()]

    def _cores(self, call: Call) -> int:
        return self.ctx.cpu.cores

    def _fail(self, call: Call, why: str) -> bool:
        self.why = why
        self.failure.set()
        return True

    def _say(self, call: Call, event: str) -> bool:
        self.ctx.log.warning(event, page=7)
        return True

    async def _dial(self, call: Call, host: str) -> list[Any]:
        """[what `host` keeps, how long it took]."""
        began_s = self.ctx.clock.monotonic_s()
        client = Client(self.ctx, self.nursery, host)
        try:
            answer = await client.call("read", timeout_s=1.0)
        finally:
            client.close()
        return [answer, self.ctx.clock.monotonic_s() - began_s]

    def _record(self, call: Call, value: Any) -> None:
        self.ctx.history.invoke(self.ctx.name, "read", value).ok((value, "done"))

    def _attack(self, call: Call) -> None:
        """Hand over what its reader would have to run, past whoever makes it plain."""
        history: Any = self.ctx.history
        history._history.notify("invoked", Path("/tmp"))


NOTEBOOK = Kind(NotebookConfig, NotebookNode)
