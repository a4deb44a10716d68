"""What a shared cache may store, and for how long that is fresh, rule by rule (RFC 9111, 3 and
4.2).
"""

from __future__ import annotations

import pytest

from protocols.caching import freshness, policy, storing
from protocols.caching.policy import Policy

NOW_S = 784_111_777.0
DATE = ("date", "Sun, 06 Nov 1994 08:49:37 GMT")
DAY_AGO = ("last-modified", "Sat, 05 Nov 1994 08:49:37 GMT")
HOUR_ON = ("expires", "Sun, 06 Nov 1994 09:49:37 GMT")
TAG = ("etag", '"a"')


def why(headers, *, status=200, method="GET", request=None, asked=""):
    told = policy.of_response(headers)
    fresh = freshness.lifetime(status, headers, told, NOW_S)
    wanted = policy.of_request({"cache-control": asked}) if asked else Policy()
    return storing.why_not(method, request or {}, wanted, status, headers, told, fresh)


def cc(value):
    return [("cache-control", value)]


@pytest.mark.parametrize(
    ("headers", "options", "rule"),
    [
        (cc("max-age=60"), {}, ""),
        ([HOUR_ON, DATE], {}, ""),
        ([DAY_AGO], {}, ""),
        ([TAG], {}, ""),
        ([*cc("no-cache"), TAG], {}, ""),
        ([], {}, "never fresh (nothing says how long), and no validator"),
        (cc("max-age=0"), {}, "never fresh (max-age=0), and no validator"),
        (cc("max-age=0, stale-if-error=9"), {}, ""),
        (cc("no-store, max-age=60"), {}, "no-store"),
        (cc("no-store=1, max-age=60"), {}, "no-store"),
        (cc("private, max-age=60"), {}, "private"),
        (cc('max-age=60, private="x'), {}, "private"),
        (cc('private="x", max-age=60'), {}, ""),
        (cc("max-age=60"), {"asked": "no-store"}, "the request says no-store"),
        (cc("max-age=60"), {"method": "POST"}, "POST is not stored"),
        (cc("max-age=60"), {"status": 304}, "status 304 is no content"),
        (cc("max-age=60"), {"status": 599}, ""),
        (cc("max-age=60"), {"status": 206}, ""),
        (
            cc("max-age=60, must-understand"),
            {"status": 599},
            "must-understand, and status 599 is not understood",
        ),
        (cc("no-store, must-understand, max-age=60"), {}, ""),
        ([*cc("max-age=60"), ("vary", "a, *")], {}, "Vary: *"),
        ([DAY_AGO], {"status": 201}, "status 201, and nothing says how long"),
        ([DAY_AGO, *cc("public")], {"status": 599}, ""),
        ([DAY_AGO], {"status": 404}, ""),
        ([DAY_AGO, ("set-cookie", "a=b")], {}, "Set-Cookie, and nothing says how long"),
        ([*cc("max-age=60"), ("set-cookie", "a=b")], {}, ""),
        ([*cc("max-age=60"), ("cdn-cache-control", "no-store")], {}, "no-store"),
    ],
)
def test_each_rule_says_so(headers, options, rule):
    assert why(headers, **options) == rule


@pytest.mark.parametrize(
    ("value", "allowed"),
    [
        ("max-age=60", False),
        ("public, max-age=60", True),
        ("s-maxage=60", True),
        ("max-age=60, must-revalidate", True),
        ("max-age=60, proxy-revalidate", False),
    ],
)
def test_what_answers_one_users_credentials_is_stored_only_where_it_says_so(value, allowed):
    told = why(cc(value), request={"authorization": "Basic eA=="})
    assert (told == "") == allowed


@pytest.mark.parametrize(
    ("headers", "seconds", "rule"),
    [
        (cc("max-age=60, s-maxage=30"), 30, "s-maxage=30"),
        (cc("s-maxage=90, max-age=0"), 90, "s-maxage=90"),
        ([*cc("max-age=60"), HOUR_ON, DATE], 60, "max-age=60"),
        ([HOUR_ON, DATE], 3600, "Expires 3600 s on"),
        ([HOUR_ON], 3600, "Expires 3600 s on"),
        ([("expires", "0"), DATE, DAY_AGO], 0, "Expires is no date"),
        ([HOUR_ON, HOUR_ON], 0, "Expires is no date"),
        ([DAY_AGO, DATE], 8640, "heuristic: a tenth of 86400 s"),
        ([("last-modified", "Sun, 06 Nov 1904 08:49:37 GMT")], 86400, "heuristic"),
        (cc("max-age=x"), 0, "max-age=x"),
        ([], 0, "nothing says how long"),
        ([("cdn-cache-control", "max-age=5"), HOUR_ON], 5, "CDN-Cache-Control max-age=5"),
        ([("cdn-cache-control", "public"), HOUR_ON], 0, "nothing says how long"),
    ],
)
def test_how_long_a_response_is_fresh_and_by_which_rule(headers, seconds, rule):
    found = freshness.lifetime(200, headers, policy.of_response(headers), NOW_S)
    assert found.lifetime_s == seconds
    assert found.rule.startswith(rule)


@pytest.mark.parametrize(
    ("headers", "delay_s", "age_s"),
    [
        ([DATE], 0.0, 5),
        ([DATE, ("age", "30")], 2.0, 32),
        ([("age", "30, 0")], 0.0, 30),
        ([("age", "0"), ("age", "7200")], 0.0, 0),
        ([("age", "abc")], 0.0, 0),
        ([("age", "-7200")], 0.0, 0),
        ([("age", "7200.0")], 0.0, 0),
        ([("age", "99999999999")], 0.0, 1 << 31),
        ([("date", "0")], 1.0, 1),
    ],
)
def test_how_old_a_response_is_when_it_comes(headers, delay_s, age_s):
    assert freshness.initial_age_s(headers, delay_s, NOW_S + 5) == age_s


def test_what_a_cdn_is_told_is_not_for_others_is_not_kept():
    headers = [("cdn-cache-control", 'max-age=5, private="x"'), ("x", "1"), ("y", "2")]
    kept = storing.kept_headers(headers, policy.of_response(headers))
    assert kept == [headers[0], ("y", "2")]


def test_what_is_not_for_others_is_not_kept():
    headers = [
        ("connection", "x"),
        ("x", "1"),
        ("keep-alive", "5"),
        ("proxy-authenticate", "Basic"),
        ("age", "3"),
        ("cache-status", "a; hit"),
        ("set-cookie", "a=b"),
        ("secret", "1"),
        ("cdn-cache-control", "max-age=5"),
        ("etag", '"a"'),
    ]
    told = policy.of_response(cc('max-age=60, private="set-cookie", no-cache="secret"'))
    kept = storing.kept_headers(headers, told)
    assert kept == [("cdn-cache-control", "max-age=5"), ("etag", '"a"')]
