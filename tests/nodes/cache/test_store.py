"""What a cache node keeps and for how long, with time moved by hand."""

from __future__ import annotations

import random
from typing import Any

import pytest

from nodes.cache.leases import Leases
from nodes.cache.listings import MOST_LISTINGS, PAGE_KEYS, Listings, Place
from nodes.cache.store import ENTRY_BYTES, SWEPT_AT_ONCE, CacheStore, StoreConfig


def store_of(**options: Any) -> CacheStore:
    values: dict[str, Any] = {
        "capacity_bytes": 10_000,
        "eviction": "lru",
        "ttl_s": 10.0,
        "ttl_jitter_ratio": 0.0,
        "negative_ttl_s": 1.0,
        "stale_s": 0.0,
        "early": True,
        **options,
    }
    return CacheStore(StoreConfig(**values), random.Random("store"))


def shown(store: CacheStore, key: str, now_s: float) -> Any:
    entry = store.get(key, now_s)
    return entry.value if entry is not None else "nothing"


def test_a_value_is_shown_until_its_time_is_over_and_no_longer() -> None:
    store = store_of()
    store.put("a", 1, 8, 100.0)
    assert shown(store, "a", 109.999) == 1
    assert shown(store, "a", 110.0) == "nothing"
    assert store.expired == 1 and len(store) == 0


def test_what_nobody_reads_gives_its_room_back_when_its_time_is_over() -> None:
    store = store_of()
    for number in range(20):
        store.put(f"k{number}", number, 8, 100.0, ttl_s=1.0 + number % 2)
    store.put("k3", "again", 8, 101.0)
    for now_s, left in ((101.0, 10), (102.0, 1), (111.0, 0)):
        assert not store.sweep(now_s)
        assert len(store) == left, "k3 lives longer"
    assert len(store) == 0 and store.used_bytes == 0


@pytest.mark.parametrize("stale_s", [0.0, 5.0])
@pytest.mark.parametrize("size_bytes", [8, 9])
def test_a_value_that_is_set_again_has_nothing_of_the_one_before(
    stale_s: float, size_bytes: int
) -> None:
    store = store_of(stale_s=stale_s, ttl_s=20.0)
    for key in "ab":
        store.put(key, 1, 8, 100.0, took_s=1.0)
    store.put("c", 1, 8, 100.0, ttl_s=2.0)
    store.delete("b", 101.0)
    for key in "abc":
        assert store.put(key, 2, size_bytes, 101.0, ttl_s=10.0)
    assert store.used_bytes == 3 * (1 + size_bytes + ENTRY_BYTES)
    store.sweep(110.9)
    for key in "abc":
        entry = store.get(key, 110.9)
        assert entry is not None and (entry.value, entry.took_s) == (2, 0.0)
    store.sweep(111.0)
    assert [shown(store, key, 111.0) for key in "abc"] == ["nothing"] * 3
    assert store.expired == 3 and len(store) == (3 if stale_s else 0)
    store.sweep(111.0 + stale_s)
    assert len(store) == 0 and store.used_bytes == 0


def test_what_ends_together_goes_step_by_step() -> None:
    store = store_of(capacity_bytes=1 << 20)
    for number in range(1000):
        store.put(f"k{number}", number, 8, 100.0)
    steps = 1
    while store.sweep(110.0):
        steps += 1
    assert len(store) == 0 and steps == 1000 // SWEPT_AT_ONCE + 1


def test_times_differ_by_the_jitter_and_are_never_longer_than_the_tiers() -> None:
    store = store_of(ttl_jitter_ratio=0.2, capacity_bytes=100_000)
    for number in range(200):
        store.put(f"k{number}", number, 8, 0.0, ttl_s=100.0)
    alive = [sum(store.get(f"k{n}", at) is not None for n in range(200)) for at in (7.9, 9, 9.99)]
    assert alive[0] == 200 and 60 < alive[1] < 140 and alive[2] < 10


def test_that_there_is_nothing_is_remembered_for_a_shorter_time() -> None:
    store = store_of()
    store.put("a", None, 8, 0.0, absent=True)
    assert shown(store, "a", 0.9) is None
    assert shown(store, "a", 1.0) == "nothing"


def test_who_leaves_a_full_cache_is_forgotten_and_counted() -> None:
    store = store_of(capacity_bytes=3 * (ENTRY_BYTES + 11))
    for key in "abcd":
        store.put(key, key, 10, 0.0)
    assert [shown(store, key, 0.0) for key in "abcd"] == ["nothing", "b", "c", "d"]
    assert store.evicted == 1
    assert not store.put("b", "large", 1000, 0.0)
    assert shown(store, "b", 0.0) == "nothing", "the old value is gone all the same"


