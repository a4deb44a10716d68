"""Python code that a topology names (`module:Thing`): imported only from beside the file or from
an installed package, never from the current folder or PYTHONPATH."""

from __future__ import annotations

import importlib
import importlib.util
import re
import site
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from nodes.base import RPC_PORT
from nodes.kind import Edge, Kind, Leader, Port

REFERENCE: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
WRITE: Final = "write `package.module:Name`"


@dataclass(frozen=True, slots=True)
class NoOptions:
    """The Config of a user's own node that declares none."""


def load(reference: str, folder: Path) -> tuple[Any, str]:
    """The object that `module:Name` means, and the file it came from.

    Raises ValueError that says what is wrong, whatever the imported code raised.
    """
    if not REFERENCE.fullmatch(reference) or len(reference) > 200:
        raise ValueError(f"`{reference[:60]}` names no Python object; {WRITE}")
    module_name, _, name = reference.partition(":")
    module = _import(module_name, folder)
    if not hasattr(module, name):
        raise ValueError(f"`{module_name}` has no `{name}`; look into {module.__file__}")
    return getattr(module, name), str(module.__file__)


def fit(reference: str, found: Any, check: Callable[[Any], None]) -> None:
    """Let a kind look at what a field of its names. Raises ValueError."""
    try:
        check(found)
    except ValueError as error:
        raise ValueError(f"`{reference}` {error}") from None


def kind_of(reference: str, folder: Path) -> tuple[Kind, str]:
    """The Kind of a user's own node: a `Kind`, or a Node class.

    A class may say more in attributes: `Config` (a frozen dataclass), `port` (a number) or `ports`,
    `edges`, `peers`, `roles`, and of those the `leader`. Raises ValueError.
    """
    found, file = load(reference, folder)
    if isinstance(found, Kind):
        return found, file
    if not isinstance(found, type) or not callable(getattr(found, "run", None)):
        raise ValueError(f"`{reference}` is no node; give a class with an async `run`, or a Kind")
    config = getattr(found, "Config", NoOptions)
    if not (isinstance(config, type) and is_dataclass(config)):
        raise ValueError(f"`{reference}`: its `Config` must be a frozen dataclass")
    edges = getattr(found, "edges", ())
    words = [each.field if isinstance(each, Edge) else each for each in edges]
    unknown = [word for word in words if word not in (each.name for each in fields(config))]
    if isinstance(edges, str) or unknown:
        raise ValueError(f"`{reference}`: its `edges` must be names of fields of its Config")
    leader = getattr(found, "leader", None)
    node: Any = found  # the supervisor finds out whether its constructor fits
    kind = Kind(
        config,
        node,
        _ports_of(found),
        edges=tuple(edges),
        peers=bool(getattr(found, "peers", False)),
        roles=tuple(getattr(found, "roles", ())),
        leader=leader if isinstance(leader, Leader) else None,
    )
    return kind, file


def _ports_of(found: type) -> tuple[Port, ...]:
    number = getattr(found, "port", RPC_PORT)
    return tuple(getattr(found, "ports", (Port("rpc", number),)))


def _import(module_name: str, folder: Path) -> ModuleType:
    package = module_name.partition(".")[0]
    beside = _beside(package, folder)
    if beside:
        _refuse_links_out(module_name, folder)
    elif not _installed(package):
        raise ValueError(
            f"no Python module `{package}` beside the topology ({folder}) nor installed; "
            "code is loaded from nowhere else"
        )
    already = sys.modules.get(package)
    if already is not None and beside and not _lies_in(already, folder):
        where = getattr(already, "__file__", None) or "Python itself"
        raise ValueError(f"the module name `{package}` is taken by {where}; rename yours")
    try:
        with _on_path(folder if beside else None):
            return importlib.import_module(module_name)
    except (
        Exception,
        SystemExit,
    ) as error:  # a user's module may raise anything while it is imported
        raise ValueError(f"importing `{module_name}`: {type(error).__name__}: {error}") from error


def _beside(package: str, folder: Path) -> bool:
    return any(file.is_file() for file in _files_of(folder / package))


def _files_of(place: Path) -> tuple[Path, Path]:
    return place.with_name(f"{place.name}.py"), place / "__init__.py"


def _refuse_links_out(module_name: str, folder: Path) -> None:
    """A link beside the topology that leads elsewhere is code from elsewhere. Raises ValueError."""
    place = folder
    for part in module_name.split("."):
        place = place / part
        for file in _files_of(place):
            if file.is_file() and not file.resolve().is_relative_to(folder.resolve()):
                raise ValueError(f"{file} leads out of {folder}; copy the code beside the topology")


def _installed(package: str) -> bool:
    """Whether the package lies in a site-packages folder of this Python."""
    places = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    places |= set(site.getsitepackages()) | {site.getusersitepackages()}
    already = sys.modules.get(package)
    try:
        spec = already.__spec__ if already is not None else importlib.util.find_spec(package)
    except (ImportError, ValueError, AttributeError):
        return False
    if spec is None or spec.origin is None:
        return False
    origin = Path(spec.origin).resolve()
    return any(origin.is_relative_to(Path(place).resolve()) for place in places)


def _lies_in(module: ModuleType, folder: Path) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and Path(file).resolve().is_relative_to(folder.resolve())


@contextmanager
def _on_path(folder: Path | None) -> Iterator[None]:
    """The folder is importable while its code is imported, and no longer."""
    if folder is None:
        yield
        return
    entry = str(folder.resolve())
    sys.path.insert(0, entry)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(entry)
