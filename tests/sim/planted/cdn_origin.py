"""The origin of `workload: pages`: an app whose pages say when they were made, and for whom."""

from __future__ import annotations

import json
from typing import Any

from nodes.cdn.workloads import HEAD_BYTES, PAGE_BYTES
from protocols.http.message import Request, Response

PERIOD_S = 2.0
"""So long a page with a validator is the same."""
SLOW = "1"
"""The pages with this number take their time after they were made, so that purges overtake them."""
SLOW_S = 0.7
VALIDATED = ("etag", "part", "plain")
POLICIES = {
    "plain": ("max-age=600", 600.0),
    "etag": ("max-age=1", 1.0),
    "mine": ("max-age=600", 600.0),
    "language": ("max-age=600", 600.0),
    "part": ("max-age=600", 600.0),
    "tagged": ("max-age=600", 600.0),
    "stale": ("max-age=1, stale-while-revalidate=1, stale-if-error=3", 4.0),
}


async def app(request: Request, services: Any) -> Response:
    now_s = services.ctx.clock.monotonic_s()
    _, kind, number = request.path.split("/")
    if number == SLOW:
        await services.ctx.clock.sleep(SLOW_S)
    made_s = now_s // PERIOD_S * PERIOD_S if kind in VALIDATED else now_s
    caching, allowed_s = POLICIES[kind]
    tag = f'"{kind}-{made_s:g}"'
    headers = [("cache-control", caching)]
    if kind == "tagged":
        headers.append(("cache-tag", f"{kind}{number}"))
    if kind in VALIDATED:
        headers.append(("etag", tag))
        if tag in request.headers.get("if-none-match", ""):
            return Response(304, tuple(headers))
    if kind == "language":
        headers.append(("vary", "accept-language"))
    told = {
        "made_s": made_s,
        "same_s": PERIOD_S if kind in VALIDATED else 0.0,
        "allowed_s": allowed_s,
        "user": request.headers.get("authorization", "").removeprefix("Basic ") or None,
        "language": request.headers.get("accept-language"),
    }
    line = json.dumps(told).encode()
    body = line.ljust(HEAD_BYTES) + b"0123456789" * ((PAGE_BYTES - HEAD_BYTES) // 10)
    wanted = request.headers.get("range", "")
    if wanted.startswith("bytes="):
        first, last = (int(each) for each in wanted[6:].split("-"))
        headers.append(("content-range", f"bytes {first}-{last}/{PAGE_BYTES}"))
        return Response(206, tuple(headers), body[first : last + 1])
    return Response(200, tuple(headers), body)
