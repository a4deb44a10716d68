"""What happened, as JSON lines in a file that any shipper takes; of bounded size: when it is full
it is moved aside, over the one before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

MAX_BYTES: Final = 8 << 20
OLDER: Final = ".1"
"""What is put to the name of the file that was full."""


class Lines:
    """A listener of events and of requests. What cannot be written is dropped, and counted."""

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        self.path = path
        self.dropped = 0
        self._max_bytes = max_bytes
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115
        self._size = path.stat().st_size

    def write(self, line: dict[str, Any]) -> None:
        data = json.dumps(line, default=str, separators=(",", ":")).encode() + b"\n"
        try:
            if self._size and self._size + len(data) > self._max_bytes:
                self._turn()
            self._size += self._file.write(data)
        except (OSError, ValueError):
            self.dropped += 1

    def _turn(self) -> None:
        self._file.close()
        self.path.replace(self.path.with_name(self.path.name + OLDER))
        self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115
        self._size = 0

    def close(self) -> None:
        self._file.close()
