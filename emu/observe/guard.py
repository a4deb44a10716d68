"""Who may ask what of the observe port. Pure.

A web page elsewhere must not be able to read or break a cluster through its user's browser: its
name resolved to us shows in Host, its own address in Origin, and it does not know the token.
"""

from __future__ import annotations

import ipaddress
import secrets
from typing import Final
from urllib.parse import urlsplit

from protocols.http.message import Request

TOKEN_HEADER: Final = "x-emu-token"
SAFE_METHODS: Final = ("GET", "HEAD")
HEADERS: Final = (
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    (
        "content-security-policy",
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
)
"""What every page of ours tells the browser to refuse."""


def refusal(request: Request, token: str) -> tuple[int, str, str] | None:
    """Why not: (status, error code, message); None if it may be answered."""
    host = request.headers.get("host", "")
    if not is_loopback(host):
        return 421, "refused", f"ask for this by its loopback address, not as {host[:100]!r}"
    if request.method in SAFE_METHODS:
        return None
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != host:
        return 403, "unauthorized", "this comes from a page elsewhere"
    given = request.headers.get(TOKEN_HEADER, "")
    if not secrets.compare_digest(given.encode(), token.encode()):
        return 403, "unauthorized", "changing something needs the run's token: `emu up` printed it"
    return None


def is_loopback(host: str) -> bool:
    """Whether a Host header names this computer by a loopback address, or as localhost."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
