"""How a verb's docstring is told: in `emu --help` its first sentence, in its own help all of it."""

from __future__ import annotations

import inspect
import re
from typing import Final, TypedDict

_SENTENCE: Final = re.compile(r".*?[.](?= [A-Z`]|$)", re.DOTALL)


class Help(TypedDict):
    """What a command is registered with."""

    help: str
    short_help: str


def help_of(text: str) -> Help:
    """Its paragraphs without the source's line ends, which are no terminal's."""
    paragraphs = [" ".join(each.split()) for each in inspect.cleandoc(text).split("\n\n")]
    first = _SENTENCE.match(paragraphs[0])
    return {
        "help": "\n\n".join(paragraphs),
        "short_help": first.group() if first else paragraphs[0],
    }
