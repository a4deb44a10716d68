"""JSON of whatever nodes answer: every reader takes it."""

from __future__ import annotations

import json
import math
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.parts import jsons


def strictly(text: str) -> Any:
    def refuse(word: str) -> Any:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (math.inf, "Infinity"),
        ([-math.inf, math.nan, 1.5], ["-Infinity", "NaN", 1.5]),
        ({"a": {"b": (1, math.nan)}}, {"a": {"b": [1, "NaN"]}}),
        (b"a\xff", "a\ufffd"),
        ({b"k": b"v", 7: 1, None: 2, 1.5: 3, math.nan: 4}, {"k": "v", "7": 1, "null": 2, "1.5": 3,
                                                           "NaN": 4}),
        (2**70, 2**70),
        ("\udc80", "\udc80"),
        (msgpack.Timestamp(1), "Timestamp(seconds=1, nanoseconds=0)"),
    ],
)  # fmt: skip
def test_what_json_has_not_is_text(value: Any, shown: Any) -> None:
    assert strictly(jsons.dumps(value)) == shown
    assert strictly(jsons.dumps([value], indent=1)) == [shown]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text() | st.integers() | st.binary(max_size=9), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(ANYTHING)
def test_whatever_messagepack_carries_is_json(value: Any) -> None:
    strictly(jsons.dumps(value))


def test_as_deep_as_messagepack_goes() -> None:
    deep: Any = math.nan
    for _ in range(250):
        deep = [{"a": deep}]
    strictly(jsons.dumps(deep))
