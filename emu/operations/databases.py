"""Asking a database tier from outside, as its operator: who is primary, and any SQL statement.

What a statement means is the node's business; here the member is found that may answer it, and
asked again, or another, where that is safe. `emu sql` and scripts share this.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from emu.running.slot import Slot
from emu.running.supervisor import Cluster
from emu.running.targets import TargetError
from nodes.sql.grammar import Grammar
from nodes.sql.rules import check_length
from protocols import database as words
from protocols.errors import RpcError

DATABASE: Final = "database"
PRIMARY: Final = "primary"
WITNESS: Final = "witness"
PATIENCE_S: Final = 10.0
"""How long somebody is looked for who can answer: a failover takes less."""
ATTEMPT_S: Final = 3.0
ATTEMPT_PAUSE_S: Final = 0.05
ELSEWHERE: Final = frozenset(
    {"not_primary", "unavailable", "disconnected", "timeout", "unknown_outcome"}
)
"""Worth asking another member, or again."""


async def members_of(cluster: Cluster, target: str) -> tuple[str, list[str]]:
    """The database tier that a target is of, and the nodes that it names. Raises TargetError."""
    names = await cluster.resolve(target)
    tiers = dict.fromkeys(cluster.slots[name].spec.tier for name in names if name in cluster.slots)
    kinds = {cluster.slots[name].spec.kind for name in names if name in cluster.slots}
    if len(tiers) != 1 or kinds != {DATABASE}:
        slots = cluster.slots.values()
        there = dict.fromkeys(slot.spec.tier for slot in slots if slot.spec.kind == DATABASE)
        known = f"there is: {', '.join(there)}" if there else "this cluster has none"
        raise TargetError(f"`{target}` is no database tier; {known}")
    return next(iter(tiers)), names


async def ask_primary(
    cluster: Cluster, tier: str, method: str, params: Sequence[Any], *, again: bool
) -> tuple[str, Any]:
    """The primary's name and its answer, wherever it moves meanwhile.

    `again`: it may be asked twice, so even an unknown outcome is tried again. Raises RpcError.
    """
    timers = cluster.world.timers
    until_s = timers.now_s() + PATIENCE_S
    last = RpcError("unavailable", f"no node of `{tier}` is up: `emu ps {tier}` shows them")
    unknown: RpcError | None = None
    hint = ""
    while True:
        for name in _likeliest_first(cluster, tier, hint):
            left_s = until_s - timers.now_s()
            if left_s <= 0:
                break
            try:
                return name, await ask(cluster, name, method, params, min(left_s, ATTEMPT_S))
            except RpcError as error:
                if not error.definite:
                    unknown = error
                if error.code not in ELSEWHERE or not (again or error.definite):
                    raise error from unknown
                last = error
                if error.code == "not_primary" and error.details and error.details[0]:
                    hint = str(error.details[0])
        if timers.now_s() >= until_s:
            raise unknown or last
        await cluster.operator.sleep(ATTEMPT_PAUSE_S)
        await cluster.refresh_roles(tier)


def _likeliest_first(cluster: Cluster, tier: str, hint: str) -> list[str]:
    slots = [slot for slot in cluster.tier_slots(tier) if slot.running]
    slots.sort(key=lambda slot: (slot.spec.name != hint, slot.role != PRIMARY))
    return [slot.spec.name for slot in slots]


async def ask(
    cluster: Cluster, name: str, method: str, params: Sequence[Any], timeout_s: float
) -> Any:
    """Call a method of one node's main port. Raises RpcError."""
    slot = cluster.slots.get(name)
    if slot is None or not slot.running:
        raise RpcError("unavailable", f"{name} is {slot.shown_state if slot else 'gone'}")
    port = slot.spec.port
    return await cluster.operator.ask(name, method, *params, timeout_s=timeout_s, port=port)


# --- one statement -----------------------------------------------------------------------------


async def run_statement(
    cluster: Cluster, target: str, sql: str, options: dict[str, Any]
) -> dict[str, Any]:
    """Run one SQL statement, and say who answered: `{"node", "role", "lsn", "columns", "rows",
    "changes", "took_s", ...}`. Raises RpcError, TargetError.

    The primary answers, or of a target that is no whole tier, one of the nodes that it names; with
    `replica` one of its replicas. Writes always go to the primary. More options: `max_rows` and
    `min_lsn` of a read (see protocols/database.py), `request_id` of a write, `timeout_ms` of BEGIN,
    whose answer has a `lease`; that is an option of every statement of the transaction.
    """
    check_length(len(sql))  # a frame of that size would end the connection instead
    tier, names = await members_of(cluster, target)
    began_s = cluster.world.timers.now_s()
    control = Grammar().control(sql)
    lease = options.get("lease")
    if lease is not None:
        answer = await _in_transaction(cluster, lease, control, sql, options)
    elif control == "BEGIN":
        answer = await _begin(cluster, tier, options)
    elif control:
        raise RpcError("refused", f"{control}: no transaction is open; BEGIN opens one")
    else:
        answer = await _read_or_write(cluster, tier, names, sql, options)
    slot = cluster.slots.get(answer["node"])
    role = slot.role if slot is not None else ""
    took_s = cluster.world.timers.now_s() - began_s
    return {"role": role, "took_s": round(took_s, 6), **answer}


