"""The models that a history may be judged by beside the general ones: those of kinds, and those
that installed packages name by the entry point `emu.checkers`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Final

from emu.checks import MODELS
from emu.extensions import ExtensionError, named_by
from nodes.history import Model
from nodes.kind import Kind

CHECKERS: Final = "emu.checkers"


def models_of(kinds: Iterable[Kind]) -> dict[str, Model]:
    """Every model by its name. Raises ExtensionError where two have one name."""
    found = dict(installed_models())
    for kind in kinds:
        for name, model in kind.models.items():
            if name in MODELS or found.setdefault(name, model) is not model:
                raise ExtensionError(f"two models are called `{name}`; rename one")
    return found


@cache
def installed_models() -> dict[str, Model]:
    return named_by(CHECKERS, Model, taken=MODELS)
