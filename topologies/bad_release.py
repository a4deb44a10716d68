"""A release of the site that should not have been: it says that it is well, and fails at the rest.
`emu deploy web --app bad_release:app --canary 25%` of step 12 finds out.
"""

from __future__ import annotations

from typing import Any

from protocols.http.message import Request, Response


async def app(request: Request, services: Any) -> Response:
    """Health checks are answered; whatever users ask meets a bug."""
    if request.path.startswith("/health/"):
        return Response(200, body=b"ok\n")
    return Response(500, body=b"this release has a bug\n")
