"""What a handler's signature says about its params is checked before the handler sees them."""

from __future__ import annotations

from typing import Any

import pytest

from nodes.wire.arguments import arguments_of


def handler(
    call: object, name: str, count: int = 1, rate: float = 1.0,
    options: dict[str, Any] | None = None, names: list[str] | None = None, anything: Any = None,
) -> None:  # fmt: skip
    """A method with one param of each kind."""


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ([], "do takes 1 to 6 params, not 0"),
        ([1], "do: `name` is text, not a whole number (1)"),
        (["a", "1"], "do: `count` is a whole number, not text"),
        (["a", True], "do: `count` is a whole number, not true or false (True)"),
        (["a", 1, float("nan")], "do: `rate` is a number, not nan"),
        (["a", 1, [2]], "do: `rate` is a number, not a list"),
        (["a", 1, 1, "id"], "do: `options` is a map or nil, not text"),
        (["a", 1, 1, {}, ["a", 1]], "do: `names` has a whole number (1) in it"),
    ],
)
def test_a_param_that_does_not_fit_is_named(params, said):
    refusal = arguments_of(handler).refusal("do", params)
    assert refusal is not None and (refusal.code, refusal.message) == ("bad_request", said)


@pytest.mark.parametrize(
    "params", [["a"], ["a", 2, 3], ["a", 2, 3.5, None], ["a", 2, 3, {1: 2}, ["b"], object()]]
)
def test_params_that_fit_are_let_through(params):
    assert arguments_of(handler).refusal("do", params) is None


def test_a_handler_without_annotations_checks_its_own_params():
    assert arguments_of(lambda call, one: one).refusal("do", [object()]) is None
    assert arguments_of(lambda call, *many: many).refusal("do", [1] * 100) is None
