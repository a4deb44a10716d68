"""Pages for whoever looks at caches: each says when it was made (protocols/caching/dated.py)."""

from __future__ import annotations

from typing import Final

from nodes.base import Clock
from protocols.caching import dated
from protocols.errors import RpcError
from protocols.http.message import Request, Response

SLOW: Final = "/1"
"""The pages with this number take their time after they were made, so that purges overtake them."""
SLOW_S: Final = 0.7


async def answer(request: Request, clock: Clock) -> Response:
    made = dated.page(request, clock.monotonic_s())
    if made is None:
        raise RpcError("not_found", f"no such page; after {dated.ROOT}: {', '.join(dated.CLASSES)}")
    if request.path.endswith(SLOW):
        await clock.sleep(SLOW_S)
    return made
