"""Topics as Markdown pages, for docs/reference: `make docs` writes them, and a test fails where
they are not what the code says. Pure text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from emu.reference.entries import Entry

HEAD: Final = "<!-- Generated from the code by `make docs`: change the sentence there. -->\n"
Topics = Mapping[str, tuple[str, Sequence[Entry]]]
"""Topic → (what it is about, its entries)."""


def pages(topics: Topics) -> dict[str, str]:
    """File name → text."""
    found = {f"{topic}.md": _page(topic, about, entries)
             for topic, (about, entries) in topics.items()}  # fmt: skip
    return {"README.md": _index(topics), **found}


def _index(topics: Topics) -> str:
    rows = [
        [f"[{topic}]({topic}.md)", about, f"`emu explain {topic}`"]
        for topic, (about, _) in topics.items()
    ]
    lines = ["# Reference", "", *_table(["page", "what it tells", "on the command line"], rows)]
    return HEAD + "\n".join(lines) + "\n"


def _page(topic: str, about: str, entries: Sequence[Entry]) -> str:
    lines = [f"# {topic}", "", about, ""]
    if any(each.options for each in entries):
        for each in entries:
            lines += _whole(each)
    else:
        columns = [topic, "what it is", *more_of(entries), "example"]
        lines += _table(columns, [_row(each, columns) for each in entries])
    return HEAD + "\n".join(lines).rstrip("\n") + "\n"


def more_of(entries: Sequence[Entry]) -> list[str]:
    """What else is said of some of them: `labels: method, code` is of `labels`."""
    found = [line.partition(": ")[0] for each in entries for line in each.more.splitlines()]
    return [*(["value"] if any(each.unit for each in entries) else []), *dict.fromkeys(found)]


def _row(entry: Entry, columns: Sequence[str]) -> list[str]:
    said = dict(line.split(": ", 1) for line in entry.more.splitlines())
    said["value"] = entry.unit
    middle = [said.get(column, "") for column in columns[2:-1]]
    return [_code(entry.name), entry.text, *middle, _code(entry.example)]


def _whole(entry: Entry) -> Iterator[str]:
    yield f"## {entry.name}"
    yield ""
    yield entry.text + (f" ({entry.unit})" if entry.unit else "")
    yield ""
    yield f"    {entry.example}"
    yield ""
    for line in entry.more.splitlines():
        what, _, words = line.partition(": ")
        yield f"- {what}: {words}"
    if entry.more:
        yield ""
    if entry.options:
        rows = [[_code(each.name), each.unit, each.default, each.text, _code(each.example)]
                for each in entry.options]  # fmt: skip
        yield from _table(["option", "value", "default", "what it is", "example"], rows)
        yield ""


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(_cell(cell) for cell in row)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _code(text: str) -> str:
    return f"`{text}`" if text else ""
