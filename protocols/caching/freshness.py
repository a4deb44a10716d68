"""How old a response is, for how long it is fresh (RFC 9111, 4.2), and the rule that says so."""

from __future__ import annotations

from typing import Final, NamedTuple

from protocols.caching import dates
from protocols.caching.fields import Headers, combined, first, members
from protocols.caching.policy import Policy, seconds

HEURISTIC_PART: Final = 0.1
"""Of the time since the last change."""
HEURISTIC_MOST_S: Final = 86_400.0
HEURISTIC: Final = frozenset({200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501})
"""What may be kept though nothing says for how long (RFC 9110, 15.1)."""


class Freshness(NamedTuple):
    """`lifetime_s` from the response's origination on; `rule` as people write it: `max-age=60`."""

    lifetime_s: float
    rule: str
    explicit: bool
    """Whether the origin said it, or it was guessed."""


def lifetime(status: int, headers: Headers, policy: Policy, now_s: float) -> Freshness:
    """`now_s`: when it came, in seconds since 1970, which stands for a Date that is missing."""
    for name in ("s-maxage", "max-age"):
        found = policy.seconds(name)
        if found is not None:
            where = "CDN-Cache-Control " if policy.targeted else ""
            return Freshness(float(found), f"{where}{name}={policy.directives[name]}", True)
    date_s = origination_s(headers, now_s)
    if not policy.targeted:
        expires = combined(headers, "expires")
        if expires is not None:
            until_s = dates.seconds(expires, now_s)
            if until_s is None:
                return Freshness(0.0, "Expires is no date", True)
            return Freshness(
                max(0.0, until_s - date_s), f"Expires {until_s - date_s:.0f} s on", True
            )
    if status not in HEURISTIC and "public" not in policy:
        return Freshness(0.0, "nothing says how long", False)
    return _guessed(headers, date_s, now_s)


def _guessed(headers: Headers, date_s: float, now_s: float) -> Freshness:
    changed_s = dates.seconds(first(headers, "last-modified") or "", now_s)
    if changed_s is None or changed_s >= date_s:
        return Freshness(0.0, "nothing says how long", False)
    guessed_s = min(HEURISTIC_PART * (date_s - changed_s), HEURISTIC_MOST_S)
    return Freshness(guessed_s, f"heuristic: a tenth of {date_s - changed_s:.0f} s", False)


def origination_s(headers: Headers, now_s: float) -> float:
    """When it left the origin, as that says."""
    found = dates.seconds(first(headers, "date") or "", now_s)
    return now_s if found is None else found


def told_age_s(headers: Headers) -> float:
    """`Age`: of a list the first, and nothing where that is no number (RFC 9111, 5.1)."""
    listed = members(combined(headers, "age") or "")
    return float(seconds(listed[0]) or 0) if listed else 0.0


def initial_age_s(headers: Headers, delay_s: float, now_s: float) -> float:
    """How old it was when it came, `delay_s` after it was asked for: the older of what its Date and
    its Age say."""
    apparent_s = max(0.0, now_s - origination_s(headers, now_s))
    return max(apparent_s, told_age_s(headers) + delay_s)
