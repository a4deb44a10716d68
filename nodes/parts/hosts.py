"""By which names a site is found: those that are given out by who is asked, and others, of which
nobody would ever come."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from nodes.kind import Mistake, TierSeen
from protocols import dns

_NUMBER: Final = re.compile(r"-\d+\.")


def given_out(tier: TierSeen, edge: str) -> tuple[str, ...]:
    """The names that those give out whom the edge names, the site's first."""
    return tuple(
        host
        for each in tier.reached[edge]
        if each.kind.hosts is not None
        for host in each.kind.hosts(each.config)
    )


def unknown(tier: TierSeen, option: str, names: Iterable[str], edge: str) -> Iterator[Mistake]:
    """Those of the names of an option that nobody gives out whom the edge names."""
    known = given_out(tier, edge)
    asked = ", ".join(each.name for each in tier.reached[edge])
    for name in names if known else ():
        try:
            canonical = dns.canonical(name)
        except ValueError as error:
            yield Mistake(option, f"`{option}`: {error}")
            continue
        of_its_tier = _NUMBER.sub(".", canonical, count=1)
        if canonical not in known and of_its_tier not in known:
            what = f"`{option}`: `{asked}` knows no `{name}`, so nobody would find the site"
            yield Mistake(option, f"{what}; leave it out, or choose from {', '.join(known)}")
