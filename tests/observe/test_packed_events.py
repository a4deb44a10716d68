"""An event is read alike wherever it was carried: on the screen, in `emu top`, on the page, in a
record."""

from __future__ import annotations

import msgpack

from emu.machine.events import packable
from emu.observe.wording import fields

CUT = {"time_s": 6.2, "event": "fault started", "verb": "partition",
       "between": ("db primary", "db"), "one_way": False, "mode": "hold", "number": 1}  # fmt: skip


def test_the_two_ends_of_a_cut_are_words_after_the_way() -> None:
    carried = msgpack.unpackb(msgpack.packb(packable(CUT)))
    assert fields(carried) == fields(CUT) == "partition db primary / db  number=1"


def test_what_nobody_can_carry_is_told_as_text() -> None:
    assert packable({"a": [1, ("b", None)], "c": {"d": b"e"}, "f": {1: 2}, "g": {"h": [0.5]}}) == {
        "a": [1, ("b", None)], "c": "{'d': b'e'}", "f": "{1: 2}", "g": {"h": [0.5]},
    }  # fmt: skip
