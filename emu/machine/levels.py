"""How grave an event or a line of a log is: for options too, which must load no Trio."""

from __future__ import annotations

from typing import Final

LEVELS: Final = ("debug", "info", "warning", "error")
"""The gravest last."""
