"""Writes that come again, with the request id that they had: what the first came to stands."""

from __future__ import annotations

from typing import Any

import pytest

from tests.nodes.kv.rig import Shard


@pytest.mark.parametrize(
    ("command", "params"),
    [
        ("delete", ["k"]),
        ("expire", ["k", 1000]),
        ("update", ["k", {"a": 1}]),
        ("compare_and_set", ["k", {"a": 0}, {"a": 2}]),
        ("set", ["k", {"a": 3}]),
    ],
)
def test_what_changed_nothing_changes_nothing_later_either(command: str, params: list[Any]) -> None:
    """Another attempt of it may come long after its caller has heard the outcome."""
    shard = Shard()
    options = {"request_id": "r1", **({"if": "present"} if command == "set" else {})}
    assert shard.call(command, *params, options) is False
    shard.call("set", "k", {"a": 0})
    assert shard.call(command, *params, options) is False
    assert (shard.call("get", "k"), shard.call("ttl", "k")) == ({"a": 0}, -1)
