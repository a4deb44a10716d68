"""What we read, h11 and httptools read too, and as the same; what both read, we refuse only where
protocols/http/head.py or protocols/http/chunks.py say why."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from protocols.http.chunks import Framing
from protocols.http.head import BLANK, refusal
from tests.protocols.http.mutations import mutated
from tests.protocols.http.readers import LIMITS, Read, Refused, by_h11, by_httptools, ours

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
        assert is_ours_alone(said) or len(one.body) > LIMITS.max_body_bytes, data
    return str(mine.status) if isinstance(mine, Refused) else "more"


def is_ours_alone(data: bytes) -> bool:
    """Whether the head is refused, or the framing of a body in chunks."""
    end = BLANK.search(data)
    if end is None:
        return False
    framing = Framing(LIMITS.max_body_bytes)
    framing.take(data[end.end() :])
    in_chunks = b"chunked" in data[: end.start()].lower()
    return bool(refusal(data[: end.start()]) or (in_chunks and framing.refusal))


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
