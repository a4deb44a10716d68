"""How a cache reads header fields: lists and directives as they come, structured ones or not at
all.
"""

from __future__ import annotations

import pytest

from protocols.caching import dates, fields, policy, structured
from protocols.caching.keys import key

NOW_S = 1_700_000_000.0


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("max-age=60", {"max-age": "60"}),
        ("MAX-age=60 , Public", {"max-age": "60", "public": None}),
        ('max-age="60"', {"max-age": "60"}),
        ('ext="max-age=3600", max-age=1', {"ext": "max-age=3600", "max-age": "1"}),
        ('ext="a\\", max-age=9", max-age=1', {"ext": 'a", max-age=9', "max-age": "1"}),
        ("max-age=1, max-age=3600", {"max-age": "1"}),
        ("max-age =60", {}),
        ("max-age= 60", {"max-age": " 60"}),
        (",, no-store ,", {"no-store": None}),
        ('private="a, b"', {"private": "a, b"}),
        ("&, no-cache", {"&": None, "no-cache": None}),
        ('no-store, "', {"no-store": None}),
    ],
)
def test_directives_are_read_as_they_come(value, expected):
    assert fields.directives(value) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("003600", 3600),
        ("99999999999", 1 << 31),
        ("9" * 400, 1 << 31),
        ("-1", None),
        ("3600.0", None),
        ("a3600", None),
        ("3600a", None),
        (" 60", None),
        ("'60'", None),
        ("٣", None),
        ("", None),
    ],
)
def test_delta_seconds_are_digits_and_nothing_else(text, expected):
    assert policy.seconds(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max-age=60, public", {"max-age": 60, "public": True}),
        ("max-age=60;x=1;y", {"max-age": 60}),
        ("a=?0, b=?1, c", {"a": False, "b": True, "c": True}),
        ("a=1, a=2", {"a": 2}),
        ('a="x, y"', {"a": '"x, y"'}),
        ("a=(1 2);q, b=:YWI=:", {"a": "(1 2)", "b": ":YWI=:"}),
        ("a=1.5", {"a": "1.5"}),
        ("", {}),
        ("max-age=60, &&&", None),
        ("max-age =60", None),
        ("max-age= 60", None),
        ("MaX-aGe=60", None),
        ("max-age=60,", None),
        ("max-age=60 public", None),
        ("a=1.2345", None),
        ("a=9999999999999999", None),
        ('a="x', None),
        ('a="ä"', None),
    ],
)
def test_a_structured_dictionary_is_whole_or_none(text, expected):
    assert structured.dictionary(text) == expected


def test_a_text_becomes_a_structured_string_whatever_is_in_it():
    assert structured.string('a "b" \\ c\r\nä') == '"a \\"b\\" \\\\ c???"'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", 784111777),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 784111777),
        ("Sun Nov  6 08:49:37 1994", 784111777),
        ("Thursday, 18-Aug-50 02:01:18 GMT", 2544400878),
        ("Sun, 31 Nov 1994 24:00:00 GMT", None),
        ("Sun, 06 Nov 94 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 UTC", None),
        ("Sun 06 Nov 1994 08:49:37 GMT", None),
        ("sun, 06 nov 1994 08:49:37 gmt", 784111777),
        ("SUNDAY, 06-NOV-94 08:49:37 GMT", 784111777),
        ("sUn nOv  6 08:49:37 1994", 784111777),
        ("Sun, 06 Nov 1994 08:49:3\u0663 GMT", None),
        ("Sun, 06 Nov 1994 8:49:37 GMT", None),
        ("Sun, 06 Nov 0000 08:49:37 GMT", None),
        ("0", None),
        ("", None),
    ],
)
def test_a_date_is_one_of_three_forms_in_any_case(text, expected):
    assert dates.seconds(text, NOW_S) == expected


def test_what_is_for_the_next_hop_goes_no_further():
    headers = [("connection", "a, B"), ("a", "1"), ("b", "2"), ("c", "3"), ("te", "trailers")]
    assert fields.end_to_end(headers, "a, B") == [("c", "3")]


@pytest.mark.parametrize(
    ("host", "target", "expected"),
    [
        ("Site.Test:80", "/a?b=1", ("site.test", "/a?b=1")),
        ("other", "http://Site.test/a?b=1", ("site.test", "/a?b=1")),
        ("other", "http://site.test:8080", ("site.test:8080", "/")),
        ("site", "/a#b", ("site", "/a")),
    ],
)
def test_one_url_has_one_key(host, target, expected):
    assert key(host, target) == expected


@pytest.mark.parametrize(
    ("headers", "targeted", "lifetime"),
    [
        ([("cdn-cache-control", "max-age=5"), ("cache-control", "no-store")], True, 5),
        ([("cdn-cache-control", 'max-age="5"'), ("cache-control", "max-age=9")], True, 0),
        ([("cdn-cache-control", "max-age=5, &"), ("cache-control", "max-age=9")], False, 9),
        ([("cdn-cache-control", ""), ("cache-control", "max-age=9")], False, 9),
        ([("cache-control", "max-age=9"), ("cache-control", "max-age=1")], False, 9),
        ([("cache-control", "max-age=-9")], False, 0),
    ],
)
def test_a_cdn_obeys_the_field_that_is_for_it_and_no_other(headers, targeted, lifetime):
    found = policy.of_response(headers)
    assert found.targeted == targeted
    assert found.seconds("max-age") == lifetime
    assert found.forbids("no-store") is False


def test_quotes_that_are_never_closed_are_read_once() -> None:
    assert len(fields.members('"\\' * 50_000)) == 1
    assert fields.members('a, "b, c", d') == ["a", '"b, c"', "d"]
