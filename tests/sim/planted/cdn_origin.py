"""The origin of `workload: pages`, without the rest of the site."""

from __future__ import annotations

from typing import Any

from nodes.site import dated
from protocols.http.message import Request, Response


async def app(request: Request, services: Any) -> Response:
    return await dated.answer(request, services.ctx.clock)
