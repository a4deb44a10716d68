"""The topologies that ship, wherever emu is installed: found by their file, or by `04`."""

from __future__ import annotations

import os  # whose questions about names that are too long have an answer
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parents[2] / "topologies"
FULL: Final = FOLDER / "full.yaml"
"""What `emu up` without a file brings up."""
DRAFT: Final = FOLDER / "new.txt"
SUFFIX: Final = ".yaml"


def names() -> list[str]:
    """What each may be called: `01-single-server` ... `full`."""
    return [path.stem for path in sorted(FOLDER.glob(f"*{SUFFIX}"))]


def find(file: str | Path) -> Path:
    """The file itself; where there is none, the shipped topology that it names: `04`,
    `04-load-balancer`, or `topologies/04-load-balancer.yaml` as the README has it."""
    path = Path(file)
    if os.path.exists(path) or path.is_absolute() or ".." in path.parts:
        return path
    inside = FOLDER.joinpath(*path.parts[path.parts[0] == FOLDER.name :])
    if inside.suffix == SUFFIX and os.path.isfile(inside):
        return inside
    found = [name for name in names() if str(path) in (name, name.partition("-")[0])]
    return FOLDER / f"{found[0]}{SUFFIX}" if len(found) == 1 else path
