"""How a user reaches the site: which address (by DNS or from the directory), over HTTP or RPC.

One operation in, its answer or an RpcError out, whichever way it went. When to ask is node.py's.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import quote, urlencode

from nodes.base import HTTP_PORT, Context
from nodes.metrics import Counter
from nodes.users.resolver import ResolveError, Resolver
from nodes.wire.client import Clients
from nodes.wire.directory import TierView
from nodes.wire.http_client import HttpClient
from protocols.control import Member
from protocols.errors import DEFINITE, INDEFINITE, RpcError
from protocols.http.message import Response

HOME: Final = "home"
ASSET: Final = "asset"
PROFILE: Final = "profile"
TIMELINE: Final = "timeline"
SEARCH: Final = "search"
POST: Final = "post"
LOGIN: Final = "login"
PHOTO: Final = "photo"
COUNT: Final = "count_posts"
COUNT_PHOTOS: Final = "count_photos"

TOKEN: Final = "x-emu-token"
ASSETS: Final = ("/static/style.css", "/static/hero.svg", "/static/mark.svg")
CODE_OF_STATUS: Final = {
    400: "bad_request",
    401: "unauthorized",
    404: "not_found",
    405: "no_such_method",
    408: "timeout",
    409: "refused",
    413: "too_large",
    414: "too_large",
    431: "too_large",
    500: "internal",
    501: "bad_request",
    502: "unknown_outcome",
    503: "unavailable",
    504: "timeout",
}
KNOWN_CODES: Final = DEFINITE | INDEFINITE
ROUTED_HELP: Final = "Attempts of users, by the region of the address that they went to."


class Place(NamedTuple):
    """Where to send a request."""

    host: str
    port: int


class Places:
    """Where the site is: what DNS says, or a ready member of the visited tier (near ones first)."""

    def __init__(self, ctx: Context, view: TierView, resolver: Resolver | None, name: str) -> None:
        self._ctx = ctx
        self._view = view
        self._resolver = resolver
        self._name = name
        self._rng: random.Random = ctx.rng("places")
        self._regions: dict[str, str] = {}
        self._regions_of: Sequence[Member] = ()
        self._routed: dict[str, Counter] = {}

    async def choose(self, client: str, attempt: int) -> Place:
        """The place for a client's attempt (0: the first); later ones go elsewhere if they can."""
        if self._resolver is not None:
            try:
                addresses = await self._resolver.resolve(self._name, client=client)
            except ResolveError as error:
                raise RpcError("unavailable", f"DNS: {error}") from error
            address = addresses[attempt % len(addresses)]
            self._count_routed(self._region_of(address))
            return Place(address, self._port())
        members = self._view.ready or self._view.members
        if not members:
            raise RpcError("unavailable", f"tier {self._view.tier} has no members")
        near = [each for each in members if each.region == self._ctx.region]
        chosen = self._rng.choice(near if near and attempt < 2 else list(members))
        self._count_routed(chosen.region)
        return Place(chosen.name, chosen.port)

    def _region_of(self, address: str) -> str:
        """Where the machine with that address is; "" where it is gone."""
        if self._regions_of is not self._view.members:
            self._regions_of = self._view.members
            self._regions |= {each.address: each.region for each in self._regions_of}
        return self._regions.get(address, "")

    def _count_routed(self, region: str) -> None:
        counter = self._routed.get(region)
        if counter is None:
            counter = self._routed[region] = self._ctx.metrics.counter(
                "user_routed_total", ROUTED_HELP, to_region=region
            )
        counter.value += 1

    def failed(self) -> None:
        """The address did not answer: whoever keeps it past its time shall ask again."""
        if self._resolver is not None:
            self._resolver.failed(self._name)

    def _port(self) -> int:
        members = self._view.members
        return members[0].port if members else HTTP_PORT


class Visitor(Protocol):
    """One user with one connection: operations one after the other."""

    session: str
    """The session's id once logged in, else empty."""

    async def ask(
        self, place: Place, operation: str, arguments: dict[str, Any], timeout_s: float
    ) -> dict[str, Any]:
        """The answer. Raises RpcError, definite or not."""
        ...

    def close(self) -> None:
        """Leave: keep no connection that others may wait for."""
        ...


