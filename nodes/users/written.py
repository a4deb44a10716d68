"""What the users of one node have added (their posts, or their photos): recorded, and looked for
when nothing is written any more. Whom to ask, and with which patience, whoever calls says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from nodes.base import Context, Operation
from nodes.parts.tally import ERROR, OK, Posts
from nodes.users.visiting import token_of
from protocols.errors import RpcError

IDS_AT_ONCE: Final = 250
PAUSE_S: Final = 0.25
MISSING_GRACE_S: Final = 3.0
"""What is missing is looked for again for so long: a promoted replica may still be applying."""
MODEL: Final = "set"

Ask = Callable[[dict[str, Any], int], Awaitable[dict[str, Any]]]
"""(arguments, the number of the attempt) → how often each id is stored: {"counts": ...}."""


class Written:
    """One sort of thing. `suffix` tells it from the others in the history."""

    def __init__(self, ctx: Context, suffix: str = "") -> None:
        self.tries = Posts()
        self._ctx = ctx
        again = f".{ctx.generation}" if ctx.generation > 1 else ""  # each looks for its own only
        self._key = f"{ctx.tier}/{ctx.name}{again}{suffix}"

    def begin(self, process: str, name: str) -> Operation:
        return self._ctx.history.invoke(process, "add", name, self._key, model=MODEL)

    def end(
        self, record: Operation, name: str, outcome: str, reason: str, answer: dict[str, Any]
    ) -> None:
        self.tries.settle(name, outcome, token_of(answer))
        if outcome == OK:
            record.ok(name)
        elif outcome == ERROR:
            record.fail(reason)
        else:
            record.info(reason)

    async def read_back(self, process: str, ask: Ask) -> None:
        """Find each; the missing ones are asked for again before they count as lost."""
        clock, tries = self._ctx.clock, self.tries
        record = self._ctx.history.invoke(process, "read", None, self._key, model=MODEL)
        done = False
        try:
            await self._look_for(list(tries.outcomes), ask)
            give_up_s = clock.monotonic_s() + MISSING_GRACE_S
            while tries.missing() and clock.monotonic_s() < give_up_s:
                await clock.sleep(PAUSE_S)
                await self._look_for(tries.missing(), ask)
            done = True
        finally:
            if done:
                record.ok([name for name, count in tries.found.items() for _ in range(count)])
            else:
                record.info("the final reads did not end in time")

    async def _look_for(self, names: list[str], ask: Ask) -> None:
        """Ask how often each is stored, until every part has been answered."""
        for start in range(0, len(names), IDS_AT_ONCE):
            arguments = {"ids": names[start : start + IDS_AT_ONCE], "token": self.tries.token}
            attempt = 0
            while True:
                try:
                    self.tries.found.update((await ask(arguments, attempt))["counts"])
                    break
                except (RpcError, KeyError) as error:
                    self._ctx.log.debug("final read failed", why=str(error))
                    attempt += 1
                    await self._ctx.clock.sleep(PAUSE_S)

    def verdict(self) -> dict[str, Any]:
        return self.tries.verdict(len(self.tries.found) >= len(self.tries.outcomes))
