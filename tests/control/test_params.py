"""What is no method's parameter is refused before the method begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from emu.control.params import check, params_of
from emu.control.server import ControlServer
from protocols.errors import RpcError

JUNK: tuple[Any, ...] = (None, True, 7, 1.5, "x", b"x", [1], {"a": 1}, [["x"]])


async def ordered(
    call: Any, words: str, number: int = 0, for_s: float | None = None, names: Sequence[str] = ()
) -> None:
    """As control methods are."""


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (("web", 1, 2, ["a"]), ""),
        (("web", 1, None), ""),
        (([],), "`words` must be a text"),
        (("web", True), "`number` must be a whole number"),
        (("web", 1, "2s"), "`for_s` must be a number or null"),
        (("web", 1, 2.5, "abc"), "`names` must be a list"),
    ],
)
def test_a_parameter_of_another_kind_is_named(given: tuple[Any, ...], why: str) -> None:
    if not why:
        check(params_of(ordered), given)
        return
    with pytest.raises(RpcError) as caught:
        check(params_of(ordered), given)
    assert (caught.value.code, caught.value.message.startswith(why)) == ("bad_request", True)


def test_every_verb_says_what_kinds_it_takes() -> None:
    verbs = [each for name, each in vars(ControlServer).items() if name in VERBS]
    assert len(verbs) == len(VERBS)
    for verb in verbs:
        kinds = [each.kinds for each in params_of(verb)[1:]]
        assert kinds and all(kinds), verb
        refused = sum(_is_refused(verb, junk) for junk in JUNK)
        assert refused >= len(JUNK) - 3, verb


VERBS = ("_ps", "_url", "_urls", "_events", "_logs", "_inject", "_undo", "_resolve", "_describe",
         "_call", "_begin", "_progress", "_ended", "_dry_run", "_cancel", "_sql")  # fmt: skip


def _is_refused(verb: Any, junk: Any) -> bool:
    try:
        check(params_of(verb)[1:], (junk,))
    except RpcError:
        return True
    return False
