"""A verb is listed by its first sentence; its own help has the rest, in paragraphs."""

from __future__ import annotations

import re
from dataclasses import fields

from emu.cli.helping import help_of
from emu.model.docstrings import description, without_example
from emu.model.faults import VERBS
from emu.model.vocabulary import operations


def test_the_list_has_the_first_sentence_and_the_help_all_without_the_sources_line_ends() -> None:
    told = help_of("""Let a tier be\n    as `emu v2.1` had it. Writes wait.

    Ask
    first.""")
    assert told["short_help"] == "Let a tier be as `emu v2.1` had it."
    assert told["help"] == "Let a tier be as `emu v2.1` had it. Writes wait.\n\nAsk first."


def test_what_is_left_of_a_sentence_without_its_example_says_nothing_of_the_file() -> None:
    words = [*VERBS.values(), *(each.word for each in operations().values())]
    told = [without_example(description(word, each)) for word in words for each in fields(word)]
    assert len(told) > 50
    assert [text for text in told if "YAML" in text or not re.match(r"$|[^a-z ].*[.]$", text)] == []
