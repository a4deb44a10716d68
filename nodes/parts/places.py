"""Where in code of ours, or of a user's own, something was raised: for whoever has to find it.
Pure."""

from __future__ import annotations

from types import TracebackType
from typing import Final

OURS: Final = ("nodes.", "protocols.", "emu.")
LIBRARY: Final = "/lib/python"
"""In the path of what was installed, or comes with Python."""
MOST_CAUSES: Final = 3


def place(error: BaseException) -> str:
    """`nodes/kv/mover.py:171 in _fence`: the innermost frame that is no library's; "" if none is.
    Of a group, those of its first few."""
    if isinstance(error, BaseExceptionGroup):
        found = dict.fromkeys(map(place, error.exceptions[:MOST_CAUSES]))
        return "; ".join(each for each in found if each)
    return _innermost(error.__traceback__)


def _innermost(trace: TracebackType | None) -> str:
    found = ""
    while trace is not None:
        code = trace.tb_frame.f_code
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        file = code.co_filename
        if module.startswith(OURS):
            found = f"{module.replace('.', '/')}.py:{trace.tb_lineno} in {code.co_name}"
        elif LIBRARY not in file and not file.startswith("<"):
            found = f"{file.rpartition('/')[2]}:{trace.tb_lineno} in {code.co_name}"
        trace = trace.tb_next
    return found
