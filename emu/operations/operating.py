"""Doing one operation of a family (nodes/operations.py) to a running cluster: who is asked, how far
it is, what came of it; and the machines that must come before it and go after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import trio

from emu.model import faults
from emu.model.topology import Topology, diff
from emu.operations.console import ClusterConsole, seat_for
from emu.operations.tiers import with_tiers, without_tiers
from emu.running import views
from emu.running.active import Undo
from emu.running.supervisor import Cluster
from emu.running.targets import TargetError
from nodes.operations import DOWN, OPERATOR_TIMEOUT_S, Ended, Method, Operation, Progress
from nodes.replica.asking import ask_leader
from protocols.errors import RpcError

POLL_S: Final = 0.2
LEADER_FOR_S: Final = 30.0
"""How long a leader is looked for: nodes may just be coming."""
EVENTS: Final = {
    "* not done": "What an operation asked for could not be done (`reshard not done`).",
    "* not undone": "What an operation with `for` did could not be undone at a node.",
}
SILENT: Final = ("unavailable", "disconnected", "timeout")
"""Who is paused or cut off goes on later; who is down does not."""


class Asked:
    """Who is asked for an operation, by what its word means."""

    def __init__(self, console: ClusterConsole, operation: Operation, main: str) -> None:
        self.console = console
        self.operation = operation
        self.main = main
        self._of_tier = self.operation.word.main == "tier"
        self.silent: dict[str, str] = {}
        """Who did not answer, and why, where that is no error."""

    def check(self) -> None:
        """Raises TargetError where no such tier is there; what nodes are meant is seen later."""
        if self._of_tier:
            self._tier()

    async def all(self, method: str, params: Sequence[Any]) -> dict[str, Any]:
        """The answers by node; of a group only its leader's. Raises RpcError, TargetError."""
        if self.operation.asks == "leader":
            tier = self._tier() if self._of_tier else (await self.console.named(self.main))[0]
            asked = ask_leader(
                self.console, tier, method, *params,
                again=True, patience_s=LEADER_FOR_S, attempt_s=OPERATOR_TIMEOUT_S,
            )  # fmt: skip
            return dict([await asked])
        answers: dict[str, Any] = {}
        names = await self.nodes()
        for name in names:
            try:
                answers[name] = await self.console.ask(name, method, *params)
            except RpcError as error:
                may_miss = self.operation.asks == "whoever answers" and error.code in SILENT
                if not may_miss or (name == names[-1] and not answers):
                    raise
                self.silent[name] = str(error) if self.console.is_running(name) else DOWN
        return answers

    async def nodes(self) -> list[str]:
        """Raises TargetError."""
        names = await self.console.nodes(self.main)
        if self.operation.asks == "one" and len(names) != 1:
            shown = ", ".join(names)
            raise TargetError(f"`{self.main}` are {len(names)} nodes ({shown}): name one")
        return names

    def _tier(self) -> str:
        """The tier whose leader is asked. Raises TargetError."""
        grouped = self.operation.of_group
        for tier in self.console.cluster.topology.tiers:
            meant = self.main == tier.group or (self.main == tier.name and not grouped)
            if meant and self.operation in tier.kind.operations:
                led_by = self.operation.led_by
                return led_by(self.main) if led_by is not None else tier.name
        raise self.console.refusal(self.main)


