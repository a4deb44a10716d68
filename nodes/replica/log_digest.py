"""What a member says of its log, so that somebody can see whether all logs agree."""

from __future__ import annotations

import zlib
from typing import Any, Final

from nodes.replica.driver import ReplicaDriver

MAX_RECORDS: Final = 10_000


async def log_digest(driver: ReplicaDriver) -> dict[str, Any]:
    """The newest committed records in short: `first_lsn`, and an epoch and a checksum of each."""
    storage = driver.storage
    last_lsn = min(driver.core.visible_lsn, storage.last_lsn)
    first_lsn = max(storage.first_lsn, last_lsn - MAX_RECORDS + 1)
    records: list[list[int]] = []
    while entries := await driver.records(first_lsn + len(records), last_lsn):
        records += [[epoch, zlib.crc32(payload, kind)] for epoch, _, kind, payload in entries]
    return {"first_lsn": first_lsn, "records": records}
