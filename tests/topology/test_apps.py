"""An app of the user's own is refused where it stands, if it cannot be called as apps are."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest

from emu.model.problems import TopologyError
from emu.topology.loading import load
from nodes.site import app as apps


async def sound(request: Any, services: Any) -> Any: ...
async def with_a_default(request: Any, services: Any, more: int = 0) -> Any: ...
async def of_one(request: Any) -> Any: ...
async def of_none() -> Any: ...
def plain(request: Any, services: Any) -> Any: ...


@functools.wraps(sound)
def wrapped(*words: Any) -> Any:
    return sound(*words)


class Called:
    async def __call__(self, request: Any, services: Any) -> Any: ...


@pytest.mark.parametrize("app", [sound, with_a_default, wrapped, Called()])
def test_what_can_be_called_as_an_app_is_one(app: Any) -> None:
    apps.check(app)


@pytest.mark.parametrize(
    ("app", "why"),
    [
        (of_one, "is called with a request and services, and takes (request: "),
        (of_none, "is called with a request and services, and takes () -> "),
        (plain, "is no `async def`; write `async def app(request, services)` that"),
        (Called, "is no function"),
        (3, "is no function"),
    ],
)
def test_what_cannot_says_how_to_write_it(app: Any, why: str) -> None:
    with pytest.raises(ValueError) as caught:
        apps.check(app)
    assert why in str(caught.value)
    assert "write `async def app(request, services)` that returns a Response" in str(caught.value)


def refused(folder: Path, module: str, source: str) -> tuple[Path, str]:
    """A topology whose app is of that module, and why it is refused."""
    (folder / f"{module}.py").write_text(source)
    file = folder / "shop.yaml"
    file.write_text(f"tiers:\n  web: {{kind: web, public: true, app: '{module}:app'}}\n")
    with pytest.raises(TopologyError) as caught:
        load(file)
    return file, str(caught.value)


def test_a_module_that_exits_as_it_is_imported_is_refused_at_its_place(tmp_path: Path) -> None:
    file, told = refused(tmp_path, "shop_exits", "import sys\nsys.exit('usage: shop PORT')\n")
    why = "importing `shop_exits`: SystemExit: usage: shop PORT"
    assert f"{file}:2:39: `app`: {why}" in told


def test_a_file_that_names_it_is_refused_at_its_place(tmp_path: Path) -> None:
    file, told = refused(tmp_path, "shop_of_one", "async def app(request): ...\n")
    assert told.startswith(
        f"{file}:2:39: `app`: `shop_of_one:app` is called with a request and services, and takes "
        "(request); write "
    )
