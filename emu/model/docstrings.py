"""What a dataclass says of its fields: the texts under them, for schemas and for help."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from dataclasses import Field
from functools import cache
from itertools import pairwise
from typing import Any, Final

HELP: Final = "help"
"""In a field's metadata: what it is, where its dataclass has no source that says it."""


@cache
def descriptions(config: Any) -> dict[str, str]:
    """The docstrings under a dataclass's fields, by field name, also of those that it inherits;
    none where its source is gone."""
    found: dict[str, str] = {}
    for base in getattr(config, "__bases__", ()):
        found |= descriptions(base) if base is not object else {}
    node = _classes(config.__module__).get(config.__qualname__) or _alone(config)
    for before, after in pairwise(node.body if node is not None else ()):
        match before, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(
                value=ast.Constant(value=str(text))
            ):
                found[name] = " ".join(text.split())
    return found


def description(config: Any, each: Field[Any]) -> str:
    """What one of its fields is, for people; "" if nothing says it."""
    return str(each.metadata.get(HELP) or descriptions(config).get(each.name, ""))


def without_example(text: str) -> str:
    """What a field's text says but for how its key is written: `so many: `slow_factor: 50``."""
    return re.sub(r"[:,]? `[a-z_]+: [^`]+`", "", text)


@cache
def _classes(module: str) -> dict[str, ast.ClassDef]:
    """The classes at a module's top; its source is read once, whoever of them is asked about."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (OSError, TypeError, SyntaxError, KeyError):
        return {}
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


def _alone(config: Any) -> ast.ClassDef | None:
    """A class that was made inside of something."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(config)))
    except (OSError, TypeError, SyntaxError):
        return None
    return tree.body[0] if isinstance(tree.body[0], ast.ClassDef) else None
