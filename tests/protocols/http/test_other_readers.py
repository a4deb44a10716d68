"""What we read, h11 and httptools read too, and as the same; what both read, we refuse only for a
reason that is known."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from tests.protocols.http.mutations import mutated
from tests.protocols.http.readers import LIMITS, Read, Refused, by_h11, by_httptools, ours

OURS_ALONE = (
    "is not spoken here",
    "no tunnels here",
    "CONNECT takes HOST:PORT",
    "only OPTIONS may ask `*`",
    "the target is neither a path nor an http:// one",
    "the Host is no host, or more than one",
    "HTTP/1.0 knows no chunks",
    f"the body is over {LIMITS.max_body_bytes} bytes",
)
"""Why we refuse what both others read."""
EMPTY_LINES = re.compile(rb"\A(?:\r?\n)+")
"""Which h11 does not skip before a request."""


def judge(data: bytes, rng: random.Random) -> str:
    """What came of it; fails where the readers disagree."""
    mine = ours(data)
    assert ours(data, pieces=rng.randrange(1, 20)) == mine, data
    said = EMPTY_LINES.sub(b"", data, count=1)
    one, other = by_h11(said), by_httptools(data)
    if isinstance(mine, Read):
        assert one == mine, data
        assert other == mine or not isinstance(other, Read), data
        return "read"
    if isinstance(one, Read) and isinstance(other, Read):
        assert isinstance(mine, Refused), data
        assert mine.reason.endswith(OURS_ALONE), (mine, data)
    return str(mine.status) if isinstance(mine, Refused) else "more"


def judge_many(seed: str, count: int) -> dict[str, int]:
    rng, found = random.Random(seed), dict[str, int]()
    for _ in range(count):
        outcome = judge(mutated(rng), rng)
        found[outcome] = found.get(outcome, 0) + 1
    return found


def test_mutated_requests_are_read_as_others_read_them() -> None:
    found = judge_many("sample", 3_000)
    assert set(found) >= {"read", "400", "501", "505", "more"}
    assert found["read"] > 200


@pytest.mark.soak
@pytest.mark.parametrize("part", range(10))
def test_a_million_mutated_requests_are_read_as_others_read_them(
    part: int, record_property: Any
) -> None:
    record_property("figures", judge_many(f"soak/{part}", 100_000))
