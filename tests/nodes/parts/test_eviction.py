"""Eviction policies, against an independent implementation's answers and against slow twins."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.parts.eviction import POLICIES, Eviction, eviction_named
from tests.nodes.parts import eviction_outcomes
from tests.nodes.parts.eviction_outcomes import TRACES, as_hex

ALL = sorted(POLICIES)


def hits(cache: Eviction[Any], requests: Iterable[tuple[Any, int]]) -> list[bool]:
    """A look-aside cache: what is missed is put."""
    found = []
    for key, size_bytes in requests:
        found.append(key in cache)
        if found[-1]:
            cache.touch(key)
        else:
            cache.put(key, size_bytes)
    return found


def zipf(requests: int, keys: int, seed: int = 1) -> list[tuple[str, int]]:
    weights = [1 / (rank + 1) for rank in range(keys)]
    drawn = random.Random(seed).choices(range(keys), weights, k=requests)
    return [(str(key), 1) for key in drawn]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("trace", sorted(TRACES))
def test_each_request_is_answered_as_libcachesim_answers_it(name: Any, trace: str) -> None:
    cache: Eviction[Any] = eviction_named(name, TRACES[trace].limit_bytes)
    ours = as_hex(hits(cache, TRACES[trace].made()))
    assert ours == eviction_outcomes.read()[trace][name]


def test_hit_ratios_are_the_published_ones() -> None:
    """Zipf 1.0, 1,000 keys, room for a tenth; published of a million requests."""
    requests = zipf(30_000, 1000)
    for name, ratio in {"fifo": 0.520, "lru": 0.575, "sieve": 0.671, "s3fifo": 0.657}.items():
        found = hits(POLICIES[name](100), requests)  # type: ignore[index]
        assert sum(found) / len(found) == pytest.approx(ratio, abs=0.012), name


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("size_bytes", [1, 1000])
def test_a_cache_of_ten_objects_works(name: Any, size_bytes: int) -> None:
    cache = eviction_named(name, 10 * size_bytes)
    found = hits(cache, [(key, size_bytes) for key, _ in zipf(5000, 100)])
    assert len(cache) == 10
    assert sum(found) / len(found) > 0.25, "a tenth of the keys have more than half of the requests"


@pytest.mark.parametrize("name", ALL)
def test_what_is_as_large_as_the_cache_fits_and_what_is_larger_is_refused(name: Any) -> None:
    cache = eviction_named(name, 100)
    cache.put("small", 1)
    assert cache.put("large", 100) == ["small"]
    assert list(cache) == ["large"]
    with pytest.raises(ValueError, match="101 bytes do not fit into 100"):
        cache.put("too large", 101)
    assert list(cache) == ["large"], "nobody had to leave for it"


def test_the_oldest_leaves_unless_it_was_read_as_each_policy_has_it() -> None:
    left = {}
    for name in ALL:
        cache = eviction_named(name, 30)
        for key in "abc":
            cache.put(key, 10)
        cache.touch("a")
        cache.touch("a")
        left[name] = cache.put("d", 10)
    assert left == {"fifo": ["a"], "lru": ["b"], "sieve": ["b"], "s3fifo": ["b"]}


@pytest.mark.parametrize("name", ALL)
def test_who_grows_stays_and_others_make_room(name: Any) -> None:
    cache = eviction_named(name, 30)
    for key in "abc":
        cache.put(key, 10)
    left = cache.put("b", 25)
    assert sorted(left) == ["a", "c"] and list(cache) == ["b"] and cache.used_bytes == 25
    assert cache.put("b", 5) == [] and cache.used_bytes == 5


def test_s3fifo_takes_who_comes_back_into_its_main_queue() -> None:
    """One scan of many others does not push out who was seen before."""
    cache = eviction_named("s3fifo", 20)
    hits(cache, [(f"first-{number}", 1) for number in range(20)])
    hits(cache, [("wanted", 1), *((f"scan-{number}", 1) for number in range(4))])
    assert "wanted" not in cache, "new, and not read again"
    cache.put("wanted", 1)
    hits(cache, [(f"scan-{number}", 1) for number in range(4, 14)])
    assert "wanted" in cache


# --- against slow twins --------------------------------------------------------------------------


class SlowTwin:
    """FIFO, LRU and SIEVE as one would tell them, on a list from the oldest to the newest."""

    def __init__(self, name: str, limit: int) -> None:
        self.name, self.limit = name, limit
        self.line: list[str] = []
        self.sizes: dict[str, int] = {}
        self.visited: dict[str, bool] = {}
        self.hand: str | None = None

    def touch(self, key: str) -> None:
        self.visited[key] = True
        if self.name == "lru":
            self.line.append(self.line.pop(self.line.index(key)))

    def remove(self, key: str) -> None:
        if self.hand == key:
            later = self.line[self.line.index(key) + 1 :]
            self.hand = later[0] if later else None
        if key in self.line:
            self.line.remove(key)
            del self.sizes[key]

    def put(self, key: str, size: int) -> list[str]:
        if key in self.line:
            self.touch(key)
            self.sizes[key] = size
            left = self.make_room(self.limit)
            if key in self.line:
                return left
            left.remove(key)
            return left + self.put(key, size)
        left = self.make_room(self.limit - size)
        self.line.append(key)
        self.sizes[key] = size
        self.visited[key] = False
        return left

    def make_room(self, most: int) -> list[str]:
        left = []
        while sum(self.sizes.values()) > most:
            at = self.line.index(self.hand) if self.hand else 0
            while self.name == "sieve" and self.visited[self.line[at]]:
                self.visited[self.line[at]] = False
                at = (at + 1) % len(self.line)
            left.append(self.line[at])
            if self.name == "sieve":
                self.hand = left[-1]
            self.remove(left[-1])
        return left


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["get", "get", "get", "put", "remove"]),
        st.sampled_from("abcdefghijkl"),
        st.integers(0, 12),
    ),
    max_size=120,
)


@pytest.mark.parametrize("name", ["fifo", "lru", "sieve"])
@given(steps=STEPS, limit=st.integers(12, 60))
@settings(max_examples=40, deadline=None)
def test_it_does_what_its_slow_twin_does(name: Any, steps: Any, limit: int) -> None:
    cache, twin = eviction_named(name, limit), SlowTwin(name, limit)
    for step, key, size in steps:
        if step == "remove":
            assert cache.remove(key) == (key in twin.sizes)
            twin.remove(key)
        elif step == "put" or key not in cache:
            assert cache.put(key, size) == twin.put(key, size)
        else:
            cache.touch(key)
            twin.touch(key)
        assert list(cache) == twin.line


@pytest.mark.parametrize("name", ALL)
@given(steps=STEPS, limit=st.integers(12, 60))
@settings(max_examples=40, deadline=None)
def test_bytes_are_counted_and_never_too_many(name: Any, steps: Any, limit: int) -> None:
    cache, sizes = eviction_named(name, limit), dict[str, int]()
    for step, key, size in steps:
        if step == "remove":
            assert cache.remove(key) == (sizes.pop(key, None) is not None)
        elif step == "put" or key not in cache:
            for each in cache.put(key, size):
                del sizes[each]
            sizes[key] = size
        else:
            cache.touch(key)
        assert sorted(cache) == sorted(sizes) and len(cache) == len(sizes)
        assert all(each in cache for each in sizes)
        assert cache.used_bytes == sum(sizes.values()) <= limit


@pytest.mark.parametrize("name", ALL)
@given(steps=STEPS, limit=st.integers(12, 60))
@settings(max_examples=40, deadline=None)
def test_who_is_put_again_is_there_and_leaves_no_earlier_than_if_it_was_read(
    name: Any, steps: Any, limit: int
) -> None:
    """As large as before it costs nobody its place."""
    one, other, sizes = eviction_named(name, limit), eviction_named(name, limit), dict[str, int]()
    for step, key, size in steps:
        if step == "remove":
            assert one.remove(key) == other.remove(key)
        elif step == "put" and key in one:
            assert one.put(key, sizes[key]) == []
            other.touch(key)
        else:
            assert one.put(key, size) == other.put(key, size)
            sizes[key] = size
            assert key in one
        assert list(one) == list(other) and one.used_bytes == other.used_bytes
