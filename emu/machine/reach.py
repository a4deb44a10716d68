"""States of the world itself that a campaign of seeds has to meet. A simulated world counts them;
a live one does not look."""

from __future__ import annotations

from typing import Final

SENT_AGAIN: Final = "world: bytes of a stream sent again"
OVERTAKING: Final = "world: newer bytes of a stream that wait for ones sent again"
HELD: Final = "world: bytes of a stream held by a cut"
WINDOW_FULL: Final = "world: a sender that waits for its window"
GIVEN_UP: Final = "world: a connection broken because its bytes did not arrive"
REJECTED: Final = "world: a connection reset by a cut that rejects"
LINKS: Final = (SENT_AGAIN, OVERTAKING, HELD, WINDOW_FULL, REJECTED)
"""GIVEN_UP takes a minute of silence: it is counted, and not asked for."""

TORN: Final = "world: unsynced bytes torn by a power cut"
LOST: Final = "world: unsynced bytes lost in a power cut"
UNDONE: Final = "world: a change of a file's name or length undone by a power cut"
LATE_SYNC: Final = "world: a sync that is late"
DISKS: Final = (TORN, LOST, UNDONE, LATE_SYNC)

LATE_TIMER: Final = "world: a timer that is late"


def not_counted(state: str) -> None:
    """Nobody looks."""
