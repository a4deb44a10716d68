"""What a peer has opened ends with its connection, whichever comes first."""

from __future__ import annotations

from nodes.wire.answers import Ending


def test_what_is_opened_after_the_end_ends_at_once_and_what_is_over_does_not():
    ending, ended = Ending(), list[str]()
    open_, over, late = (lambda name=name: ended.append(name) for name in ("open", "over", "late"))
    ending.add(open_)
    ending.add(over)
    ending.discard(over)
    ending.come()
    ending.add(late)
    ending.come()
    assert ended == ["open", "late"]
