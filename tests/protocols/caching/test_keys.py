"""What a response is kept under."""

from __future__ import annotations

import pytest

from nodes.cdn.purges import checked
from protocols.caching.keys import key


@pytest.mark.parametrize("target", ["http://X:80/a?b", "https://x/a?b", "hTTp://x/a?b", "/a?b"])
def test_a_target_with_a_host_of_its_own_is_the_same_as_one_without(target: str) -> None:
    assert key("x", target) == ("x", "/a?b")


@pytest.mark.parametrize("target", ["http://[:::]/", "http://[x/", "http://", "https://x?b#c"])
def test_no_target_is_too_odd_for_a_key(target: str) -> None:
    assert key("x", target).target.startswith("/")


@pytest.mark.parametrize("value", ["http://[x", "http://[1.2.3.4]/"])
def test_what_is_no_address_cannot_be_purged(value: str) -> None:
    with pytest.raises(ValueError, match="is no address"):
        checked("n1", "prefix", value)
