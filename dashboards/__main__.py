"""`python -m dashboards` writes json/*.json and METRICS.md; --check only says what is old."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Final

from dashboards import metrics
from dashboards.board import Board, panel_queries

HERE: Final = Path(__file__).resolve().parent


def _boards() -> tuple[Board, ...]:
    """The BOARD of every module (or package) of this folder that has one, by their names."""
    names = sorted(each.name for each in iter_modules([str(HERE)]) if each.name != "__main__")
    modules = [import_module(f"dashboards.{name}") for name in names]
    return tuple(module.BOARD for module in modules if hasattr(module, "BOARD"))


BOARDS: Final = _boards()


def files() -> dict[str, str]:
    """What is generated: path below this folder → text."""
    found = {
        f"json/{board.uid}.json": json.dumps(board.to_json(), indent=1, ensure_ascii=False) + "\n"
        for board in BOARDS
    }
    known = metrics.registered()
    found["METRICS.md"] = metrics.as_markdown(known.values(), drawn_on(known))
    return found


def drawn_on(known: dict[str, metrics.Metric]) -> dict[str, list[str]]:
    """Metric → the dashboards that ask for it."""
    shown: dict[str, list[str]] = {name: [] for name in known}
    for board in BOARDS:
        text = " ".join(query for _, query in panel_queries(board.to_json()))
        asked = metrics.asked_for(text)
        for name, metric in known.items():
            if asked.intersection((name, *metric.samples)):
                shown[name].append(board.title.removeprefix("emu / "))
    return shown


def main(words: list[str]) -> int:
    """Write what differs; with --check, only name it."""
    old = [
        path
        for path, text in files().items()
        if not (HERE / path).exists() or (HERE / path).read_text("utf-8") != text
    ]
    for path in old:
        sys.stderr.write(f"dashboards/{path} {'is old' if '--check' in words else 'written'}\n")
        if "--check" not in words:
            (HERE / path).parent.mkdir(exist_ok=True)
            (HERE / path).write_text(files()[path], "utf-8")
    return 1 if old and "--check" in words else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
