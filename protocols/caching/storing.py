"""Whether a response may be stored by a shared cache, and if not, which rule forbids it (RFC 9111,
3).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from protocols.caching.fields import HOP_BY_HOP, Headers, combined, first, names
from protocols.caching.freshness import HEURISTIC, Freshness
from protocols.caching.policy import Policy
from protocols.caching.selecting import ANY

UNDERSTOOD: Final = frozenset(
    {
        *range(200, 209), 226, *range(300, 305), 307, 308, *range(400, 419), *range(421, 427),
        428, 429, 431, 451, *range(500, 509), 510, 511,
    }
)  # fmt: skip
"""The final statuses that there are."""
PARTIAL: Final = 206
NOT_MODIFIED: Final = 304
UNSATISFIABLE: Final = 416
_OF_THE_HOP: Final = frozenset({"age", "cache-status"})
"""What is written anew for each answer."""


def why_not(
    method: str,
    request: Mapping[str, str],
    request_policy: Policy,
    status: int,
    headers: Headers,
    policy: Policy,
    freshness: Freshness,
) -> str:
    """In words; empty if it may be stored."""
    if method != "GET":
        return f"{method} is not stored"
    if status == NOT_MODIFIED or status < 200:
        return f"status {status} is no content"
    if status == UNSATISFIABLE:
        return "status 416 is about that range alone"
    must_understand = "must-understand" in policy
    if must_understand and status not in UNDERSTOOD:
        return f"must-understand, and status {status} is not understood"
    if "no-store" in policy and not must_understand:
        return "no-store"
    if policy.forbids("private"):
        return "private"
    if "no-store" in request_policy:
        return "the request says no-store"
    if "authorization" in request and not is_shared(policy):
        return "Authorization, without public, s-maxage or must-revalidate"
    if ANY in names(combined(headers, "vary")):
        return "Vary: *"
    return _why_useless(status, headers, policy, freshness)


def is_shared(policy: Policy) -> bool:
    """Whether the answer to one user's credentials may be given to others (RFC 9111, 3.5)."""
    return any(each in policy for each in ("public", "s-maxage", "must-revalidate"))


def _why_useless(status: int, headers: Headers, policy: Policy, freshness: Freshness) -> str:
    """Nobody could ever be given it."""
    if not freshness.explicit and status not in HEURISTIC and "public" not in policy:
        return f"status {status}, and nothing says how long"
    if not freshness.explicit and first(headers, "set-cookie") is not None:
        return "Set-Cookie, and nothing says how long"
    validated = first(headers, "etag") or first(headers, "last-modified")
    if freshness.lifetime_s > 0 or validated:
        return ""
    if policy.seconds("stale-while-revalidate") or policy.seconds("stale-if-error"):
        return ""
    return f"never fresh ({freshness.rule}), and no validator"


def kept_headers(headers: Headers, policy: Policy) -> list[tuple[str, str]]:
    """What of them is stored: not what was for this hop, nor what is for one alone."""
    dropped = {
        *_OF_THE_HOP,
        *HOP_BY_HOP,
        *names(combined(headers, "connection")),
        *_withheld(policy),
    }
    return [pair for pair in headers if pair[0] not in dropped]


def _withheld(policy: Policy) -> tuple[str, ...]:
    """The fields that `private` and `no-cache` keep from others."""
    return (*policy.fields("private"), *policy.fields("no-cache"))


def for_one(status: int, headers: Headers, policy: Policy) -> list[tuple[str, str]]:
    """What of an answer is not stored, as it is for whoever asked: what `private` and `no-cache`
    keep from others; of a 304 the cookies, too."""
    names = (*_withheld(policy), *(("set-cookie",) if status == NOT_MODIFIED else ()))
    return [pair for pair in headers if pair[0] in names]
