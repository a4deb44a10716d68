"""When what is stored answers a request: age, directives of both sides, staleness, Vary,
validators.
"""

from __future__ import annotations

import pytest

from protocols.caching import policy, ranges, reuse, selecting, validating
from protocols.caching.freshness import Freshness, lifetime
from protocols.caching.keys import invalidated, key
from protocols.caching.policy import Policy
from protocols.caching.reuse import Stored
from protocols.caching.telling import CacheStatus

DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
LATER = "Sun, 06 Nov 1994 08:49:38 GMT"


def stored(value="max-age=60", *headers, age_s=0.0):
    all_headers = [("cache-control", value), *headers]
    told = policy.of_response(all_headers)
    fresh = lifetime(200, all_headers, told, 0.0)
    return Stored(200, all_headers, b"0123456789", told, fresh, age_s, 0.0)


@pytest.mark.parametrize(
    ("value", "asked", "now_s", "use", "why"),
    [
        ("max-age=60", "", 59.9, "hit", "max-age=60, age 60"),
        ("max-age=60", "", 60.0, "validate", "stale: max-age=60, age 60"),
        ("max-age=60, no-cache", "", 1.0, "validate", "no-cache"),
        ('max-age=60, no-cache="x"', "", 1.0, "hit", "max-age=60, age 1"),
        ("max-age=60", "no-cache", 1.0, "validate", "the request says no-cache"),
        ("max-age=60", "max-age=0", 1.0, "validate", "the request says max-age=0, age 1"),
        ("max-age=60", "max-age=10", 9.0, "hit", "max-age=60, age 9"),
        ("max-age=60", "min-fresh=10", 55.0, "validate", "the request says min-fresh=10, 5 s left"),
        ("max-age=60", "max-stale", 1e6, "hit", "stale, but the request says max-stale"),
        ("max-age=60", "max-stale=10", 65.0, "hit", "stale, but the request says max-stale"),
        ("max-age=60", "max-stale=10", 71.0, "validate", "stale"),
        ("max-age=60, must-revalidate", "max-stale=10", 65.0, "validate", "stale"),
        ("max-age=60, stale-while-revalidate=10", "", 65.0, "stale", "max-age=60, age 65; stale-"),
        ("max-age=60, stale-while-revalidate=10", "", 70.0, "validate", "stale"),
        ("s-maxage=60, stale-while-revalidate=10", "", 65.0, "validate", "stale"),
        ("max-age=60, stale-while-revalidate=10, must-revalidate", "", 65.0, "validate", "stale"),
        ("max-age=60, stale-while-revalidate=10", "max-age=90", 65.0, "validate", "stale"),
    ],
)
def test_what_is_done_and_by_which_rule(value, asked, now_s, use, why):
    wanted = policy.of_request({"cache-control": asked}) if asked else Policy()
    decision = reuse.decide(stored(value), wanted, now_s)
    assert decision.use == use
    assert decision.why.startswith(why)


def test_the_age_counts_from_the_origin_and_goes_on_here():
    assert reuse.decide(stored(age_s=50.0), Policy(), 11.0).use == "validate"
    assert stored(age_s=50.0).age_s(-3.0) == 50.0


@pytest.mark.parametrize(
    ("value", "asked", "grace_s", "over_s", "allowed"),
    [
        ("max-age=60, stale-if-error=10", "", 0.0, 9.0, True),
        ("max-age=60, stale-if-error=10", "", 0.0, 10.0, False),
        ("max-age=60", "", 0.0, 1.0, False),
        ("max-age=60", "", 10.0, 9.0, True),
        ("max-age=60, stale-if-error=0", "", 10.0, 9.0, False),
        ("max-age=60", "stale-if-error=10", 0.0, 9.0, True),
        ("max-age=60, stale-if-error=10, must-revalidate", "", 10.0, 1.0, False),
        ("max-age=60, stale-if-error=10, proxy-revalidate", "", 10.0, 1.0, False),
        ("s-maxage=60, stale-if-error=10", "", 10.0, 1.0, False),
        ("no-cache, max-age=60, stale-if-error=10", "", 10.0, 1.0, False),
        ("max-age=60, stale-if-error=10", "no-cache", 10.0, 1.0, False),
    ],
)
def test_stale_for_an_origin_that_fails_within_the_bound_and_where_it_may_be(
    value, asked, grace_s, over_s, allowed
):
    wanted = policy.of_request({"cache-control": asked}) if asked else Policy()
    told = reuse.stale_if_error(stored(value), wanted, 60.0 + over_s, grace_s)
    assert bool(told) == allowed


