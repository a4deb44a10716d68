"""Pages that say when they were made: what they say is what they are."""

from __future__ import annotations

import pytest

from protocols.caching import dated
from protocols.http.message import Request, Response


def page(path: str, now_s: float = 7.5, **headers: str) -> Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    made = dated.page(Request("GET", f"/dated/{path}", sent), now_s)
    assert made is not None
    return made


def test_a_page_says_when_it_was_made_for_whom_and_in_which_language():
    made = page("language/0", authorization="Basic ada", accept_language="de")
    told = dated.told(made.body)
    assert len(made.body) == dated.PAGE_BYTES and made.header("vary") == "accept-language"
    assert (told["made_s"], told["user"], told["language"]) == (7.5, "ada", "de")


def test_a_page_with_a_validator_is_the_same_for_a_while():
    etag = page("etag/0").header("etag") or ""
    assert dated.told(page("etag/0").body)["made_s"] == 6.0
    assert page("etag/0", 7.9, if_none_match=etag).status == 304
    assert page("etag/0", 8.1, if_none_match=etag).status == 200


@pytest.mark.parametrize(
    ("wanted", "status", "length"),
    [("bytes=0-299", 206, 300), ("bytes=250-9999", 206, 350), ("bytes=600-700", 200, 600),
     ("bytes=5-", 200, 600), ("bytes=" + "1" * 5000 + "-2", 200, 600)],
)  # fmt: skip
def test_a_range_is_cut_out_where_there_is_one(wanted: str, status: int, length: int):
    made = page("part/0", range=wanted)
    assert (made.status, len(made.body)) == (status, length)


def test_there_is_no_page_of_an_unknown_class():
    assert dated.page(Request("GET", "/dated/other/0", {}), 0.0) is None