class HttpVisitor:
    """A browser: a kept connection, a session cookie, the token of its last write."""

    def __init__(self, ctx: Context, host_header: str, requests_per_connection: int) -> None:
        self._client = HttpClient(ctx, max_idle=1, agent="emu-users")
        self._host_header = host_header
        self._most = requests_per_connection
        self._left = requests_per_connection
        self.session = ""
        self._token = 0

    async def ask(
        self, place: Place, operation: str, arguments: dict[str, Any], timeout_s: float
    ) -> dict[str, Any]:
        method, path, body = _http_request(operation, arguments)
        token = arguments.get("token", self._token)
        headers: list[tuple[str, str]] = []
        if token and operation != ASSET:
            headers.append((TOKEN, str(token)))
        if self.session:
            headers.append(("cookie", f"session={self.session}"))
        if body:
            kind = "image/png" if operation == PHOTO else "application/json"
            headers.append(("content-type", kind))
        try:
            response = await self._client.request(
                method,
                path,
                host=place.host,
                port=place.port,
                headers=headers,
                body=body,
                timeout_s=timeout_s,
                host_header=self._host_header,
            )
        finally:
            self._count()
        answer = _checked(response)
        if operation in (POST, PHOTO):
            self._token = int(answer.get("token", 0))
        return answer

    def close(self) -> None:
        self._client.close()

    def _count(self) -> None:
        """After its last request a connection is closed, not kept idle: it takes up a place."""
        self._left -= 1
        if self._most and self._left <= 0:
            self._client.close()
            self._left = self._most


class RpcVisitor:
    """A program: the same functions as MessagePack-RPC methods, on connections shared by all."""

    def __init__(self, client_of: Clients) -> None:
        self._client_of = client_of
        self.session = ""
        self._token = 0

    async def ask(
        self, place: Place, operation: str, arguments: dict[str, Any], timeout_s: float
    ) -> dict[str, Any]:
        token = arguments.get("token", self._token) or None
        method, params = _rpc_request(operation, arguments, token)
        answer = await self._client_of(place.host, place.port).call(
            method, *params, timeout_s=timeout_s
        )
        if not isinstance(answer, dict):
            raise RpcError("internal", f"{method} answered {type(answer).__name__}")
        if operation in (POST, PHOTO):
            self._token = int(answer.get("token", 0))
        return answer

    def close(self) -> None:
        """The connection is everybody's."""


def _http_request(operation: str, arguments: dict[str, Any]) -> tuple[str, str, bytes]:
    """(method, path, body)."""
    name = quote(str(arguments.get("name", "")), safe="")
    match operation:
        case "home":
            return "GET", "/", b""
        case "asset":
            return "GET", str(arguments["path"]), b""
        case "profile":
            return "GET", f"/u/{name}", b""
        case "timeline":
            return "GET", f"/api/timeline?user={name}" if name else "/api/timeline", b""
        case "search":
            return "GET", f"/api/search?q={quote(arguments['text'], safe='')}", b""
        case "count_posts":
            return "POST", "/api/posts/count", json.dumps({"ids": arguments["ids"]}).encode()
        case "count_photos":
            return "POST", "/api/photos/count", json.dumps({"ids": arguments["ids"]}).encode()
        case "photo":
            told: dict[str, str] = {"id": arguments["id"]}
            if "owner" in arguments:
                told["owner"] = arguments["owner"]
            return "POST", f"/api/photos?{urlencode(told)}", arguments["picture"]
        case "login":
            return "POST", "/api/login", json.dumps({"name": arguments["name"]}).encode()
        case "post":
            return "POST", "/api/posts", json.dumps(arguments).encode()
    raise AssertionError(operation)


def _rpc_request(
    operation: str, arguments: dict[str, Any], token: int | None
) -> tuple[str, list[Any]]:
    match operation:
        case "profile":
            return "site.profile", [arguments["name"], token]
        case "timeline":
            return "site.timeline", [arguments["name"], 20, token]
        case "search":
            return "site.search", [arguments["text"], 20, token]
        case "count_posts" | "count_photos":
            return f"site.{operation}", [arguments["ids"], token]
        case "photo":
            return "site.upload", [arguments["owner"], arguments["picture"], arguments["id"]]
        case "login":
            return "site.login", [arguments["name"]]
        case "post":
            return "site.post", [arguments["author"], arguments["text"], arguments["id"]]
    return "site.home", [token]


def _checked(response: Response) -> dict[str, Any]:
    """The answer's JSON ({} for a page); an RpcError for a status that is no success."""
    is_json = (response.header("content-type") or "").startswith("application/json")
    value: Any = {}
    if is_json:
        try:
            value = json.loads(response.body)
        except (ValueError, RecursionError):
            value = {}
    if response.status < 400:
        return value if isinstance(value, dict) else {}
    code = CODE_OF_STATUS.get(response.status, "unknown_outcome")
    message = f"HTTP {response.status}"
    error = value.get("error") if isinstance(value, dict) else None
    if isinstance(error, dict) and error.get("code") in KNOWN_CODES:
        code, message = str(error["code"]), str(error.get("message", message))
    raise RpcError(code, message)


def token_of(answer: dict[str, Any]) -> int:
    """The newest write that an answer tells of; 0: it tells of none."""
    token = answer.get("token", 0)
    return token if isinstance(token, int) else 0
