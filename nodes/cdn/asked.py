"""A request as an edge sees it, and what of it the origin is told. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from protocols.caching import fields, policy, ranges
from protocols.caching.keys import UNKEYED, Key, key
from protocols.caching.policy import Policy
from protocols.caching.validating import CONDITIONS, ORIGINS
from protocols.http.message import Request

READING: Final = frozenset({"GET", "HEAD"})
EMU: Final = "x-emu-"
TOKEN: Final = "x-emu-token"
"""What a client last wrote: only the site can say what that means."""
VIA: Final = "via"
PATH: Final = "x-emu-path"
"""The names of the machines so far, for the site's picture of the way."""
HOPS_LEFT: Final = "max-forwards"
HARMLESS: Final = frozenset({"close", *fields.HOP_BY_HOP})
"""What `Connection` may name: nothing by which answers differ."""
_OURS: Final = frozenset({"content-length", "expect", "host", VIA})
"""What is said anew to the origin."""


class Asked(NamedTuple):
    """`wanted`: the one range that may be cut out of a whole."""

    method: str
    key: Key
    headers: Mapping[str, str]
    policy: Policy
    wanted: ranges.Wanted | None
    bypass: str
    """Why no stored response is an answer, and none to it is stored; empty where one may be."""

    @property
    def shareable(self) -> bool:
        """Whether it may wait for what another request fetches: it wants nothing newer."""
        return not ({"no-cache", "no-store", "max-age"} & self.policy.directives.keys()) and (
            "authorization" not in self.headers
        )


def understood(request: Request) -> Request:
    """Without what its method gives no meaning to: a range of a HEAD (RFC 9110, 14.2)."""
    if request.method == "GET" or "range" not in request.headers:
        return request
    kept = {name: value for name, value in request.headers.items() if name != "range"}
    return replace(request, headers=kept)


def asked(request: Request, *, obey: bool) -> Asked:
    """`obey`: whether the client's own directives count."""
    headers = request.headers
    told = policy.of_request(headers) if obey else Policy()
    wanted = None
    if request.method == "GET" and "range" in headers and "if-range" not in headers:
        wanted = ranges.wanted(headers["range"])
    where = key(headers.get("host", ""), request.target)
    return Asked(request.method, where, headers, told, wanted, _why_bypass(request))


def _why_bypass(request: Request) -> str:
    if request.body:
        return f"a {request.method} with a body"
    if not HARMLESS.issuperset(fields.names(request.headers.get("connection"))):
        return "Connection takes headers away by which answers are kept apart"
    for name in ORIGINS:
        if name in request.headers:
            return f"{name} is the origin's to judge"
    return ""


def upstream(request: Request, name: str, *, cacheable: bool) -> list[tuple[str, str]]:
    """The headers that go on to the origin: none that was meant for us, none by which it could be
    made to answer another question than the one that the answer is kept under; and, where the
    answer may be stored, no condition of this client's."""
    dropped = _OURS | (CONDITIONS if cacheable else frozenset())
    if cacheable and "if-range" in request.headers:
        dropped |= {"range"}  # it says what the range is of, and is the edge's to judge
    kept = [
        pair
        for pair in fields.forwarded(request.headers)
        if pair[0] not in dropped
        and pair[0] not in UNKEYED
        and (not pair[0].startswith(EMU) or pair[0] == TOKEN)
    ]
    left = hops_left(request)
    if left is not None:
        kept = [pair for pair in kept if pair[0] != HOPS_LEFT]
        kept.append((HOPS_LEFT, str(max(0, left - 1))))
    before = request.headers.get(VIA, "")
    via = f"{before}, 1.1 {name}" if before else f"1.1 {name}"
    return [*kept, (VIA, via), (PATH, ", ".join(_passed(via)))]


def hops_left(request: Request) -> int | None:
    """Over how many more machines it may go; None: nobody says, or its method gives that no meaning
    (RFC 9110, 7.6.2)."""
    if request.method not in ("OPTIONS", "TRACE"):
        return None
    return policy.seconds(request.headers.get(HOPS_LEFT, ""))


def _passed(via: str) -> list[str]:
    """Who has had the request in hand."""
    return [word for each in fields.members(via) for word in each.split(" ")[1:2]]


def went_through(request: Request, name: str) -> bool:
    """Whether it has been here: a loop."""
    return name in _passed(request.headers.get(VIA, ""))