def test_what_was_deleted_or_expired_a_moment_ago_is_stale_and_no_hit() -> None:
    store = store_of(stale_s=2.0)
    store.put("a", 1, 8, 0.0)
    store.put("b", 2, 8, 0.0)
    assert store.delete("a", 5.0) and not store.delete("a", 5.0)
    assert shown(store, "a", 5.0) == shown(store, "b", 10.0) == "nothing"
    for key, last_s in (("a", 7.0), ("b", 12.0)):
        found = store.stale(key, last_s)
        assert found is not None and store.stale(key, last_s + 0.01) is None
    store.sweep(12.0)
    assert len(store) == 0


def test_a_reader_fetches_anew_shortly_before_the_end_and_hardly_ever_long_before() -> None:
    store = store_of()
    store.put("a", 1, 8, 0.0, took_s=0.5)
    entry = store.get("a", 0.0)
    assert entry is not None

    def share(now_s: float) -> float:
        return sum(store.is_early(entry, now_s) for _ in range(1000)) / 1000

    assert share(2.0) < 0.01 < share(9.0) < share(9.9)
    assert share(9.5) == pytest.approx(0.37, abs=0.06)  # exp(-1)


def test_a_look_at_an_entry_is_no_reading() -> None:
    store = store_of(capacity_bytes=2 * (ENTRY_BYTES + 11))
    store.put("a", 1, 10, 0.0)
    store.put("b", 2, 10, 0.0)
    entry = store.peek("a", 0.0)
    assert entry is not None and entry.value == 1
    assert store.peek("a", 10.0) is None and store.expired == 0
    store.put("c", 3, 10, 0.0)
    assert sorted(store.keys()) == ["b", "c"], "the oldest has left though it was looked at"


def test_a_listing_has_each_key_that_was_there_once_whatever_comes_and_goes() -> None:
    store, listings = store_of(capacity_bytes=1 << 20, eviction="sieve"), Listings()
    for number in range(2 * PAGE_KEYS + 1):
        store.put(f"k{number}", number, 8, 0.0)
    there, place, found = store.keys(), listings.begin(store.keys()), list[str]()
    following: Place | None = place
    while following is not None:
        keys, following = listings.page(following)
        assert len(keys) <= PAGE_KEYS
        found += keys
        store.remove(found[0])
        store.put(f"new {len(found)}", 0, 8, 0.0)
    assert found == there
    with pytest.raises(KeyError):
        listings.page(place)  # it was read to its end, and takes no room any more


def test_no_more_listings_are_kept_than_may_be() -> None:
    listings = Listings()
    first, *others = [listings.begin(["a"]) for _ in range(MOST_LISTINGS + 1)]
    with pytest.raises(KeyError):
        listings.page(first)
    assert [listings.page(each) for each in others] == [(["a"], None)] * MOST_LISTINGS


# --- tokens --------------------------------------------------------------------------------------


def test_one_token_at_a_time_and_only_that_one_fills() -> None:
    leases = Leases(1, 10.0)
    token = leases.give("a", 0.0)
    held = leases.held("a", 9.9)
    assert held is not None and held.token == token
    assert not leases.redeem("a", token + 1, 1.0)
    assert leases.redeem("a", token, 1.0) and not leases.redeem("a", token, 1.0)


def test_a_delete_voids_a_token_and_so_does_time() -> None:
    leases = Leases(1, 10.0)
    token = leases.give("a", 0.0)
    assert leases.void("a") and not leases.redeem("a", token, 1.0)
    token = leases.give("a", 1.0)
    assert leases.held("a", 11.0) is None and not leases.redeem("a", token, 11.0)


def test_no_token_of_an_earlier_life_is_good() -> None:
    before = Leases(1, 10.0).give("a", 0.0)
    now = Leases(2, 10.0)
    now.give("a", 0.0)
    assert not now.redeem("a", before, 0.0)


def test_no_more_tokens_are_out_than_may_be() -> None:
    leases = Leases(1, 10.0, most=2)
    assert leases.give("a", 0.0) and leases.give("b", 5.0)
    assert leases.give("c", 6.0) == 0
    assert [key for key, _ in leases.end_overdue(10.0)] == ["a"]
    assert leases.give("c", 10.0)
