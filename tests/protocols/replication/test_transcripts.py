"""Golden transcripts: every message and effect of the classic stories, in transcripts/*.txt.

A block is a comment, a command, `----`, and what came of it. To write them anew after a change that
was meant: `REWRITE_TRANSCRIPTS=1 pytest tests/protocols/replication/test_transcripts.py`, then read
the diff.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.protocols.replication.script import Script

FOLDER = Path(__file__).parent / "transcripts"
STORIES = sorted(FOLDER.glob("*.txt"))


def replay(text: str) -> str:
    """The transcript as it comes out now."""
    script, blocks = Script(), []
    for block in text.strip().split("\n\n"):
        asked = block.partition("\n----")[0]
        commands = [line for line in asked.splitlines() if not line.startswith("#")]
        produced = [line for command in commands for line in script.do(command)]
        blocks.append("\n".join([asked, "----", *produced]) if commands else asked)
    return "\n\n".join(blocks) + "\n"


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.stem)
def test_the_group_does_exactly_what_the_transcript_says(story):
    text = story.read_text()
    produced = replay(text)
    if os.environ.get("REWRITE_TRANSCRIPTS"):
        story.write_text(produced)
    assert produced == story.read_text()


def test_there_is_a_transcript_for_each_classic_story():
    assert [story.stem for story in STORIES] == [
        "append",
        "divergence",
        "election",
        "failover",
        "lost_disk",
        "membership",
        "snapshot",
        "switchover",
        "witness",
    ]
