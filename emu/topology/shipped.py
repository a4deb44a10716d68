"""The topologies that ship, wherever emu is installed: found by their file, or by `04`."""

from __future__ import annotations

import os  # whose questions about names that are too long have an answer
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parents[2] / "topologies"
FULL: Final = FOLDER / "full.yaml"
"""What `emu up` without a file brings up."""
EXPERIMENTS: Final = FOLDER / "experiments"
DRAFT: Final = FOLDER / "new.txt"
SUFFIX: Final = ".yaml"


def names() -> list[str]:
    """What each may be called: `01-single-server` ... `full`."""
    return _stems(FOLDER)


def experiments() -> list[str]:
    """The same of those that set two of a kind side by side: `01-sessions` ..."""
    return _stems(EXPERIMENTS)


def find(file: str | Path) -> Path:
    """The file itself; where there is none, the shipped topology that it names: `04`,
    `04-load-balancer`, or `topologies/04-load-balancer.yaml` as the README has it; of the
    experiments `03-async-or-quorum`, or `experiments/03`."""
    path = Path(file)
    if os.path.exists(path) or path.is_absolute() or ".." in path.parts:
        return path
    inside = FOLDER.joinpath(*path.parts[path.parts[0] == FOLDER.name :])
    if inside.suffix == SUFFIX and os.path.isfile(inside):
        return inside
    if inside.parent == EXPERIMENTS:
        found = _named(EXPERIMENTS, inside.name)
    else:
        found = _named(FOLDER, str(path))
        if not found and str(path) in experiments():
            found = _named(EXPERIMENTS, str(path))
    return found[0] if len(found) == 1 else path


def _stems(folder: Path) -> list[str]:
    return [path.stem for path in sorted(folder.glob(f"*{SUFFIX}"))]


def _named(folder: Path, word: str) -> list[Path]:
    """Whose whole name it is, or whose number."""
    stems = [stem for stem in _stems(folder) if word in (stem, stem.partition("-")[0])]
    return [folder / f"{stem}{SUFFIX}" for stem in stems]
