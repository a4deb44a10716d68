"""A resolver's memory: what it keeps, how long, and for whom."""

from __future__ import annotations

from nodes.parts.dns_cache import MAX_SCOPES, DnsCache, span_of

EU, US = ("203.0.113.0", 24), ("198.51.100.0", 24)


def test_an_answer_for_a_part_of_the_world_is_given_there_only() -> None:
    cache: DnsCache[str] = DnsCache()
    cache.put("www", "eu", 0.0, 10, EU, 24)
    assert cache.get("www", span_of(*EU), 1.0) is not None
    assert cache.get("www", span_of("203.0.113.7", 32), 1.0) is not None
    assert cache.get("www", span_of(*US), 1.0) is None
    assert cache.get("www", span_of("203.0.0.0", 16), 1.0) is None, "it may not hold for all of it"
    assert cache.get("www", None, 1.0) is None, "nobody knows where that client is"


def test_a_shorter_scope_holds_for_more_and_a_longer_one_for_no_less_than_was_told() -> None:
    cache: DnsCache[str] = DnsCache()
    entry = cache.put("www", "half the world", 0.0, 10, EU, 1)
    assert entry.span is not None and entry.span.bits == 1
    assert cache.get("www", span_of(*US), 1.0) is entry
    longer = cache.put("mail", "one house", 0.0, 10, EU, 32)
    assert longer.span is not None and longer.span.bits == 24


def test_scope_0_and_no_scope_hold_for_everybody_and_the_narrow_answer_goes_first() -> None:
    cache: DnsCache[str] = DnsCache()
    cache.put("www", "here", 0.0, 10, EU, 24)
    for scope in (0, None):
        cache.put("www", f"everywhere {scope}", 0.0, 10, US, scope)
        for span, value in ((span_of(*US), f"everywhere {scope}"), (span_of(*EU), "here")):
            found = cache.get("www", span, 1.0)
            assert found is not None and found.value == value
        assert cache.get("www", None, 1.0) is not None


def test_an_answer_lives_for_its_time_and_a_newer_one_takes_its_place() -> None:
    cache: DnsCache[str] = DnsCache()
    cache.put("www", "old", 0.0, 10)
    cache.put("www", "new", 5.0, 10)
    found = cache.get("www", None, 14.9)
    assert found is not None and found.value == "new"
    assert cache.get("www", None, 15.0) is None


def test_there_is_a_bound_on_questions_and_on_parts_of_the_world() -> None:
    cache: DnsCache[int] = DnsCache(max_questions=10)
    for number in range(20):
        cache.put(number, number, 0.0, 10)
    assert [number for number in range(20) if cache.get(number, None, 1.0)] == list(range(10, 20))
    for number in range(2 * MAX_SCOPES):
        cache.put("www", number, 0.0, 10, (f"10.{number // 256}.{number % 256}.0", 24), 24)
    assert cache.get("www", span_of("10.0.0.0", 24), 1.0) is None
    assert cache.get("www", span_of("10.1.255.0", 24), 1.0) is not None


def test_the_longest_prefix_that_fits_is_the_answer() -> None:
    cache: DnsCache[str] = DnsCache()
    cache.put("www", "this network", 0.0, 10, EU, 24)
    cache.put("www", "its surroundings", 0.0, 10, ("203.0.0.0", 16), 16)
    found = cache.get("www", span_of("203.0.113.7", 32), 1.0)
    assert found is not None and found.value == "this network"
