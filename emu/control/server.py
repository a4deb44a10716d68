"""The control API of a running emu: MessagePack-RPC on a Unix socket that only its owner may open.

Each method is one verb of the command line. What a verb does is the cluster's business; here it is
only read, called and answered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from emu.control.params import check, params_of
from emu.control.unix import UnixListener
from emu.machine.events import packable
from emu.model import faults
from emu.model.vocabulary import described, operations
from emu.operations.console import STATEMENT, run_statement
from emu.operations.inject import latest, meant, operation_of, read
from emu.operations.operating import Operating, cancel
from emu.running import doors, logs, views
from emu.running.active import ActiveFault
from emu.running.asking import ask_each
from emu.running.handle import DRAIN_TIMEOUT_S
from emu.running.instance import lives
from emu.running.leaders import leaderless
from emu.running.operator import ADMIN_LIMITS
from emu.running.supervisor import BY_HAND, Cluster
from emu.running.targets import TargetError
from nodes.wire.service import Call, Service
from protocols.errors import RpcError

MAX_WAIT_S: Final = 30.0
LOGS_POLL_S: Final = 0.2
SHOWN_CHARS: Final = 60
"""Of a statement, in an event."""
EVENTS: Final = {
    BY_HAND: "Somebody changed rows by `emu sql`, beside the clients: what they miss at the end is "
    "counted, and no failure.",
}


class ControlServer:
    """Serves one cluster. `extra` adds a session's own methods."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        extra: dict[str, Callable[..., Any]] | None = None,
    ) -> None:
        self.cluster = cluster
        self._open: dict[tuple[Any, ...], Callable[[], None]] = {}
        """What ends each open transaction, by its lease."""
        self._changed: dict[tuple[Any, ...], str] = {}
        """What changed rows first in each, if anything did."""
        self.service = Service(cluster.operator.ctx, limits=ADMIN_LIMITS, charge_cpu=False)
        methods: dict[str, Callable[..., Any]] = {
            "ps": self._ps,
            "kinds": lambda call: views.kinds(self.cluster.topology),
            "url": self._url,
            "urls": self._urls,
            "events": self._events,
            "logs": self._logs,
            "inject": self._inject,
            "waits": self._waits,
            "leaderless": self._leaderless,
            "hurry": self._hurry,
            "active": self._active,
            "undo": self._undo,
            "resolve": self._resolve,
            "describe": self._describe,
            "call": self._call,
            "words": self._words,
            "begin": self._begin,
            "progress": self._progress,
            "ended": self._ended,
            "dry_run": self._dry_run,
            "cancel": self._cancel,
            STATEMENT: self._sql,
            **(extra or {}),
        }
        for name, method in methods.items():
            self.service.add(name, _with_clear_errors(method))

    async def serve(self, path: Path, *, task_status: trio.TaskStatus[None]) -> None:
        """Listen on `path` (mode 0600) until cancelled."""
        async with UnixListener(path) as listener:
            task_status.started()
            await self.service.serve(listener)

    async def _ps(self, call: Call, words: str = "all") -> list[dict[str, Any]]:
        return await views.ps(self.cluster, words)

    async def _url(self, call: Call, words: str, door: str = "") -> dict[str, Any]:
        return await doors.url(self.cluster, words, door)

    async def _urls(
        self, call: Call, words: str, wanted: list[str] | None = None
    ) -> list[dict[str, Any]]:
        return await doors.urls(self.cluster, words, wanted or ())

    async def _events(
        self, call: Call, since: int = 0, wait: bool = False, words: str = ""
    ) -> list[dict[str, Any]]:
        names = frozenset(await self.cluster.resolve(words)) if words else None
        found: list[dict[str, Any]] = []
        with trio.move_on_after(MAX_WAIT_S if wait else 0):
            while not found:
                batch = (
                    await self.cluster.events.wait_since(since)
                    if wait
                    else self.cluster.events.since(since)
                )
                found = [each for each in batch if names is None or each.get("node") in names]
                if not wait:
                    break
                if batch:
                    since = batch[-1]["index"] + 1
        return [packable(each) for each in found]

    async def _logs(
        self, call: Call, words: str, picked: dict[str, Any], cursor: list[int] | None = None
    ) -> dict[str, Any]:
        """What nodes told, as far as it is `picked` (see emu/running/logs.py), `last_s` of it; with
        a cursor only what came since, for which it waits."""
        names = frozenset(await self.cluster.resolve(words)) if words else None
        if last_s := picked.pop("last_s", None):
            picked["since_s"] = self.cluster.world.timers.now_s() - float(last_s)
        wanted = logs.Wanted(names, **picked)
        events = self.cluster.events
        found, after = logs.lines(events, wanted, logs.cursor_of(cursor))
        with trio.move_on_after(MAX_WAIT_S):
            while cursor is not None and not found:
                await trio.sleep(LOGS_POLL_S)
                found, after = logs.lines(events, wanted, after)
        return {"lines": [packable(dict(each)) for each in found], "cursor": list(after)}

    async def _inject(
        self, call: Call, record: dict[str, Any], for_s: float | None = None
    ) -> dict[str, Any]:
        """Do it, and say what came of it: `changed` nodes and their states, those `removed`, the
        faults that were `undone` by it, whether it `lasts`, and who of those that it ended is
        started again when it fails (`restarts`), and now is not."""
        cluster, fault = self.cluster, self._fault(record)
        before, active = lives(cluster.instances), dict(cluster.active)
        number = await cluster.inject(fault, for_s=for_s)
        after = lives(cluster.instances)
        changed = {name: life[0] for name, life in after.items() if before.get(name) != life}
        return {
            "number": number,
            "changed": changed,
            "removed": [name for name in before if name not in after],
            "undone": [_told(each) for key, each in active.items() if key not in cluster.active],
            "lasts": number in cluster.active,
            "restarts": [
                name
                for name in changed
                if not cluster.instances[name].running
                and cluster.instances[name].placement.restart != "no"
            ],
        }

    async def _waits(self, call: Call, tier: str = "") -> dict[str, Any]:
        """What an order may wait for: `{"most_s", "connections": {node: how many are left, or
        None}}` of those that drain, `boots`, in words, and who of `tier` has no leader."""
        boots = (each.handle.waits_for for each in self.cluster.instances.values())
        return {
            "most_s": DRAIN_TIMEOUT_S,
            "connections": await views.draining(self.cluster),
            "boots": [text for text in boots if text],
            "leaderless": list(self._leaderless(call, tier).values()) if tier else [],
        }

    def _leaderless(self, call: Call, tier: str = "") -> dict[str, str]:
        """Tier → why nobody leads it, of those (or of this one, or this group) that lack it."""
        return leaderless(self.cluster.topology, self.cluster.instances, tier)

    async def _hurry(self, call: Call) -> list[str]:
        """End every drain that is under way; whose that was."""
        names = list(await views.draining(self.cluster))
        for name in names:
            await self.cluster.stop(name, now=True)
        return names

    def _active(self, call: Call) -> list[dict[str, Any]]:
        now_s = self.cluster.world.timers.now_s()
        return [
            {
                **_told(each),
                "since_s": each.since_s,
                "until_s": each.until_s,
                "left_s": None if each.until_s is None else max(0.0, each.until_s - now_s),
            }
            for each in self.cluster.active.values()
        ]

    async def _undo(self, call: Call, number: int) -> bool:
        known = number in self.cluster.active
        await self.cluster.undo(number)
        return known

    async def _resolve(self, call: Call, words: str) -> list[str]:
        return await self.cluster.resolve(words)

    async def _describe(self, call: Call, name: str) -> dict[str, Any]:
        answer = await self.cluster.call_admin(
            _one_name(await self.cluster.resolve(name)), "describe"
        )
        return dict(answer)

    async def _call(
        self, call: Call, words: str, method: str, params: list[Any], admin: bool = False
    ) -> dict[str, Any]:
        """Call a method of each node that `words` mean; the front first,
        else its admin listener."""
        ask = self._ask_admin if admin else self._ask_front
        names = await self.cluster.resolve(words)
        if not admin:
            names = views.fronts(self.cluster, words, names)
        answers = await ask_each(names, lambda name: ask(name, method, params))
        return {
            name: {"error": answer.to_wire()} if isinstance(answer, RpcError) else {"ok": answer}
            for name, answer in answers.items()
        }

    async def _ask_admin(self, name: str, method: str, params: list[Any]) -> Any:
        return await self.cluster.call_admin(name, method, *params)

    async def _ask_front(self, name: str, method: str, params: list[Any]) -> Any:
        return await views.ask_front(self.cluster, name, method, params)

    # --- operations of families ----------------------------------------------------------------

    def _words(self, call: Call) -> list[dict[str, Any]]:
        """The verbs that this cluster's kinds bring (see emu/model/vocabulary.py)."""
        return [described(each) for each in operations(self.cluster.topology).values()]

    async def _begin(self, call: Call, record: dict[str, Any]) -> int:
        """Begin an operation; its number. What its nodes refuse is refused. It is a fault on the
        record; `progress` and `ended` are asked with the same record."""
        fault = self._fault(record)
        number = await self.cluster.inject(fault)
        operating = self._operating(record)
        await operating.begun.wait()
        if operating.error is not None:
            raise operating.error
        return number

    def _progress(self, call: Call, record: dict[str, Any]) -> dict[str, Any]:
        """`{"done", "of", "text", "over"}`: how far it was when last looked at."""
        operating = self._operating(record)
        seen, over = operating.progress, operating.over.is_set()
        if seen is None:
            return {"done": 0, "of": 0, "text": "", "over": over}
        return {"done": seen.done, "of": seen.of, "text": seen.text, "over": over}

    async def _ended(self, call: Call, record: dict[str, Any]) -> dict[str, Any]:
        """Wait for the end: `{"result", "text", "succeeded"}`, the result also in words."""
        operating = self._operating(record)
        await operating.over.wait()
        if operating.error is not None:
            raise operating.error
        operation, result = operating.operation, operating.result or {}
        return {
            "result": result,
            "text": operation.shown(result),
            "succeeded": operation.succeeded(result),
        }

    async def _dry_run(self, call: Call, record: dict[str, Any]) -> dict[str, Any]:
        """What it would do: `{"result", "text"}`; nothing is changed."""
        operating = self._new(self._fault(record))
        if operating.operation.plan is None:
            raise RpcError("bad_request", f"`{record['verb']}` has no dry run")
        operating.check()
        answers = await operating.ask(operating.operation.plan)
        found = next(iter(answers.values())) if len(answers) == 1 else answers
        return {"result": found, "text": operating.operation.shown_plan(found)}

    async def _cancel(self, call: Call, verb: str, main: str) -> bool:
        """Undo what is under way, where it can still be undone; whether there was anything."""
        operation = operation_of(self.cluster, verb)
        return await cancel(self.cluster, operation, meant(self.cluster, operation, main))

    def _fault(self, record: dict[str, Any]) -> faults.Fault:
        try:
            return read(self.cluster, record)
        except (ValueError, TypeError) as error:
            raise RpcError("bad_request", str(error)) from error

    def _new(self, fault: faults.Fault) -> Operating:
        return Operating(self.cluster, operation_of(self.cluster, fault.verb), fault)

    def _operating(self, record: dict[str, Any]) -> Operating:
        found = latest(self.cluster, self._fault(record))
        if found is None:
            raise RpcError("not_found", f"`{record['verb']}` was not begun here")
        return found

    async def _sql(
        self, call: Call, words: str, sql: str, options: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Who begins a transaction ends it: its connection does, if nobody else."""
        answer = await run_statement(self.cluster, words, sql, options or {})
        self._tell_of_changes(sql, answer, (options or {}).get("lease"))
        if answer.get("lease"):
            lease = tuple(answer["lease"])
            self._open[lease] = partial(self._give_up, words, lease)
            call.ending.add(self._open[lease])
        elif "lease" in answer and (ended := self._open.pop(tuple((options or {})["lease"]), None)):
            call.ending.discard(ended)
        return answer

    def _tell_of_changes(self, sql: str, answer: dict[str, Any], lease: Any) -> None:
        """Those of a transaction are told with its end."""
        rows, what = answer.get("changes", 0), " ".join(sql.split())[:SHOWN_CHARS]
        changes = rows or str(answer.get("did", "")).startswith("DROP ")
        if lease and "lease" not in answer:
            if changes:
                self._changed.setdefault(tuple(lease), what)
            return
        inside = self._changed.pop(tuple(lease), what) if lease else what
        if changes:
            tier = self.cluster.instances[answer["node"]].spec.tier
            self.cluster.events.add(
                "info", BY_HAND, {"tier": tier, "statement": inside, "rows": rows}
            )

    def _give_up(self, words: str, lease: tuple[Any, ...]) -> None:
        self._open.pop(lease, None)
        self._changed.pop(lease, None)
        self.cluster.nursery.start_soon(self._roll_back, words, lease)

    async def _roll_back(self, words: str, lease: tuple[Any, ...]) -> None:
        """If that fails, its time ends it."""
        with suppress(RpcError, TargetError):
            await run_statement(self.cluster, words, "ROLLBACK", {"lease": list(lease)})


def _told(active: ActiveFault) -> dict[str, Any]:
    return {"number": active.number, **packable(faults.to_record(active.fault))}


def _one_name(names: list[str]) -> str:
    if len(names) != 1:
        raise RpcError("bad_request", f"name one node, not {len(names)}")
    return names[0]


def _with_clear_errors(method: Callable[..., Any]) -> Callable[..., Any]:
    """A control method that is given what it takes, and whose TargetError and ValueError become
    answers a user can act on."""

    wanted = params_of(method)

    async def answer(call: Call, *params: Any) -> Any:
        check(wanted, params)
        try:
            result = method(call, *params)
            if isinstance(result, Awaitable):
                result = await result
        except TargetError as error:
            raise RpcError("not_found", str(error)) from error
        except (TypeError, ValueError) as error:
            raise RpcError("bad_request", str(error)) from error
        return result

    return answer
