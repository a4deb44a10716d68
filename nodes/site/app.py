"""A website of the user's own in place of the built-in one: `app: mysite:app` in the topology.

async def app(request, services):
    rows = await services.db.query("SELECT name FROM users")
    return Response(200, body=repr(rows.rows).encode())
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from nodes.base import Context
from nodes.site.service import Site
from nodes.site.store import Store
from nodes.wire.http_server import Endpoint, Via
from protocols.http.message import Request, Response


@dataclass(slots=True)
class Services:
    """What an app may use. A service that the tier does not `use` is None."""

    ctx: Context
    db: Store
    site: Site
    """The built-in site's functions (sessions among them)."""
    cache: Any = None
    kv: Any = None
    queue: Any = None


WRITE: Final = "write `async def app(request, services)` that returns a Response"
App = Callable[[Request, Services], Awaitable[Response]]


def load(name: str, check: Callable[[Any], None]) -> Any:
    """Import `module:function`. Raises ValueError that says what is wrong."""
    module_name, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), attribute or "app")
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"app {name!r}: {error}") from error
    check(found)
    return found


def check(found: Any) -> None:
    """Raises ValueError, as `is ...`, where it is seen from outside that this is no App."""
    check_function(found, "a request and services", WRITE)


def check_function(found: Any, arguments: str, write: str) -> None:
    """The same of anything that is called with those two `arguments`. What a call comes to, a
    wrapper's for example, only a call can tell."""
    if not callable(found) or isinstance(found, type):
        raise ValueError(f"is no function; {write}")
    try:
        signature = inspect.signature(found)
    except ValueError:
        return  # written in C: it says nothing of itself
    try:
        signature.bind(None, None)
    except TypeError:
        text = f"is called with {arguments}, and takes {signature}; {write}"
        raise ValueError(text) from None
    plain = inspect.isfunction(found) and not hasattr(found, "__wrapped__")
    if plain and not inspect.iscoroutinefunction(found):
        raise ValueError(f"is no `async def`; {write}")


def endpoint(app: App, services: Services) -> Endpoint:
    """The app as the only endpoint of the node."""

    async def handler(request: Request, via: Via) -> Response:
        answer = await app(request, services)
        if not isinstance(answer, Response):
            raise TypeError(f"the app returned {type(answer).__name__}, not a Response")
        return answer

    return Endpoint("app", handler)
