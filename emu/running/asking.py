"""What many nodes are asked at once: what they are now, or whatever somebody wants to know."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

import trio

from emu.running.instance import Instance
from protocols import control
from protocols.errors import RpcError

ROLE_TIMEOUT_S: Final = 1.0


async def ask_each(names: Iterable[str], ask: Callable[[str], Awaitable[Any]]) -> dict[str, Any]:
    """`ask(name)` of every node; a failure is the RpcError itself."""
    names = list(names)
    answers: dict[str, Any] = {}

    async def one(name: str) -> None:
        try:
            answers[name] = await ask(name)
        except RpcError as error:
            answers[name] = error

    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(one, name)
    return {name: answers[name] for name in names}


async def refresh_roles(instances: Mapping[str, Instance], words: str = "") -> None:
    """Ask the running members of every tier that has roles or facts (and that `words` name) what
    they are now."""
    told: list[tuple[str, str, Any]] = []
    async with trio.open_nursery() as nursery:
        for instance in list(instances.values()):
            kind, group = instance.placement.kind, instance.placement.group
            of = (instance.spec.tier, instance.spec.region, *([group] if group else []))
            named = not words or any(each in words for each in of) or "*" in words
            if (kind.roles or kind.facts) and instance.running and named:
                nursery.start_soon(_refresh_role, instance, told)
    for name, key, value in told:
        if name in instances and instances[name].running:
            instances[name].facts[key] = value


async def _refresh_role(instance: Instance, told: list[tuple[str, str, Any]]) -> None:
    """`told` takes what a leader knows of the others: name, fact, value."""
    try:
        facts = await instance.handle.ask(control.DESCRIBE, timeout_s=ROLE_TIMEOUT_S)
    except RpcError:
        instance.role, instance.facts = "", {}
    else:
        if not instance.running:
            return  # it died meanwhile: it leads nobody
        instance.role = str(facts.get("role", ""))
        kind = instance.placement.kind
        known = kind.facts
        if kind.leader is not None:
            instance.voters = tuple(facts.get(kind.leader.voters, ()))
        instance.facts = {each.key: facts[each.key] for each in known if each.key in facts}
        for fact in known:
            others = facts.get(fact.of_others, {}) if fact.of_others else {}
            told += [(name, fact.key, value) for name, value in others.items()]