@pytest.mark.parametrize(
    ("vary", "first", "second", "same"),
    [
        ("foo", {"foo": "1"}, {"foo": "1"}, True),
        ("foo", {"foo": "1"}, {"foo": "2"}, False),
        ("foo", {"foo": "1"}, {}, False),
        ("foo", {}, {"foo": "1"}, False),
        ("foo", {}, {}, True),
        ("FOO, bar", {"foo": "1", "bar": "2"}, {"bar": "2", "foo": "1", "baz": "3"}, True),
        ("foo", {"foo": "1, 2"}, {"foo": "1,2 "}, True),
        ("foo", {"foo": "1, 2"}, {"foo": "2, 1"}, False),
        ("accept-language", {"accept-language": "en, de"}, {"accept-language": "DE,en"}, True),
        (
            "accept-language",
            {"accept-language": "en;q=0.5, de"},
            {"accept-language": "de;q=0.5, en"},
            False,
        ),
    ],
)
def test_a_request_is_like_another_in_what_vary_names(vary, first, second, same):
    chosen = selecting.selecting([("vary", vary)], first)
    assert chosen is not None
    assert selecting.matches(chosen, second) == same


@pytest.mark.parametrize("vary", ["*", "*, *", ", *", "foo, *"])
def test_no_request_is_like_another_where_vary_is_any(vary):
    assert selecting.selecting([("vary", vary)], {}) is None


@pytest.mark.parametrize(
    ("asked", "unchanged"),
    [
        ({"if-none-match": '"a"'}, True),
        ({"if-none-match": 'W/"a"'}, True),
        ({"if-none-match": '"b", "a"'}, True),
        ({"if-none-match": "*"}, True),
        ({"if-none-match": '"b"'}, False),
        ({"if-none-match": r'"b\", "a"'}, True),
        ({"if-none-match": '"b, a"'}, False),
        ({"if-none-match": '"b"', "if-modified-since": LATER}, False),
        ({"if-modified-since": DATE}, True),
        ({"if-modified-since": "Sun, 06 Nov 1994 08:49:36 GMT"}, False),
        ({"if-modified-since": "yesterday"}, False),
        ({}, False),
    ],
)
def test_a_clients_condition_is_answered_from_the_store(asked, unchanged):
    headers = [("etag", '"a"'), ("last-modified", DATE)]
    assert validating.is_unchanged(asked, headers, 0.0) == unchanged


@pytest.mark.parametrize(
    ("answer", "known", "confirms"),
    [
        ([("etag", '"a"')], [("etag", '"a"')], True),
        ([("etag", '"b"')], [("etag", '"a"')], False),
        ([("etag", 'W/"a"')], [("etag", '"a"')], True),
        ([("etag", '"a"')], [("last-modified", DATE)], False),
        ([], [("etag", '"a"')], True),
        ([("last-modified", DATE)], [("last-modified", DATE)], True),
        ([("last-modified", LATER)], [("last-modified", DATE)], False),
    ],
)
def test_a_304_is_about_what_has_its_validator(answer, known, confirms):
    assert validating.confirms(answer, known) == confirms


