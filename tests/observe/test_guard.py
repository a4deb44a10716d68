"""Who may ask what of the observe port."""

from __future__ import annotations

import pytest

from emu.observe.guard import is_loopback, refusal
from protocols.http.message import Request

HOST = "127.7.0.1:9100"


@pytest.mark.parametrize(
    "host", [HOST, "127.0.0.1:41234", "127.0.0.1", "localhost:9100", "[::1]:9100"]
)
def test_a_loopback_name_is_answered(host: str):
    assert is_loopback(host)
    assert refusal(Request("GET", "/status", {"host": host}), "secret") is None


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "evil.example:9100", "127.0.0.1.evil.example", "10.0.0.1:9100",
     "localhost.evil.example", "[", "a:b:c", "0.0.0.0:9100", "127.0.0.1@evil.example"],
)  # fmt: skip
def test_a_name_that_was_pointed_at_us_is_refused_even_for_reading(host: str):
    refused = refusal(Request("GET", "/status", {"host": host}), "secret")
    assert refused is not None and refused[0] == 421


def posted(**headers: str) -> tuple[int, str, str] | None:
    names = {"host": HOST, **{name.replace("_", "-"): each for name, each in headers.items()}}
    return refusal(Request("POST", "/do", names), "secret")


@pytest.mark.parametrize("origin", ["", "null", "http://[::1", "http://[", "\xff", "//", HOST])
def test_an_origin_that_is_no_address_is_elsewhere(origin: str):
    refused = posted(x_emu_token="secret", origin=origin)
    assert refused is not None and refused[0] == 403


def test_only_the_token_changes_something():
    assert posted(x_emu_token="secret") is None
    assert posted(x_emu_token="secret", origin=f"http://{HOST}") is None
    for token in ("", "Secret", "secret ", "s", "ümlaut"):
        refused = posted(x_emu_token=token)
        assert refused is not None and refused[0] == 403 and "token" in refused[2]


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.7.0.2:9100", ""])
def test_a_page_elsewhere_is_refused_even_with_the_token(origin: str):
    refused = posted(x_emu_token="secret", origin=origin)
    assert refused is not None and "elsewhere" in refused[2]