class Operating:
    """One operation, from the nodes that it needs to its result."""

    def __init__(self, cluster: Cluster, operation: Operation, word: Any) -> None:
        self.cluster = cluster
        self.operation = operation
        self.verb = operation.verb
        self.word = word
        self.main = str(getattr(word, word.main))
        self.console = seat_for(cluster, operation)
        self.asked = Asked(self.console, operation, self.main)
        self.progress: Progress | None = None
        self.result: dict[str, Any] | None = None
        self.error: RpcError | ValueError | None = None
        self.begun = trio.Event()
        """It was answered, or refused."""
        self.over = trio.Event()
        self.answers: dict[str, Any] = {}
        self._seen: dict[str, Progress] = {}
        self._down: RpcError | None = None

    def check(self) -> None:
        """Raises TargetError where it cannot be meant so."""
        self.asked.check()
        resizing = self.operation.resizing
        if resizing is not None:
            try:
                resizing.wanted(self.word)
            except ValueError as error:
                raise TargetError(str(error)) from error

    async def ask(self, method: Method) -> dict[str, Any]:
        """The method's answers, by node. Raises RpcError, TargetError."""
        return await self.asked.all(method.name, method.params(self.word))

    async def run(self) -> None:
        """All of it. Raises RpcError, TargetError."""
        began_s, operation = self.console.now_s(), self.operation
        before = self._metrics()
        try:
            if operation.run is not None:
                self.result = await operation.run(self.console, self.word)
                return
            await self._begin()
            self._seen = dict.fromkeys(self.answers, Progress(0, 0, "", False))
            self.begun.set()
            await self._follow()
            after = self._metrics()
            counted = {name: max(0.0, after[name] - before[name]) for name in after}
            took_s = self.console.now_s() - began_s
            silent = self.asked.silent
            self.result = operation.result(
                Ended(self.answers, self.progress, counted, took_s, silent)
            )
        except ValueError as error:
            self.error = TargetError(str(error))
            raise self.error from error
        except RpcError as error:
            self.error = error
            raise
        finally:
            self.begun.set()
            self.over.set()

    async def run_aside(self) -> None:
        """The same, where nobody waits for it: what is wrong is an event."""
        try:
            await self.run()
        except (RpcError, TargetError) as error:
            told = {key: each for key, each in faults.to_record(self.word).items() if each}
            verb = told.pop("verb")
            self.cluster.log.warning(f"{verb} not done", **told, why=str(error))
        except Exception as error:  # a mistake of ours must not end the whole run
            self.error = RpcError("internal", f"{type(error).__name__}: {error}")
            self.cluster.log.error(f"{self.verb} not done", why=str(self.error))

    async def _begin(self) -> None:
        resizing = self.operation.resizing
        if resizing is not None:
            wanted = resizing.wanted(self.word)
            before = [tier.name for tier in self.cluster.topology.tiers]
            await self._apply(with_tiers(self.cluster.topology, self.main, wanted))
        assert self.operation.begin is not None, "it has no procedure of its own"
        try:
            self.answers = await self.ask(self.operation.begin)
        except RpcError as error:
            if resizing is not None and error.definite:  # what came for it has nothing to do
                await self._apply(without_tiers(self.cluster.topology, self.main, before))
            raise

    async def _follow(self) -> None:
        """Until it is over; then the machines that are left over go."""
        if self.operation.progress is None:
            return
        while True:
            self.progress = await self.look()
            if self.progress.over:
                break
            await self.console.sleep(POLL_S)
        if self.progress.tiers is not None:
            kept = without_tiers(self.cluster.topology, self.main, self.progress.tiers)
            await self._apply(kept)

    async def look(self) -> Progress:
        """How far it is now, of all who were asked. Raises RpcError."""
        method = self.operation.progress
        assert method is not None, "asked of those that have it"
        if self.operation.asks == "leader":
            (answer,) = (await self.ask(method)).values()
            return self.operation.read(answer)
        for name in self.answers:
            try:
                answer = await self.console.ask(name, method.name, *method.params(self.word))
                self._seen[name] = self.operation.read(answer)
            except RpcError as error:
                if error.code not in SILENT:
                    raise
                if not self.console.is_running(name):  # what it did went with it
                    self._seen.pop(name, None)
                    self._down = error
        if not self._seen:
            raise self._down or RpcError("unavailable", "nobody who was asked is up any more")
        return _sum(list(self._seen.values()))

    def _metrics(self) -> dict[str, float]:
        return {name: _total(self.cluster, name) for name in self.operation.counts}

    async def _apply(self, topology: Topology) -> None:
        if topology is not self.cluster.topology:
            await self.cluster.apply(topology, diff(self.cluster.topology, topology))

    # --- undoing -------------------------------------------------------------------------------

    async def lasting(self) -> Undo:
        """Begin what lasts; how it is undone. Where one node refuses, none is left with it."""
        method = self.operation.begin
        assert method is not None, "what lasts is begun"
        params = method.params(self.word)
        for name in await self.asked.nodes():
            try:
                self.answers[name] = await self.console.ask(name, method.name, *params)
            except RpcError:
                await Undoing(self, tuple(self.answers))()
                raise
        self.begun.set()
        return Undoing(self, tuple(self.answers))


class Undoing:
    """Undoes what lasts at the nodes that it met."""

    def __init__(self, operating: Operating, names: tuple[str, ...]) -> None:
        self.operating = operating
        self.names = names

    async def __call__(self) -> None:
        operation, console = self.operating.operation, self.operating.console
        assert operation.undo is not None, "so it lasts"
        params = operation.undo.params(self.operating.word)
        for name in self.names:
            if not console.is_running(name):
                continue  # it went with the process
            try:
                await console.ask(name, operation.undo.name, *params)
            except RpcError as error:
                console.cluster.log.warning(
                    f"{operation.verb} not undone", node=name, why=str(error)
                )
        self.operating.over.set()


def _sum(found: Sequence[Progress]) -> Progress:
    texts = dict.fromkeys(each.text for each in found if each.text)
    return Progress(
        sum(each.done for each in found),
        sum(each.of for each in found),
        "; ".join(texts),
        all(each.over for each in found),
        [each.answer for each in found],
    )


def _total(cluster: Cluster, metric: str) -> float:
    try:
        return views.metric(cluster, list(cluster.instances), metric)
    except KeyError:
        return 0.0


async def cancel(cluster: Cluster, operation: Operation, main: str) -> bool:
    """Undo what is under way, where it can still be undone; whether there was anything. Raises
    RpcError, TargetError."""
    if not operation.cancel:
        raise TargetError(f"`{operation.verb}` cannot be cancelled")
    asked = Asked(seat_for(cluster, operation), operation, main)
    answers = await asked.all(operation.cancel, [])
    return any(bool(each) for each in answers.values())
