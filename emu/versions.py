"""What a digest depends on beside seed and topology: this code, and what it is run by."""

from __future__ import annotations

import hashlib
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Final

import nodes
import protocols

PACKAGES: Final = ("trio", "msgpack")


def versions() -> dict[str, str]:
    """What is installed, for people."""
    python = ".".join(str(part) for part in sys.version_info[:3])
    return {"python": python, **{name: version(name) for name in PACKAGES}}


@cache
def source() -> str:
    """Which code this is: a digest over its files."""
    found = hashlib.sha256()
    packages = (Path(str(each.__file__)).parent for each in (protocols, nodes))
    for folder in (*packages, Path(__file__).parent):
        for file in sorted(folder.rglob("*.py")):
            found.update(str(file.relative_to(folder)).encode() + file.read_bytes())
    return found.hexdigest()[:16]


def complete() -> dict[str, str]:
    """All of it: where this is the same, a seed has the same digest."""
    return {**versions(), "source": source()}
