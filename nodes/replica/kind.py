"""What all kinds have in common whose members keep one log together: roles, who leads, and what is
to be said of too few members."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from nodes.kind import Caution, Fact, Leader, Mark, Mistake, TierSeen, unknown_regions
from nodes.replica.event_words import (
    DIVERGED,
    FILLED,
    LOG_DAMAGED,
    PROMOTED,
    REFUSED,
    STATE_STOPPED,
)
from nodes.replica.segments import LOG
from nodes.replica.snapshot_files import SNAPSHOT
from protocols.replication.replica import PRIMARY

ROLES: Final = (PRIMARY, "replica")
LEADER: Final = Leader(
    PRIMARY, PROMOTED, "voters", "detection_timeout_s", "serves", FILLED, ("applied_lsn", "lsn")
)
FACTS: Final = (
    Fact(
        "epoch",
        ("ps", "page"),
        text="How often the group has elected somebody to lead it, as far as this member knows.",
    ),
    Fact("lsn", ("ps",), text="The number of the last record in its log (log sequence number)."),
    Fact(
        "lag_s",
        ("ps", "top", "page"),
        of_others="lags_s",
        text="How old its state may be: it has all that was acknowledged so long ago.",
    ),
    Fact(
        "disk",
        ("ps", "page"),
        text="`full` while its disk takes no more records: writes are refused.",
    ),
)
WORDS: Final = {
    "primary": "The member that leads its group: it alone takes writes, in one order for all.",
    "replica": "A member that repeats what the primary does, and may be elected when that is gone.",
    "candidate": "A member that has heard no primary for `detection_timeout`, and asks for votes.",
    "follower": "What elections call a member that follows the primary of its epoch: a replica.",
    "quorum": "More than half of those who vote: who is elected, and (`ack: quorum`) what is "
    "acknowledged, is known to so many that any two such majorities share a member.",
    "learner": "A member that follows the log and does not vote: a spare, or one that catches up.",
    "witness": "A member that votes and keeps no data: it makes a majority possible.",
    "voter": "A member whose vote counts in elections, and whose copy counts for `ack: quorum`.",
    "promoted": "It was elected: it leads its group from then on.",
    "failover": "Another member leads the group after its primary was gone.",
    "acknowledged": "Told to be done: whoever wrote may count on it (`ack` says what it is worth).",
    "divergent": "Records that a former primary has and its group does not: they are cut from its "
    "log when it comes back, and saved beside it.",
}
DAMAGED: Final = (LOG, SNAPSHOT)
LEAST_DETECTION_S: Final = 0.01
"""Heartbeats come several times as often: below, they would be all that a laptop does."""

MOST_DETECTION_S: Final = 600.0
"""Nobody leads a group that was just started for as long."""

RANK_RATIO: Final = 0.5
"""Of the detection time: an election across an ocean fits in it."""


def expect_detection(timeout_s: float) -> None:
    """Raises ValueError for a `detection_timeout` that no group could keep."""
    if timeout_s < LEAST_DETECTION_S:
        raise ValueError(f"`detection_timeout` must be at least {LEAST_DETECTION_S * 1000:g}ms")
    if timeout_s > MOST_DETECTION_S:
        raise ValueError(f"`detection_timeout` must be at most {MOST_DETECTION_S:g}s")


def failover_delay_s(prefers: Sequence[str], region: str, detection_timeout_s: float) -> float:
    """How much longer a member of that region bears a primary's silence than those of the regions
    that are preferred to it: in the meantime one of them has mostly been elected."""
    if not prefers:
        return 0.0
    rank = prefers.index(region) if region in prefers else len(prefers)
    return rank * RANK_RATIO * detection_timeout_s


ALARMING: Final = (LOG_DAMAGED, STATE_STOPPED, REFUSED)
"""A log that cannot be read, a record that does not fit the state that all logs agree on, a primary
that would cut what a majority has."""
MARKS: Final = (
    Mark(PROMOTED, "promotion", text="is promoted to primary (epoch {epoch})"),
    Mark(DIVERGED, text="cuts {records} records that the group lacks"),
)


def _no_failover(tier: TierSeen) -> Iterator[Caution]:
    votes = tier.nodes - _count(tier, "spares")
    if votes == 2 and not getattr(tier.config, "witness", None):
        two = "is a group of two" if votes == tier.nodes else "has two votes"
        what = f"`{tier.name}` {two}: no automatic failover (one alone is no majority)"
        yield Caution(f"{what}; give it another node, which may be a witness")


def disks_to_spare(config: Any, members: int) -> int:
    """Those who are left have all that was acknowledged, and can elect."""
    data = members - getattr(config, "witnesses", 0) - getattr(config, "spares", 0)
    return max(0, (data - 1) // 2)


def idle_nodes(tier: TierSeen) -> Iterator[Mistake]:
    """For a kind with `witnesses` and `spares`: somebody has to have the data; and a spare has
    nobody's place to take where one voter has it, for that one would have to let it in."""
    witnesses, spares = _count(tier, "witnesses"), _count(tier, "spares")
    aside = witnesses + spares
    what = f"`{tier.name}` has {tier.nodes} nodes: {witnesses} witnesses and {spares} spares"
    if tier.nodes and aside and aside >= tier.nodes:
        advice = f"give it `nodes: {aside + 1}` or more, or fewer of those"
        option = "witnesses" if witnesses else "spares"
        yield Mistake(option, f"{what} leave none for data; {advice}")
    elif spares and tier.nodes == aside + 1:
        least = 2 if witnesses else 3
        why = "leave one voter with data: when it is gone, no spare can take its place"
        yield Mistake("spares", f"{what} {why}; give it `nodes: {aside + least}`, or no spares")


def unknown_preferences(tier: TierSeen) -> Iterator[Mistake]:
    """Of a kind that `prefers` regions."""
    yield from unknown_regions(tier, "prefers", tier.config.prefers)


def unfit(tier: TierSeen) -> Iterator[Mistake]:
    """What a file can get wrong of a database."""
    yield from idle_nodes(tier)
    yield from unknown_preferences(tier)


def _count(tier: TierSeen, option: str) -> int:
    """How many of its nodes an option sets aside; not every kind has all of them."""
    return int(getattr(tier.config, option, 0))


CAUTIONS: Final[Mapping[str, Callable[[TierSeen], Iterator[Caution]]]] = {
    "no-failover": _no_failover,
}
