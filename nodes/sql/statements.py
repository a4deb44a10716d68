"""SQL statements on a database tier, asked by its operator: `emu sql` and scripts share this.

What a statement means is the node's business; here the member is found that may answer it, and
asked again, or another, where that is safe.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from nodes.operations import Console, Member, Statements
from nodes.replica.asking import ATTEMPT_S, PATIENCE_S, ask_leader
from nodes.replica.client import ELSEWHERE
from nodes.sql.grammar import Grammar
from nodes.sql.rules import check_length
from protocols import database as words
from protocols.errors import RpcError
from protocols.replication.replica import PRIMARY, WITNESS


async def run_statement(
    console: Console, target: str, sql: str, options: dict[str, Any]
) -> dict[str, Any]:
    """Run one SQL statement, and say who answered: `{"node", "role", "lsn", "columns", "rows",
    "changes", "took_s", ...}`. Raises RpcError, ValueError.

    The primary answers, or of a target that is no whole tier, one of the nodes that it names; with
    `replica` one of its replicas. A write goes to the primary, and is refused where others were
    named. More options: `max_rows` and `min_lsn` of a read (see protocols/database.py),
    `request_id` of a write, `timeout_ms` of BEGIN, whose answer has a `lease`; that is an option of
    every statement of the transaction.
    """
    check_length(len(sql))  # a frame of that size would end the connection instead
    tier, names = await console.named(target)
    began_s = console.now_s()
    control = Grammar().control(sql)
    lease = options.get("lease")
    if lease is not None:
        answer = await _in_transaction(console, lease, control, sql, options)
    elif control == "BEGIN":
        _check_primary_meant(console, tier, names, "a transaction is")
        answer = await _begin(console, tier, options)
    elif control:
        raise RpcError("refused", f"{control}: no transaction is open; BEGIN opens one")
    else:
        answer = await _read_or_write(console, tier, names, sql, options)
    roles = {each.name: each.role for each in console.seen(tier)}
    role = roles.get(answer["node"], "")
    took_s = console.now_s() - began_s
    return {"role": role, "took_s": round(took_s, 6), **answer}


async def _read_or_write(
    console: Console, tier: str, names: list[str], sql: str, options: dict[str, Any]
) -> dict[str, Any]:
    """Whoever is to answer says whether the statement only reads: it has the schema."""
    asked = {key: options[key] for key in ("max_rows", "min_lsn") if options.get(key)}
    whole = len(names) == len(console.seen(tier))
    at_primary = [sql, [], {**asked, "primary": True}]
    try:
        if whole and not options.get("replica"):
            name, answer = await _ask_primary(console, tier, at_primary)
            return {"node": name, **answer, "role": PRIMARY}
        try:
            if options.get("replica"):
                names = await _replicas(console, tier, names)
            return await _read_from(console, names, [sql, [], asked])
        except RpcError as error:
            if error.code in ELSEWHERE:  # then the primary says what it is, and does what writes
                await _ask_primary(console, tier, at_primary)
            raise
    except RpcError as error:
        if error.details != (words.WRITES,):
            raise
    if options.get("replica"):
        raise RpcError("refused", "it writes, and replicas only read: leave `replica` out")
    _check_primary_meant(console, tier, names, "writes are")
    return await _write(console, tier, sql, options)


def _check_primary_meant(console: Console, tier: str, names: list[str], what: str) -> None:
    """What was meant for some nodes is not done at another one. Raises RpcError."""
    members = console.seen(tier)
    primaries = [each.name for each in members if each.role == PRIMARY]
    if len(names) < len(members) and not any(name in primaries for name in names):
        there = f", {primaries[0]} just now" if primaries else ""
        named = ", ".join(names)
        raise RpcError(
            "refused",
            f"{what} the primary's{there}, and {named} was named: ask `{tier}` as a whole",
        )


async def _ask_primary(console: Console, tier: str, params: list[Any]) -> tuple[str, Any]:
    return await ask_leader(console, tier, words.QUERY, *params, again=True, reads=True, main=True)


async def _replicas(console: Console, tier: str, names: list[str]) -> list[str]:
    members = await console.members(tier)
    able = [each.name for each in members if each.name in names and _reads_aside(each)]
    if not able:
        raise RpcError("unavailable", f"`{tier}` has no replica that is up: `emu ps {tier}`")
    return able


def _reads_aside(member: Member) -> bool:
    return member.running and member.role not in ("", PRIMARY, WITNESS)


async def _read_from(console: Console, names: list[str], params: list[Any]) -> dict[str, Any]:
    """The first of them that can answer does."""
    last: RpcError | None = None
    for name in names:
        try:
            answer = await console.ask(name, words.QUERY, *params, timeout_s=ATTEMPT_S, main=True)
        except RpcError as error:
            if error.code not in ELSEWHERE:
                raise
            last = error
        else:
            return {"node": name, **answer}
    assert last is not None, "a target has nodes"
    raise last


async def _write(console: Console, tier: str, sql: str, options: dict[str, Any]) -> dict[str, Any]:
    request_id = str(options.get("request_id") or "")
    params = [[[sql]], {"request_id": request_id}]
    again = bool(request_id)
    name, answer = await ask_leader(console, tier, words.WRITE, *params, again=again, main=True)
    (result,) = answer["results"]
    return {"node": name, "lsn": answer["lsn"], **result, "role": PRIMARY}


# --- an interactive transaction ----------------------------------------------------------------


async def _begin(console: Console, tier: str, options: dict[str, Any]) -> dict[str, Any]:
    wanted = {key: options[key] for key in ("timeout_ms",) if options.get(key)}
    name, answer = await ask_leader(console, tier, words.BEGIN, wanted, again=False, main=True)
    return {
        "node": name, "role": PRIMARY, "lsn": None, "columns": [], "rows": [], "changes": 0,
        "did": "BEGIN", "lease": [name, answer["lease"]], "expires_ms": answer["expires_ms"],
    }  # fmt: skip


async def _in_transaction(
    console: Console, lease: Sequence[Any], control: str, sql: str, options: dict[str, Any]
) -> dict[str, Any]:
    """A statement of the transaction at the node that holds it; COMMIT and ROLLBACK end it."""
    name, number = str(lease[0]), lease[1]
    told: dict[str, Any] = {"columns": [], "rows": [], "changes": 0, "lsn": None}
    if control == "BEGIN":
        raise RpcError("refused", "a transaction is open: COMMIT or ROLLBACK ends it")
    if control == "COMMIT":
        request = {"request_id": str(options.get("request_id") or "")}
        answer = await console.ask(
            name, words.COMMIT, number, request, timeout_s=PATIENCE_S, main=True
        )
        changes = sum(each["changes"] for each in answer["results"])
        told = {**told, "lsn": answer["lsn"], "changes": changes, "lease": None}
    elif control:
        await console.ask(name, words.ROLLBACK, number, timeout_s=ATTEMPT_S, main=True)
        told |= {"lease": None, "did": control}
    else:
        told |= await console.ask(
            name, words.EXECUTE, number, sql, [], timeout_s=PATIENCE_S, main=True
        )
    return {"node": name, "role": PRIMARY, **told}


SQL: Final = Statements("database tier", run_statement)
