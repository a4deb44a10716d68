"""Making transactions again that a log lost: of records that an old primary had alone, and saved.

What its client did in one transaction is one here; its request id says whether it was done since.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgpack

from nodes.replica.driver import ReplicaDriver
from nodes.replica.family import Outcome
from nodes.replica.group_commit import Gathering
from nodes.replica.recovering import MAKE_AGAIN, REHEARSE, comes_to
from nodes.sql.changes import without
from nodes.sql.state import REQUESTS_TABLE, SqlState, Transaction
from nodes.wire.admin import Admin
from nodes.wire.service import Call
from protocols.errors import RpcError


class Engine(Protocol):
    """Whose they are made at (database.SqlEngine)."""

    driver: ReplicaDriver
    writes: Gathering[Transaction]

    @property
    def sql(self) -> SqlState: ...
    async def wait_for_lease(self, call: Call) -> None: ...


class Recovering:
    """Of one member."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add_methods(self, admin: Admin) -> None:
        admin.add(REHEARSE, self._rehearse)
        admin.add(MAKE_AGAIN, self._make_again)

    async def _rehearse(self, call: Call, records: list[list[Any]]) -> list[list[Any]]:
        """What would come of each, one after the other. Raises RpcError."""
        driver = self._engine.driver
        driver.check_can_read()
        each_of = [transactions_of(*record) for record in records]
        flat = [transaction for each in each_of for transaction in each]
        outcomes = iter(self._engine.sql.rehearse_all(flat))
        found = [_judged([next(outcomes) for _ in each]) for each in each_of]
        await driver.visible(driver.state_lsn)
        return found

    async def _make_again(self, call: Call, name: str, payload: bytes) -> list[Any]:
        """What came of it. Raises RpcError, after which it may be asked again."""
        outcomes = []
        for each in transactions_of(name, payload):
            await self._engine.wait_for_lease(call)
            known = self._engine.sql.known_request(each.request_id)
            try:
                await self._engine.writes.add(each).wait()
                outcomes.append(Outcome([], None, known["lsn"] if known else None))
            except RpcError as error:
                if error.code not in ("refused", "bad_request", "too_large"):
                    raise
                outcomes.append(Outcome([], error))
        return _judged(outcomes)


def _judged(outcomes: Sequence[Outcome]) -> list[Any]:
    """Of all transactions of a record: there (they were known), made, or refused, and why."""
    refused = [str(each.refusal.message) for each in outcomes if each.refusal is not None]
    there = sum(each.repeated_lsn is not None for each in outcomes)
    return comes_to(len(outcomes), there, refused)


def transactions_of(name: str, record: bytes) -> list[Transaction]:
    """Those of a record. `name`: of the record, for those whose client gave them no id."""
    parts: list[tuple[str, bytes]] = msgpack.unpackb(record)
    found = []
    for place, (_, changes) in enumerate(parts):
        rows, requests = without(changes, REQUESTS_TABLE) if changes else (b"", [])
        mine = requests[-1][-3:] if requests else (f"{name}/{place}", 0, None)  # behind its rowid
        request_id, _, results = mine
        told = msgpack.unpackb(results) if results else ()
        found.append(Transaction([], request_id, rows, told))
    statements = [[sql] for sql, _ in parts if sql]
    if statements:  # a change of the schema is a record of its own
        return [Transaction(statements, found[-1].request_id)]
    return [each for each in found if each.rows]
