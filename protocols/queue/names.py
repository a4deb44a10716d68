"""What topics, groups and their members may be called, in a file and on the wire."""

from __future__ import annotations

import re
from typing import Any, Final

from protocols.queue.words import MAX_NAME_CHARS, MAX_TOPIC_CHARS

NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]*")


def name_problem(name: Any) -> str:
    """Why this is no name for a topic; "" if it is one."""
    if type(name) is not str or len(name) > MAX_TOPIC_CHARS or not NAME.fullmatch(name):
        return f"a topic's name is letters, digits, `.`, `_`, `-`, at most {MAX_TOPIC_CHARS}"
    return ""


def label_problem(name: Any) -> str:
    """Why this is no name for a group, a member, a consumer or a producer; "" if it is one."""
    if type(name) is not str or not 0 < len(name) <= MAX_NAME_CHARS or not name.isprintable():
        return f"text of 1 to {MAX_NAME_CHARS} characters that can be printed"
    return ""
