"""A register that answers before it has written anything down, and a client that finds out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import trio

from nodes.base import RPC_PORT, Context
from nodes.kind import Kind
from nodes.wire.admin import Admin
from nodes.wire.client import Client
from nodes.wire.service import Service
from protocols.errors import RpcError


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """Nothing to choose."""


class Store:
    """Remembers one value, as long as it lives."""

    def __init__(self, ctx: Context, config: StoreConfig) -> None:
        self.ctx = ctx
        self.value: Any = None

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        service = Service(self.ctx)
        service.add("read", lambda call: self.value)
        service.add("write", self._write)
        listener = await self.ctx.network.listen(RPC_PORT)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Admin(self.ctx, service=service).listen_and_serve)
            nursery.start_soon(service.serve, listener)
            task_status.started()

    def _write(self, call: Any, value: Any) -> None:
        self.value = value


@dataclass(frozen=True, slots=True)
class AskerConfig:
    """Whom to ask."""

    asks: str
    pause_s: float = 0.05


class Asker:
    """Writes 1, 2, 3 ... and reads more often, one after the other."""

    def __init__(self, ctx: Context, config: AskerConfig) -> None:
        self.ctx = ctx
        self.config = config
        self.ok = 0
        self.processes = 0
        self.stopped = trio.Event()
        self.done = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        admin = Admin(self.ctx)
        admin.add("summary", lambda call: self._summary())
        admin.add("finish", self._finish)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(admin.listen_and_serve)
            task_status.started()
            client = Client(self.ctx, nursery, f"{self.config.asks}-1")
            number, rng = 0, self.ctx.rng("asker")
            while not self.stopped.is_set():
                if rng.random() < 0.25:
                    number += 1
                    await self._do(client, "write", number)
                await self._do(client, "read")
                await self.ctx.clock.sleep(self.config.pause_s)
            await self._do(client, "read")
            self.done.set()

    async def _do(self, client: Client, f: str, *value: int) -> None:
        process = f"{self.ctx.name}.{self.ctx.generation}/{self.processes}"
        record = self.ctx.history.invoke(process, f, *value, model="register")
        try:
            answer = await client.call(f, *value, timeout_s=1.0)
        except RpcError as error:
            if error.definite:
                record.fail(error.code)
            else:
                record.info(error.code)
                self.processes += 1
        else:
            record.ok(answer)
            self.ok += 1

    def _summary(self) -> dict[str, Any]:
        return {"requests": self.ok, "ok": self.ok, "errors": 0, "reasons": {}}

    async def _finish(self, call: Any) -> dict[str, Any]:
        self.stopped.set()
        await self.done.wait()
        return self._summary()


STORE = Kind(StoreConfig, Store)
ASKER = Kind(AskerConfig, Asker, edges=("asks",), clients=True)


class Sulker(Store):
    """Does not answer any more once it has been restarted."""

    def _write(self, call: Any, value: Any) -> None:
        if self.ctx.generation > 1:
            raise RpcError("unavailable", "not after what you did")
        super()._write(call, value)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        if self.ctx.generation > 1:
            task_status.started()
            await trio.sleep_forever()
        await super().run(task_status=task_status)


class Fragile(Store):
    """Breaks at the third write."""

    writes = 0

    def _write(self, call: Any, value: Any) -> None:
        super()._write(call, value)
        self.writes += 1
        if self.writes == 3:
            self.broken.set()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        self.broken = trio.Event()
        async with trio.open_nursery() as nursery:
            await nursery.start(super().run)
            task_status.started()
            await self.broken.wait()
            raise ZeroDivisionError("the third write")


SULKER = Kind(StoreConfig, Sulker)
FRAGILE = Kind(StoreConfig, Fragile)
