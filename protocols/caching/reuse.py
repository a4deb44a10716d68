"""What is stored, and what to do about a request for it: answer with it, ask whether it still
holds, or go on without it. Each decision names its rule and that rule's inputs (RFC 9111, 4; RFC
5861).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final, Literal, NamedTuple

from protocols.caching import freshness as fresh
from protocols.caching.fields import Headers
from protocols.caching.policy import Policy
from protocols.caching.ranges import Part
from protocols.caching.selecting import Selecting

Use = Literal["hit", "stale", "validate"]
"""hit: it is fresh. stale: it is not, and may be used while it is asked about. validate: ask
first."""

_NEVER_STALE: Final = ("must-revalidate", "proxy-revalidate", "s-maxage", "no-cache")
"""Each forbids a shared cache to use what is stale, whatever happens (RFC 9111, 4.2.4)."""


@dataclass(slots=True)
class Stored:
    """A response as it is kept."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    policy: Policy
    freshness: fresh.Freshness
    initial_age_s: float
    received_s: float
    """By the clock that never goes back, as every `now_s` here."""
    selecting: Selecting = ()
    part: Part | None = None
    """What of the whole is here, if it is not all of it."""
    tags: tuple[str, ...] = ()
    never_stale: bool = field(init=False)
    by_validation: bool = field(init=False)
    """It must be asked about each time."""

    def __post_init__(self) -> None:
        self.never_stale = any(each in self.policy for each in _NEVER_STALE)
        self.by_validation = self.policy.forbids("no-cache")

    def age_s(self, now_s: float) -> float:
        return self.initial_age_s + max(0.0, now_s - self.received_s)

    def left_s(self, now_s: float) -> float:
        """For how long it is fresh; below 0: for how long it has been stale."""
        return self.freshness.lifetime_s - self.age_s(now_s)


class Decision(NamedTuple):
    use: Use
    why: str


def decide(stored: Stored, request: Policy, now_s: float) -> Decision:
    """What to do with it for a request with these directives."""
    age_s, left_s = stored.age_s(now_s), stored.left_s(now_s)
    told = f"{stored.freshness.rule}, age {age_s:.0f}"
    if "no-cache" in request:
        return Decision("validate", "the request says no-cache")
    if stored.by_validation:
        return Decision("validate", "no-cache")
    most_s = request.seconds("max-age")
    if most_s is not None and age_s >= most_s:
        return Decision("validate", f"the request says max-age={most_s}, age {age_s:.0f}")
    ahead_s = request.seconds("min-fresh")
    if ahead_s is not None and left_s < ahead_s:
        return Decision("validate", f"the request says min-fresh={ahead_s}, {left_s:.0f} s left")
    if left_s > 0:
        return Decision("hit", told)
    return _of_stale(stored, request, -left_s, told)


def _of_stale(stored: Stored, request: Policy, over_s: float, told: str) -> Decision:
    if stored.never_stale:
        rule = next(each for each in _NEVER_STALE if each in stored.policy)
        return Decision("validate", f"stale: {told}; {rule}")
    if "max-stale" in request:
        most_s = request.seconds("max-stale") if request.directives["max-stale"] else None
        if most_s is None or over_s <= most_s:
            return Decision("hit", f"stale, but the request says max-stale: {told}")
    while_s = stored.policy.seconds("stale-while-revalidate") or 0
    if over_s < while_s and "max-age" not in request and "min-fresh" not in request:
        return Decision("stale", f"{told}; stale-while-revalidate={while_s}")
    return Decision("validate", f"stale: {told}")


def stale_if_error(stored: Stored, request: Policy, now_s: float, unsaid_s: float = 0.0) -> str:
    """Why it may be used, stale as it is, since the origin fails; empty: it may not.

    `unsaid_s` is what the operator allows where the origin says nothing.
    """
    if stored.never_stale or "no-cache" in request:
        return ""
    over_s = max(0.0, -stored.left_s(now_s))
    said = [
        each.seconds("stale-if-error")
        for each in (stored.policy, request)
        if "stale-if-error" in each
    ]
    allowed = [each for each in said if each is not None]
    most_s = float(max(allowed)) if allowed else unsaid_s
    if over_s >= most_s:
        return ""
    rule = "stale-if-error" if allowed else "grace"
    return f"{stored.freshness.rule}, age {stored.age_s(now_s):.0f}; {rule}={most_s:g}"


def renewed(
    stored: Stored, headers: Headers, policy: Policy, freshness: fresh.Freshness,
    initial_age_s: float, now_s: float, selecting: Selecting, tags: tuple[str, ...],
) -> Stored:  # fmt: skip
    """The same content with new fields: a 304 has confirmed it."""
    return replace(
        stored, headers=list(headers), policy=policy, freshness=freshness,
        initial_age_s=initial_age_s, received_s=now_s, selecting=selecting, tags=tags,
    )  # fmt: skip


def with_fields(stored: Stored, own: Headers) -> Stored:
    """The same with these fields in place of those of the same names."""
    replaced = {name for name, _ in own}
    kept = [pair for pair in stored.headers if pair[0] not in replaced]
    return replace(stored, headers=[*kept, *own])