def test_a_304_renews_fields_but_not_those_of_the_content():
    known = [("etag", '"a"'), ("a", "1"), ("b", "1"), ("content-encoding", "x")]
    answer = [("etag", 'W/"a"'), ("a", "2"), ("a", "3"), ("content-encoding", "y")]
    assert validating.updated(known, answer) == [
        ("etag", '"a"'), ("b", "1"), ("content-encoding", "x"), ("a", "2"), ("a", "3"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("known", "told"), [([], []), ([("set-cookie", "old")], [("set-cookie", "new")])]
)
def test_a_304s_cookie_is_for_others_only_where_they_are_given_one(known, told):
    assert validating.updated(known, [("set-cookie", "new")]) == told


@pytest.mark.parametrize(
    ("value", "span"),
    [
        ("bytes=0-1", (0, 2)),
        ("bytes=8-99", (8, 10)),
        ("bytes=3-", (3, 10)),
        ("bytes=-3", (7, 10)),
        ("BYTES=-3", (7, 10)),
        ("bytes=-99", (0, 10)),
        ("bytes=10-", None),
        ("bytes=-0", None),
    ],
)
def test_a_range_is_cut_out_of_a_whole(value, span):
    found = ranges.wanted(value)
    assert found is not None
    assert found.within(10) == span


@pytest.mark.parametrize(
    "value", ["bytes=5-3", "bytes=0-1,3-4", "lines=1-2", "bytes=", "bytes=-", None]
)
def test_what_is_no_single_range_asks_for_the_whole(value):
    assert ranges.wanted(value) is None


@pytest.mark.parametrize(
    ("value", "size", "part"),
    [
        ("bytes 4-8/10", 5, (4, 9, 10)),
        ("bytes 4-8/*", 5, (4, 9, None)),
        ("bytes 4-9/10", 5, None),
        ("bytes 8-12/10", 5, None),
        ("bytes */10", 0, None),
        ("bytes 5-4/10", 0, None),
        ("", 5, None),
    ],
)
def test_a_206_is_what_its_content_range_says_or_nothing(value, size, part):
    assert ranges.part([("content-range", value)], size) == part


def test_a_206_of_several_parts_is_not_one_of_them():
    several = [("content-type", "Multipart/ByteRanges; boundary=x")]
    assert ranges.part([*several, ("content-range", "bytes 4-8/10")], 5) is None


@pytest.mark.parametrize(
    ("asked", "holds"),
    [
        ({}, True),
        ({"if-range": '"a"'}, True),
        ({"if-range": '"b"'}, False),
        ({"if-range": 'W/"a"'}, False),
        ({"if-range": DATE}, True),
        ({"if-range": LATER}, False),
    ],
)
def test_if_range_compares_strongly(asked, holds):
    headers = [("etag", '"a"'), ("last-modified", DATE), ("date", LATER)]
    assert validating.range_holds(asked, headers) == holds


@pytest.mark.parametrize(
    ("method", "status", "headers", "gone"),
    [
        ("POST", 200, [], ["site/a/b"]),
        ("M-SEARCH", 303, [("location", "../c")], ["site/a/b", "site/c"]),
        ("PUT", 204, [("content-location", "http://SITE/d?e")], ["site/a/b", "site/d?e"]),
        ("DELETE", 200, [("location", "http://other/d")], ["site/a/b"]),
        ("DELETE", 200, [("location", "http://[/d")], ["site/a/b"]),
        ("POST", 500, [("location", "/c")], []),
        ("POST", 404, [], []),
        ("GET", 200, [("location", "/c")], []),
        ("OPTIONS", 200, [], []),
    ],
)
def test_what_changes_something_makes_its_urls_invalid(method, status, headers, gone):
    found = invalidated(key("site", "/a/b"), method, status, headers)
    assert [str(each) for each in found] == gone


def test_cache_status_is_a_member_with_its_parameters():
    told = CacheStatus(
        "edge-1", forward="stale", forward_status=304, ttl_s=60, stored=True, collapsed=True,
        key="site/a", detail='max-age="60"',
    )  # fmt: skip
    assert told.written() == (
        "edge-1; fwd=stale; fwd-status=304; ttl=60; stored; collapsed; "
        'key="site/a"; detail="max-age=\\"60\\""'
    )
    assert CacheStatus("edge-1", hit=True, ttl_s=-3).written() == "edge-1; hit; ttl=-3"


def test_what_was_renewed_is_as_old_as_its_confirmation():
    known = stored("max-age=60", ("etag", '"a"'), age_s=70.0)
    fresh = reuse.renewed(
        known, known.headers, known.policy, Freshness(60.0, "max-age=60", True), 1.0, 100.0, (), ()
    )
    assert (fresh.age_s(101.0), fresh.body) == (2.0, known.body)
