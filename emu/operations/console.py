"""The operator's seat in a running cluster: what the procedures of families ask nodes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from emu.running.slot import Slot
from emu.running.supervisor import Cluster
from emu.running.targets import TargetError
from nodes.operations import OPERATOR_TIMEOUT_S, Member, Operation
from protocols.errors import RpcError

LEADER_FOR_S: Final = 30.0
LEADER_PAUSE_S: Final = 0.1
ELSEWHERE: Final = ("not_primary", "unavailable", "disconnected", "timeout")


class ClusterConsole:
    """nodes.operations.Console over a cluster, for one operation."""

    def __init__(self, cluster: Cluster, operation: Operation) -> None:
        self.cluster = cluster
        self.operation = operation

    def now_s(self) -> float:
        return self.cluster.world.timers.now_s()

    async def sleep(self, seconds: float) -> None:
        await self.cluster.operator.sleep(seconds)

    # --- who is meant --------------------------------------------------------------------------

    def has_it(self, slot: Slot) -> bool:
        return self.operation in slot.placement.kind.operations

    def refusal(self, words: str) -> TargetError:
        """Why nothing that has the operation is meant, and what there is."""
        slots = [slot for slot in self.cluster.slots.values() if self.has_it(slot)]
        grouped = self.operation.resizing is not None
        there = dict.fromkeys(slot.placement.group if grouped else slot.spec.tier for slot in slots)
        known = f"there is: {', '.join(there)}" if there else "this cluster has none"
        return TargetError(f"`{words}` is no {self.operation.of}; {known}")

    async def nodes(self, target: str) -> list[str]:
        """The nodes that target words name, which all have the operation. Raises TargetError."""
        names = await self.cluster.resolve(target)
        slots = self.cluster.slots
        if not all(name in slots and self.has_it(slots[name]) for name in names):
            raise self.refusal(target)
        return names

    async def named(self, target: str) -> tuple[str, list[str]]:
        names = await self.nodes(target)
        tiers = dict.fromkeys(self.cluster.slots[name].spec.tier for name in names)
        if len(tiers) != 1:
            raise self.refusal(target)
        return next(iter(tiers)), names

    async def members(self, tier: str) -> list[Member]:
        await self.cluster.refresh_roles(tier)
        return [
            Member(slot.spec.name, tier, slot.shown_state, slot.role, dict(slot.facts))
            for slot in self.cluster.tier_slots(tier)
        ]

    def is_running(self, name: str) -> bool:
        slot = self.cluster.slots.get(name)
        return slot is not None and slot.running

    # --- asking --------------------------------------------------------------------------------

    async def ask(
        self,
        name: str,
        method: str,
        *params: Any,
        timeout_s: float = OPERATOR_TIMEOUT_S,
        main: bool = False,
    ) -> Any:
        if not main:
            return await self.cluster.call_admin(name, method, *params, timeout_s=timeout_s)
        slot = self.cluster.slots.get(name)
        if slot is None or not slot.running:
            raise RpcError("unavailable", f"{name} is {slot.shown_state if slot else 'gone'}")
        ask = self.cluster.operator.ask
        return await ask(name, method, *params, timeout_s=timeout_s, port=slot.spec.port)

    async def ask_leader(self, tier: str, method: str, *params: Any) -> Any:
        """Call an admin method of whoever leads a tier, wherever that moves. Raises RpcError."""
        names = [slot.spec.name for slot in self.cluster.tier_slots(tier)]
        last = RpcError("unavailable", f"no node of `{tier}` is there to be asked")
        until_s = self.now_s() + LEADER_FOR_S
        while self.now_s() < until_s:
            for name in names:
                try:
                    return await self.ask(name, method, *params)
                except RpcError as error:
                    last = error
                    if error.code not in ELSEWHERE:
                        raise
            await self.sleep(LEADER_PAUSE_S)
        raise last

    # --- events --------------------------------------------------------------------------------

    @property
    def next_event(self) -> int:
        return self.cluster.events.next_index

    def events(self, since: int) -> Sequence[Mapping[str, Any]]:
        return self.cluster.events.since(since)

    def tell(self, event: str, **facts: Any) -> None:
        self.cluster.log.info(event, **facts)
