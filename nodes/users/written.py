"""What the users of one node have added (their posts, or their photos): recorded, and looked for
when nothing is written any more. Whom to ask, and with which patience, whoever calls says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

import trio

from nodes.base import Context, Operation
from nodes.parts.tally import ERROR, OK, Posts, merged
from nodes.users.visiting import token_of
from protocols.errors import RpcError

IDS_AT_ONCE: Final = 250
PAUSE_S: Final = 0.25
MISSING_GRACE_S: Final = 3.0
"""What is missing is looked for again for so long: a promoted replica may still be applying."""
WINDOW: Final = 2000
"""When so many were added they are looked for, soon after."""
SETTLE_S: Final = 5.0
LOOKS: Final = 3
"""What is missing so often, each time after a whole window, is lost."""
SAMPLE: Final = 1000
"""So many of those that were found are looked for again at the end."""
MODEL: Final = "set"

Ask = Callable[[dict[str, Any], int], Awaitable[dict[str, Any]]]
"""(arguments, the number of the attempt) → how often each id is stored: {"counts": ...}."""


class Window:
    """Some of what was added, one after the other, and what came of each."""

    def __init__(self, key: str) -> None:
        self.key = key
        """The object of the history that it is."""
        self.tries = Posts()
        self.waiting = 0
        """So many have no outcome yet."""
        self.looks = 0


class Adding(NamedTuple):
    """One that was begun."""

    window: Window
    record: Operation
    name: str


class Written:
    """One sort of thing. `suffix` tells it from the others in the history.

    What was added is looked for when nothing is written any more. In a long run most of it was
    looked for before, window by window, and is forgotten then but for a sample.
    """

    def __init__(self, ctx: Context, suffix: str = "") -> None:
        self._ctx = ctx
        again = f".{ctx.generation}" if ctx.generation > 1 else ""  # each looks for its own only
        self._key = f"{ctx.tier}/{ctx.name}{again}{suffix}"
        self._windows = [Window(self._key)]
        self._made = 1
        self._before: dict[str, Any] | None = None
        """What came of the windows that are over."""
        self._sample = Posts()
        self._over = 0
        self._looking: trio.CancelScope | None = None
        self._rng = ctx.rng(f"users/sample{suffix}")

    def begin(self, process: str, name: str) -> Adding:
        window = self._windows[-1]
        window.waiting += 1
        record = self._ctx.history.invoke(process, "add", name, window.key, model=MODEL)
        return Adding(window, record, name)

    def end(self, adding: Adding, outcome: str, reason: str, answer: dict[str, Any]) -> bool:
        """Whether there is a full window now, for `look_back`."""
        window, record, name = adding
        window.waiting -= 1
        window.tries.settle(name, outcome, token_of(answer))
        if outcome == OK:
            record.ok(name)
        elif outcome == ERROR:
            record.fail(reason)
        else:
            record.info(reason)
        if window is not self._windows[-1] or len(window.tries.outcomes) < WINDOW:
            return False
        self._made += 1
        self._windows.append(Window(f"{self._key}#{self._made}"))
        return True

    @property
    def is_empty(self) -> bool:
        return not self._made > 1 and not self._windows[0].tries.outcomes

    async def look_back(self, process: str, ask: Ask) -> None:
        """Look for what is in the full windows, and forget those where all is right. Where it is
        not, something may be broken just now: they are looked for again."""
        if self._looking is not None:
            return
        with trio.CancelScope() as self._looking:
            await self._ctx.clock.sleep(SETTLE_S)
            for window in self._windows[:-1]:
                if not window.waiting and await self._look_at(window, process, ask):
                    self._close(window)
        self._looking = None

    async def _look_at(self, window: Window, process: str, ask: Ask) -> bool:
        """Whether nothing is wrong with it, or it was looked at often enough."""
        tries = window.tries
        tries.found.clear()
        window.looks += 1
        record = self._ctx.history.invoke(process, "read", None, window.key, model=MODEL)
        done = False
        try:
            await self._look_for(tries, list(tries.outcomes), ask)
            done = window.looks >= LOOKS or tries.is_right()
        finally:
            if done:
                record.ok(tries.shown())
            else:
                record.fail("something is missing yet")
        return done

    def _close(self, window: Window) -> None:
        self._windows.remove(window)
        verdict = window.tries.verdict(True)
        self._before = verdict if self._before is None else merged([self._before, verdict])
        self._ctx.history.leave(window.key, model=MODEL)
        sample, tries = self._sample, window.tries
        sample.token = max(sample.token, tries.token)
        for name, outcome in tries.outcomes.items():
            if outcome != OK or not tries.found.get(name):
                continue
            self._over += 1
            if len(sample.outcomes) < SAMPLE:
                sample.outcomes[name] = OK
            elif self._rng.random() < SAMPLE / self._over:
                del sample.outcomes[next(iter(sample.outcomes))]
                sample.outcomes[name] = OK

    async def read_back(self, process: str, ask: Ask) -> None:
        """Find each; the missing ones are asked for again before they count as lost."""
        if self._looking is not None:
            self._looking.cancel()
        for window in list(self._windows):
            if window.tries.outcomes:
                await self._read_back(window, process, ask)
        await self._find(self._sample, ask)

    async def _read_back(self, window: Window, process: str, ask: Ask) -> None:
        tries = window.tries
        tries.found.clear()
        record = self._ctx.history.invoke(process, "read", None, window.key, model=MODEL)
        done = False
        try:
            await self._find(tries, ask)
            done = True
        finally:
            if done:
                record.ok(tries.shown())
            else:
                record.info("the final reads did not end in time")

    async def _find(self, tries: Posts, ask: Ask) -> None:
        clock = self._ctx.clock
        asked: dict[str, None] = {}
        while new := [name for name in tries.outcomes if name not in asked]:
            asked.update(dict.fromkeys(new))
            await self._look_for(tries, new, ask)  # stragglers end meanwhile
        give_up_s = clock.monotonic_s() + MISSING_GRACE_S
        while tries.missing() and clock.monotonic_s() < give_up_s:
            await clock.sleep(PAUSE_S)
            await self._look_for(tries, tries.missing(), ask)

    async def _look_for(self, tries: Posts, names: list[str], ask: Ask) -> None:
        """Ask how often each is stored, until every part has been answered."""
        for start in range(0, len(names), IDS_AT_ONCE):
            arguments = {"ids": names[start : start + IDS_AT_ONCE], "token": tries.token}
            attempt = 0
            while True:
                try:
                    tries.found.update((await ask(arguments, attempt))["counts"])
                    break
                except (RpcError, KeyError) as error:
                    self._ctx.log.debug("final read failed", why=str(error))
                    attempt += 1
                    await self._ctx.clock.sleep(PAUSE_S)

    def verdict(self) -> dict[str, Any]:
        verdicts = [each.tries.verdict(each.tries.is_read()) for each in self._windows]
        if self._before is not None:
            sampled = self._sample.verdict(self._sample.is_read())
            known = ("lost", "lost_ids", "final_read")  # the rest is counted already
            verdicts += [self._before, {name: sampled[name] for name in known}]
        return merged(verdicts)
