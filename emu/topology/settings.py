"""`--set db.ack=async`: what a command line says otherwise than the file, before it is checked."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from emu.model.problems import hint
from emu.topology import document as documents
from emu.topology.document import Document, Path

TIERS: Final = "tiers"
EXAMPLE: Final = (
    "write TIER.OPTION=VALUE, SECTION.KEY=VALUE or SECTION=VALUE, for example db.ack=async"
)


def change(document: Document, settings: Collection[str], sections: Collection[str]) -> None:
    """Put each of them into the document's data; those that cannot be put are problems."""
    for text in settings:
        name, equals, value = text.partition("=")
        words = tuple(word.strip() for word in name.split("."))
        whole, said = words[0] in sections, f"--set `{text[:80]}`"
        if not equals or not all(words) or (len(words) < 2 and not whole):
            document.problem((), f"{said}: {EXAMPLE}")
            continue
        try:
            place = _put(document, words, _value(value), sections)
            document.said[place] = said
        except ValueError as error:
            document.problem((), f"{said}: {error}")


def _value(text: str) -> Any:
    """What the file would have there: a number, a word, [a, b], {a: b}."""
    found = documents.read(text.strip(), "")
    if found.problems:
        raise ValueError(f"the value is {found.problems[0].message}")
    return found.data


def _put(document: Document, words: Path, value: Any, sections: Collection[str]) -> Path:
    """Where it stands now."""
    data = document.data
    tiers = data.get(TIERS) if isinstance(data, dict) else None
    names = list(tiers) if isinstance(tiers, dict) else []
    place = words if words[0] in sections else (TIERS, *words)
    if place is not words and words[0] not in names:
        raise ValueError(f"no tier or section `{words[0]}`; {hint(str(words[0]), names)}")
    for word in place[:-1]:
        if not isinstance(data, dict):
            break
        data = data.setdefault(word, {})
    if not isinstance(data, dict):
        raise ValueError(f"what stands above `{place[-1]}` is no mapping; set all of it")
    data[place[-1]] = value
    return place
