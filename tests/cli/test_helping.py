"""A verb is listed by its first sentence; its own help has the rest, in paragraphs."""

from __future__ import annotations

from emu.cli.helping import help_of


def test_the_list_has_the_first_sentence_and_the_help_all_without_the_sources_line_ends() -> None:
    told = help_of("""Let a tier be\n    as `emu v2.1` had it. Writes wait.

    Ask
    first.""")
    assert told["short_help"] == "Let a tier be as `emu v2.1` had it."
    assert told["help"] == "Let a tier be as `emu v2.1` had it. Writes wait.\n\nAsk first."
