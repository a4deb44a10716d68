"""What caches hear of a database's log: the keys that committed transactions made old, in order.

Answered by any member that has the data. What a cache does with them is the caches' business.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgpack

from nodes.base import Context
from nodes.parts.timing import move_on_after
from nodes.replica.driver import ReplicaDriver
from nodes.sql.changes import INSERT
from protocols import database as words
from protocols.errors import RpcError
from protocols.replication.log import DATA, Entry

MAX_WAIT_S: Final = 5.0


def old_keys_of(entries: Iterable[Entry]) -> Iterator[str]:
    """The keys that these records' transactions added to the table of old keys."""
    for _, _, kind, payload in entries:
        if kind != DATA:
            continue
        for _, packed in msgpack.unpackb(payload):
            for what, table, _, rows in msgpack.unpackb(packed) if packed else ():
                if what == INSERT and table == words.OLD_KEYS:
                    yield from (row[0] for row in rows if isinstance(row[0], str))


class Feed:
    """One member's answers."""

    def __init__(self, ctx: Context, driver: ReplicaDriver) -> None:
        self._ctx = ctx
        self._driver = driver

    async def changes(
        self,
        call: Any,
        after_lsn: int | None = None,
        after_epoch: int = 0,
        options: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """See protocols/database.py. Raises RpcError."""
        driver = self._driver
        if driver.config.witness:
            raise RpcError("not_primary", "a witness has no data", driver.core.primary)
        wait_ms = (options or {}).get("wait_ms", 0)
        if type(wait_ms) is not int or wait_ms < 0:
            raise RpcError("bad_request", "`wait_ms` is a whole number of at least 0")
        if after_lsn is not None and self._knows(after_lsn, after_epoch):
            with move_on_after(self._ctx.clock, min(wait_ms / 1000, MAX_WAIT_S)):
                await driver.applied(after_lsn + 1)
        return await self._answer(after_lsn, after_epoch)

    def _knows(self, lsn: int, epoch: int) -> bool:
        """Whether what follows that record is what follows it here."""
        return self._driver.storage.epoch_at(lsn) == epoch

    async def _answer(self, after_lsn: int | None, after_epoch: int) -> dict[str, Any]:
        driver = self._driver
        if driver.is_primary:
            driver.check_can_read()
        lag_s = driver.lag_s()  # looked at before what is visible: the answer is no older
        lag_ms = int(min(lag_s * 1000 + (not driver.is_primary), words.MAX_LAG_MS))
        lsn = min(driver.core.visible_lsn, driver.storage.last_lsn)
        told: dict[str, Any] = {"lag_ms": lag_ms, "keys": []}
        if after_lsn is not None and after_lsn > lsn and not driver.is_primary:
            raise RpcError("unavailable", f"this replica has not reached LSN {after_lsn} yet")
        if after_lsn is None or not self._knows(after_lsn, after_epoch):
            epoch = driver.storage.epoch_at(lsn)
            if epoch is None:
                raise RpcError("unavailable", "this member has no log to follow yet")
            return {**told, "lsn": lsn, "epoch": epoch, "gone": after_lsn is not None}
        if lsn <= after_lsn:
            return {**told, "lsn": after_lsn, "epoch": after_epoch, "gone": False,
                    "lag_ms": lag_ms if lsn == after_lsn else words.MAX_LAG_MS}  # fmt: skip
        entries = await driver.records(after_lsn + 1, lsn)
        if not entries:
            raise RpcError("unavailable", "the log was cut while it was read")
        last_epoch, last_lsn, _, _ = entries[-1]
        if last_lsn < lsn:
            told["lag_ms"] = words.MAX_LAG_MS  # there is more to come
        told["keys"] = list(dict.fromkeys(old_keys_of(entries)))
        return {**told, "lsn": last_lsn, "epoch": last_epoch, "gone": False}