async def _read_or_write(
    cluster: Cluster, tier: str, names: list[str], sql: str, options: dict[str, Any]
) -> dict[str, Any]:
    """Whoever is to answer says whether the statement only reads: it has the schema."""
    asked = {key: options[key] for key in ("max_rows", "min_lsn") if options.get(key)}
    whole = len(names) == len(cluster.tier_slots(tier))
    at_primary = [sql, [], {**asked, "primary": True}]
    try:
        if whole and not options.get("replica"):
            name, answer = await ask_primary(cluster, tier, words.QUERY, at_primary, again=True)
            return {"node": name, **answer, "role": PRIMARY}
        try:
            if options.get("replica"):
                names = await _replicas(cluster, tier, names)
            return await _read_from(cluster, names, [sql, [], asked])
        except RpcError as error:
            if error.code in ELSEWHERE:  # then the primary says what it is, and does what writes
                await ask_primary(cluster, tier, words.QUERY, at_primary, again=True)
            raise
    except RpcError as error:
        if error.details == (words.WRITES,):
            return await _write(cluster, tier, sql, options)
        raise


async def _replicas(cluster: Cluster, tier: str, names: list[str]) -> list[str]:
    await cluster.refresh_roles(tier)
    able = [name for name in names if _reads_aside(cluster.slots[name])]
    if not able:
        raise RpcError("unavailable", f"`{tier}` has no replica that is up: `emu ps {tier}`")
    return able


def _reads_aside(slot: Slot) -> bool:
    return slot.running and slot.role not in ("", PRIMARY, WITNESS)


async def _read_from(cluster: Cluster, names: list[str], params: list[Any]) -> dict[str, Any]:
    """The first of them that can answer does."""
    last: RpcError | None = None
    for name in names:
        try:
            answer = await ask(cluster, name, words.QUERY, params, ATTEMPT_S)
        except RpcError as error:
            if error.code not in ELSEWHERE:
                raise
            last = error
        else:
            return {"node": name, **answer}
    assert last is not None, "a target has nodes"
    raise last


async def _write(cluster: Cluster, tier: str, sql: str, options: dict[str, Any]) -> dict[str, Any]:
    request_id = str(options.get("request_id") or "")
    params = [[[sql]], {"request_id": request_id}]
    name, answer = await ask_primary(cluster, tier, words.WRITE, params, again=bool(request_id))
    (result,) = answer["results"]
    return {"node": name, "lsn": answer["lsn"], **result, "role": PRIMARY}


# --- an interactive transaction ----------------------------------------------------------------


async def _begin(cluster: Cluster, tier: str, options: dict[str, Any]) -> dict[str, Any]:
    wanted = {key: options[key] for key in ("timeout_ms",) if options.get(key)}
    name, answer = await ask_primary(cluster, tier, words.BEGIN, [wanted], again=False)
    return {
        "node": name, "role": PRIMARY, "lsn": None, "columns": [], "rows": [], "changes": 0,
        "did": "BEGIN", "lease": [name, answer["lease"]], "expires_ms": answer["expires_ms"],
    }  # fmt: skip


async def _in_transaction(
    cluster: Cluster, lease: Sequence[Any], control: str, sql: str, options: dict[str, Any]
) -> dict[str, Any]:
    """A statement of the transaction at the node that holds it; COMMIT and ROLLBACK end it."""
    name, number = str(lease[0]), lease[1]
    told: dict[str, Any] = {"columns": [], "rows": [], "changes": 0, "lsn": None}
    if control == "BEGIN":
        raise RpcError("refused", "a transaction is open: COMMIT or ROLLBACK ends it")
    if control == "COMMIT":
        request = {"request_id": str(options.get("request_id") or "")}
        answer = await ask(cluster, name, words.COMMIT, [number, request], PATIENCE_S)
        changes = sum(each["changes"] for each in answer["results"])
        told = {**told, "lsn": answer["lsn"], "changes": changes, "lease": None}
    elif control:
        await ask(cluster, name, words.ROLLBACK, [number], ATTEMPT_S)
        told |= {"lease": None, "did": control}
    else:
        told |= await ask(cluster, name, words.EXECUTE, [number, sql, []], PATIENCE_S)
    return {"node": name, "role": PRIMARY, **told}
