"""Active health checks over the network: one probe, and the loop that repeats it. Balancer
and DNS share it.

What the outcome means (rise, fall) is nodes/parts/health.py's; this module only asks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, get_args

import trio

from nodes.base import Context, Stream
from nodes.parts.causes import in_words
from nodes.parts.health import CheckTimes, Health
from nodes.parts.timing import move_on_after
from protocols import rpc
from protocols.numerals import whole

CheckName = Literal["rpc", "http", "tcp", "none"]
CHECKS: Final[tuple[str, ...]] = get_args(CheckName)
PING_MSGID: Final = 1
MAX_ANSWER_BYTES: Final = 8192


class Prober:
    """Asks a server once whether it works: `rpc` calls ping, `http` gets `path`, `tcp` connects."""

    def __init__(
        self, ctx: Context, check: str, *, timeout_s: float, path: str = "/", preface: bytes = b""
    ) -> None:
        if check not in CHECKS:
            raise ValueError(f"no check `{check}`; there are {', '.join(CHECKS)}")
        self.ctx = ctx
        self.check = check
        self.timeout_s = timeout_s
        self.path = path
        self.preface = preface
        """Sent first on every connection (a PROXY header)."""

    async def probe(self, host: str, port: int) -> str:
        """Empty if the server is well, else why not."""
        try:
            with move_on_after(self.ctx.clock, self.timeout_s):
                async with await self.ctx.network.open_stream(host, port) as stream:
                    return await self._talk(stream, host)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            return in_words(error)
        return f"no answer in {self.timeout_s:g} s"

    async def _talk(self, stream: Stream, host: str) -> str:
        if self.preface:
            await stream.send_all(self.preface)
        match self.check:
            case "rpc":
                return await self._ping(stream)
            case "http":
                return await self._get(stream, host)
        return ""

    async def _ping(self, stream: Stream) -> str:
        connection = rpc.Connection()
        await stream.send_all(connection.send_request(PING_MSGID, rpc.PING, []))
        while True:
            data = await stream.receive_some(MAX_ANSWER_BYTES)
            try:
                messages = connection.receive_data(data)
            except rpc.RemoteProtocolError as error:
                return f"no MessagePack-RPC answer: {error}"
            for message in messages:
                if message[0] == rpc.RESPONSE:
                    return "" if message[2] is None else f"ping was refused: {message[2]}"[:200]
            if not data:
                return "it closed the connection without an answer"

    async def _get(self, stream: Stream, host: str) -> str:
        request = f"GET {self.path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        await stream.send_all(request.encode())
        answer = b""
        while b"\r\n" not in answer and len(answer) < MAX_ANSWER_BYTES:
            data = await stream.receive_some(MAX_ANSWER_BYTES)
            if not data:
                break
            answer += data
        status_line = answer.split(b"\r\n", 1)[0].decode("latin-1")
        words = status_line.split(" ")
        status = whole(words[1]) if len(words) > 1 else None
        if status is None or not words[0].startswith("HTTP/1."):
            return f"no HTTP answer: {status_line[:60]!r}"
        return "" if 200 <= status < 400 else f"status {words[1]}"


class Watch:
    """The repeated check of one server. `soon()` looks again at once; `stop()` ends it."""

    def __init__(
        self,
        prober: Prober,
        health: Health,
        times: CheckTimes,
        where: Callable[[], tuple[str, int] | None],
        report: Callable[[str], object],
    ) -> None:
        self._prober = prober
        self._health = health
        self._times = times
        self._where = where
        """Host and port; None: do not look just now."""
        self._report = report
        self._hurry = trio.Event()
        self._scope = trio.CancelScope()
        self.took_s = 0.0
        """By the last check."""

    def soon(self) -> None:
        self._hurry.set()

    def stop(self) -> None:
        self._scope.cancel()

    async def run(self) -> None:
        """Check until stopped. `report(why)` hears each outcome, empty for success."""
        ctx = self._prober.ctx
        rng = ctx.rng("checks")
        wait_s = rng.uniform(0, self._times.fast_interval_s)
        with self._scope:
            while True:
                with move_on_after(ctx.clock, wait_s):
                    await self._hurry.wait()
                self._hurry = trio.Event()
                where = self._where()
                if where is not None:
                    began_s = ctx.clock.monotonic_s()
                    why = await self._prober.probe(*where)
                    self.took_s = ctx.clock.monotonic_s() - began_s
                    self._report(why)
                wait_s = self._times.next_wait_s(self._health, rng)
