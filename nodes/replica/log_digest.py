"""What a member says of its log, so that somebody can see whether all logs agree. Pure."""

from __future__ import annotations

import zlib
from typing import Any, Final

from protocols.replication.replica import Replica

MAX_RECORDS: Final = 10_000


def log_digest(core: Replica) -> dict[str, Any]:
    """The newest committed records in short: `first_lsn`, and an epoch and a checksum of each."""
    storage = core.storage
    last_lsn = min(core.visible_lsn, storage.last_lsn)
    first_lsn = max(storage.first_lsn, last_lsn - MAX_RECORDS + 1)
    if first_lsn > last_lsn:
        return {"first_lsn": first_lsn, "records": []}
    entries = storage.entries(first_lsn, last_lsn, 1 << 60)
    return {
        "first_lsn": first_lsn,
        "records": [[epoch, zlib.crc32(payload, kind)] for epoch, _, kind, payload in entries],
    }
