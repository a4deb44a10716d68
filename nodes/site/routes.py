"""Which path is which function of the site, and whether the answer is HTML or JSON.

Every page `/x` has a JSON twin `/api/x`. What the functions do is in service.py, how
it looks in pages.py.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final
from urllib.parse import quote, unquote

from nodes.base import OUTSIDE, Context
from nodes.parts import png
from nodes.site import dated, pages, photo_pages, pictures, style
from nodes.site.pages import View
from nodes.site.service import Site
from nodes.site.store import NAMES
from nodes.wire.answers import request_id
from nodes.wire.http_server import Endpoint, Via, error_response, json_response
from protocols.caching.dated import ROOT
from protocols.errors import RpcError
from protocols.http import forms
from protocols.http import message as http
from protocols.http.message import Request, Response
from protocols.numerals import whole

TOKEN: Final = "x-emu-token"
"""Response to a write, and request header of a read that must see it (a browser: cookie `seen`)."""
PATH: Final = "x-emu-path"
"""Set by an HTTP proxy in front: the names of the machines so far, separated by commas."""
START_PATIENCE_S: Final = 3.0
"""After so long a server has started, though its database was never reached."""
MAX_PATH_CHARS: Final = 200
DRAWN: Final = (160, 120)
"""Width and height of a photo that the site draws for who has none at hand."""
API: Final = "/api/"
SECURITY: Final = (
    (
        "content-security-policy",
        "default-src 'none'; img-src 'self'; style-src 'self'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'",
    ),
    ("x-content-type-options", "nosniff"),
)
PRIVATE: Final = ("cache-control", "private, no-store")
BRIEF: Final = (
    ("cache-control", "public, max-age=0"),
    ("cdn-cache-control", "max-age=2, stale-while-revalidate=4, stale-if-error=60"),
)
"""A browser asks each time; an edge may answer for two seconds, and for longer without us."""
LONG: Final = (
    "cache-control",
    "public, max-age=3600, stale-while-revalidate=60, stale-if-error=86400",
)
VARY: Final = ("vary", f"cookie, {TOKEN}")
"""What is shown depends on who asks, and on what they have written."""
STATIC: Final = {
    "style.css": ("text/css; charset=utf-8", style.CSS.encode()),
    "mark.svg": ("image/svg+xml", pictures.MARK.encode()),
    "hero.svg": ("image/svg+xml", pictures.HERO.encode()),
}
"""(content type, body) of each file; the faces are drawn when asked for."""

Handler = Callable[[Request, Via], Any]
"""A coroutine function that returns a Response; of the routes in AT_ONCE a plain one."""
AT_ONCE: Final = frozenset({"static", "health"})


class Routes:
    """The site over HTTP: `find` gives the endpoint of a request."""

    def __init__(
        self,
        ctx: Context,
        site: Site,
        *,
        database: Callable[[], str],
        store_ready: Callable[[], bool],
    ) -> None:
        self.ctx = ctx
        self.site = site
        self.database = database
        """The name of what the pages' data came from, for the picture of the path ("": this)."""
        self.store_ready = store_ready
        self._began_s = ctx.clock.monotonic_s()
        self._exact: dict[str, dict[str, tuple[str, Handler]]] = {
            "/": {"GET": ("home", self.home)},
            "/timeline": {"GET": ("timeline", self.timeline)},
            "/search": {"GET": ("search", self.search)},
            "/login": {"GET": ("login_page", self.login_page), "POST": ("login", self.login)},
            "/logout": {"POST": ("logout", self.logout)},
            "/post": {"POST": ("post", self.post)},
            "/posts": {"GET": ("count_posts", self.count_posts), "POST": ("post", self.post)},
            "/posts/count": {"POST": ("count_posts", self.count_posts)},
            "/photos": {"GET": ("photos", self.photos), "POST": ("upload", self.upload)},
            "/photos/count": {"POST": ("count_photos", self.count_photos)},
            "/notices": {"GET": ("notices", self.notices)},
            "/session": {"GET": ("session", self.session)},
            "/favicon.ico": {"GET": ("static", self.icon)},
            "/health": {"GET": ("health", self.health)},
            "/health/live": {"GET": ("health", self.live)},
        }
        self._prefixes: tuple[tuple[str, str, Handler], ...] = (
            ("/u/", "profile", self.profile),
            ("/users/", "profile", self.profile),
            ("/post/", "get_post", self.get_post),
            ("/posts/", "get_post", self.get_post),
            ("/photos/", "photo", self.photo),
            ("/static/", "static", self.static),
            (ROOT, "dated", self.dated),
        )

    def find(self, request: Request) -> Endpoint:
        path = request.path
        if path.startswith(API):
            path = path[len(API) - 1 :]
            path = "/" if path == "/home" else path
        methods = self._exact.get(path)
        if methods is None:
            for prefix, name, handler in self._prefixes:
                if path.startswith(prefix) and len(path) > len(prefix):
                    methods = {"GET": (name, handler)}
                    break
        method = "GET" if request.method == "HEAD" else request.method
        if method == "OPTIONS" and path == "*":  # of the server as a whole
            return Endpoint("options", _Allowed(("GET", "POST")), 0.0, at_once=True)
        if methods is None:
            return Endpoint("unknown", _not_found, 0.0, at_once=True)
        if method == "OPTIONS":
            return Endpoint("options", _Allowed(methods), 0.0, at_once=True)
        if method not in methods:
            refusal = _Refusal(self, 405, _allowed(methods))
            return Endpoint("unknown", refusal, 0.0, at_once=True)
        name, handler = methods[method]
        cost_s = 0.0 if name == "health" else None
        return Endpoint(name, handler, cost_s, at_once=name in AT_ONCE)

    # --- how an answer looks -----------------------------------------------------------------

    def render_error(
        self, request: Request | None, status: int, code: str, message: str
    ) -> Response:
        """For people a page, for programs JSON."""
        if request is None or not _wants_page(request):
            return error_response(request, status, code, message)
        view = View(self.ctx.name, self.ctx.region, 1, (), self.ctx.clock.wall_s())
        phrase = http.reason_phrase(status)
        return _html(
            pages.problem(view, status, phrase, message, request_id()),
            status,
            ("cache-control", "no-store"),
        )

    async def _view(self, request: Request, via: Via, began_s: float) -> View:
        user = await self._user(request) if "session" in request.cookies else None
        clock = self.ctx.clock
        return View(
            node=self.ctx.name,
            region=self.ctx.region,
            generation=self.ctx.generation,
            path=self.path_of(request, via),
            now_s=clock.wall_s(),
            user=user,
            host=request.headers.get("host", ""),
            took_s=clock.monotonic_s() - began_s,
            photos=self.site.errands is not None,
        )

    def path_of(self, request: Request, via: Via) -> tuple[str, ...]:
        """The machines from the client to the data, as far as they can be known here."""
        before = [
            each.strip() for each in request.headers.get(PATH, "")[:MAX_PATH_CHARS].split(",")
        ]
        path = ["you", *(each for each in before if each)]
        if via.peer not in (OUTSIDE, path[-1]):
            path.append(via.peer)
        path.append(self.ctx.name)
        database = self.database()
        return (*path, database) if database else tuple(path)

    async def _user(self, request: Request) -> str | None:
        return await self.site.session_user(request.cookies.get("session", ""))

    async def _answer(
        self,
        request: Request,
        via: Via,
        work: Awaitable[dict[str, Any]],
        render: Callable[[View, dict[str, Any]], bytes],
        *,
        private: bool = False,
    ) -> Response:
        """JSON under /api, else the page; both say how long they may be kept."""
        began_s = self.ctx.clock.monotonic_s()
        data = await work
        private = private or "session" in request.cookies or _token(request) is not None
        caching = (PRIVATE,) if private else BRIEF
        if not _wants_page(request):
            return json_response(data, 200, (*caching, VARY))
        view = await self._view(request, via, began_s)
        return _html(render(view, data), 200, *caching, VARY)

    # --- pages -------------------------------------------------------------------------------

    async def home(self, request: Request, via: Via) -> Response:
        work = self._home(request, via)
        return await self._answer(request, via, work, pages.home)

    async def _home(self, request: Request, via: Via) -> dict[str, Any]:
        data = await self.site.home(_token(request))
        return {**data, "path": list(self.path_of(request, via))}

    async def profile(self, request: Request, via: Via) -> Response:
        work = self.site.profile(_last(request), _token(request))
        return await self._answer(request, via, work, pages.profile)

    async def get_post(self, request: Request, via: Via) -> Response:
        work = self.site.get_post(_last(request), _token(request))
        return await self._answer(request, via, work, pages.one_post)

    async def search(self, request: Request, via: Via) -> Response:
        query = _query(request)
        text = query.get("q", "")
        if not text and _wants_page(request):
            view = await self._view(request, via, self.ctx.clock.monotonic_s())
            return _html(pages.search(view, {"q": "", "posts": [], "people": []}), 200, PRIVATE)
        work = self.site.search(text, _number(query, "limit", 20), _token(request))
        return await self._answer(request, via, work, pages.search)

    async def timeline(self, request: Request, via: Via) -> Response:
        query = _query(request)
        user = query.get("user") or await self._user(request)
        if user is None:
            if _wants_page(request):
                return _redirect("/login")
            raise RpcError("unauthorized", "log in first, or say ?user=NAME")
        work = self.site.timeline(user, _number(query, "limit", 20), _token(request))
        return await self._answer(request, via, work, pages.timeline, private=True)

    async def count_posts(self, request: Request, via: Via) -> Response:
        if request.method == "POST":
            ids = _form(request).get("ids", [])
        else:
            ids = [each for each in _query(request).get("ids", "").split(",") if each]
        return json_response(await self.site.count_posts(ids, _token(request)))

    async def post(self, request: Request, via: Via) -> Response:
        form = _form(request)
        author = form.get("author") or await self._user(request)
        if author is None:
            if _wants_page(request):
                return _redirect("/login")
            raise RpcError("unauthorized", "log in first, or name the author")
        made = await self.site.post(author, form.get("text", ""), form.get("id", ""))
        token = str(made["token"])
        seen = ("set-cookie", f"seen={token}; Path=/; Max-Age=60; HttpOnly; SameSite=Lax")
        if _wants_page(request):
            return _redirect(f"/u/{quote(author, safe='')}", seen)
        return json_response(made, 201, ((TOKEN, token), seen))

    # --- photos ------------------------------------------------------------------------------

    async def photos(self, request: Request, via: Via) -> Response:
        work = self.site.photos(_token(request))
        return await self._answer(request, via, work, photo_pages.newest)

    async def upload(self, request: Request, via: Via) -> Response:
        """The body is the picture, or a form that has it or asks for one to be drawn. Whose it is:
        `owner`, of the target or the form, or who is logged in."""
        query, (data, form) = _query(request), _picture(request)
        owner = query.get("owner") or form.get("owner") or await self._user(request)
        if owner is None:
            if _wants_page(request):
                return _redirect("/login")
            raise RpcError("unauthorized", "log in first, or say ?owner=NAME")
        photo = query.get("id") or form.get("id") or ""
        made = await self.site.upload(owner, data, photo)
        token = str(made["token"])
        seen = ("set-cookie", f"seen={token}; Path=/; Max-Age=60; HttpOnly; SameSite=Lax")
        where = f"/photos/{quote(made['id'], safe='')}"
        if _wants_page(request):
            return _redirect(where, seen)
        return json_response(made, 202, ((TOKEN, token), seen, ("location", where)))

    async def photo(self, request: Request, via: Via) -> Response:
        """`/photos/ID` tells of it, `/photos/ID/small.png` is it."""
        photo, _, size = unquote(request.path.partition("/photos/")[2]).partition("/")
        if size.endswith(".png"):
            content = await self.site.photo_content(photo, size.removesuffix(".png"))
            return _cacheable(request, "image/png", content)
        if size:
            raise RpcError("not_found", f"there is no page {request.path[:100]}")
        work = self.site.photo(photo, _token(request))
        return await self._answer(request, via, work, photo_pages.one, private=True)

    async def count_photos(self, request: Request, via: Via) -> Response:
        ids = _form(request).get("ids", [])
        return json_response(await self.site.count_photos(ids, _token(request)))

    async def notices(self, request: Request, via: Via) -> Response:
        user = _query(request).get("user") or await self._user(request)
        if user is None:
            if _wants_page(request):
                return _redirect("/login")
            raise RpcError("unauthorized", "log in first, or say ?user=NAME")
        work = self.site.notices(user, _token(request))
        return await self._answer(request, via, work, photo_pages.notices, private=True)

    # --- sessions ----------------------------------------------------------------------------

    async def login_page(self, request: Request, via: Via) -> Response:
        view = await self._view(request, via, self.ctx.clock.monotonic_s())
        return _html(pages.login(view, NAMES), 200, PRIVATE)

    async def login(self, request: Request, via: Via) -> Response:
        begun = await self.site.login(_form(request).get("name", ""))
        cookie = ("set-cookie", f"session={begun['session']}; Path=/; HttpOnly; SameSite=Lax")
        if _wants_page(request):
            return _redirect("/timeline", cookie)
        return json_response(begun, 200, (cookie, PRIVATE))

    async def logout(self, request: Request, via: Via) -> Response:
        session = request.cookies.get("session", "")
        if session:
            await self.site.logout(session)
        cookie = ("set-cookie", "session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax")
        return _redirect("/", cookie) if _wants_page(request) else Response(204, (cookie,))

    async def session(self, request: Request, via: Via) -> Response:
        user = await self._user(request)
        if user is None:
            raise RpcError("unauthorized", "no such session on this node")
        return json_response({"user": user, "node": self.ctx.name}, 200, (PRIVATE,))

    # --- what never changes ------------------------------------------------------------------

    def static(self, request: Request, via: Via) -> Response:
        name = request.path.partition("/static/")[2]
        if name.startswith("face/") and name.endswith(".svg"):
            person = unquote(name[5:-4])[:40]
            return _cacheable(request, "image/svg+xml", pictures.face(person).encode())
        found = STATIC.get(name)
        if found is None:
            raise RpcError("not_found", f"there is no /static/{name[:80]}")
        return _cacheable(request, *found)

    async def dated(self, request: Request, via: Via) -> Response:
        return await dated.answer(request, self.ctx.clock)

    def icon(self, request: Request, via: Via) -> Response:
        return _cacheable(request, *STATIC["mark.svg"])

    def health(self, request: Request, via: Via) -> Response:
        """200 when this node could answer pages now; says so without asking the database."""
        ready = self.site.ready and self.store_ready()
        answer = {"node": self.ctx.name, "ready": ready, "store": self.database() or "local"}
        return json_response(answer, 200 if ready else 503)

    def live(self, request: Request, via: Via) -> Response:
        """200 once it has started, whatever it depends on: later it says only that it runs."""
        waited_s = self.ctx.clock.monotonic_s() - self._began_s
        started = self.site.prepared.is_set() or waited_s > START_PATIENCE_S
        return json_response({"node": self.ctx.name}, 200 if started else 503)


def _allowed(methods: Collection[str]) -> str:
    """For the `allow` header: those, and what goes with them."""
    return ", ".join([*sorted(methods), *(["HEAD"] if "GET" in methods else []), "OPTIONS"])


class _Allowed:
    """The answer to OPTIONS."""

    def __init__(self, methods: Collection[str]) -> None:
        self.allowed = _allowed(methods)

    def __call__(self, request: Request, via: Via) -> Response:
        return Response(204, (("allow", self.allowed),))


class _Refusal:
    """The answer to a method that the path does not have."""

    def __init__(self, routes: Routes, status: int, allowed: str) -> None:
        self.routes, self.status, self.allowed = routes, status, allowed

    def __call__(self, request: Request, via: Via) -> Response:
        message = f"{request.method} is not one of: {self.allowed}"
        made = self.routes.render_error(request, self.status, "bad_request", message)
        return Response(made.status, (*made.headers, ("allow", self.allowed)), made.body)


def _not_found(request: Request, via: Via) -> Response:
    raise RpcError("not_found", f"there is no page {request.path[:100]}")


def _cacheable(request: Request, kind: str, body: bytes) -> Response:
    etag = f'"{zlib.crc32(body):08x}-{len(body):x}"'
    headers = (("content-type", kind), ("etag", etag), LONG, *SECURITY)
    wanted = request.headers.get("if-none-match", "")
    if wanted == "*" or etag in (each.strip().removeprefix("W/") for each in wanted.split(",")):
        return Response(304, headers)
    return Response(200, headers, body)


def _html(body: bytes, status: int, *headers: tuple[str, str]) -> Response:
    kind = ("content-type", "text/html; charset=utf-8")
    return Response(status, (kind, *SECURITY, *headers), body)


def _redirect(where: str, *headers: tuple[str, str]) -> Response:
    return Response(303, (("location", where), PRIVATE, *headers))


def _wants_page(request: Request) -> bool:
    """Pages for browsers, forms and curl; JSON for everything under /api."""
    return not request.path.startswith(API) and request.path not in (
        "/health",
        "/health/live",
        "/posts/count",
        "/photos/count",
    )


def _last(request: Request) -> str:
    return request.path.rpartition("/")[2]


def _token(request: Request) -> int | None:
    text = request.headers.get(TOKEN) or request.cookies.get("seen", "")
    return whole(text)


def _query(request: Request) -> dict[str, str]:
    try:
        return request.query
    except ValueError as error:
        raise RpcError("bad_request", str(error)) from error


def _number(query: dict[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    number = whole(text, 9)
    if number is None:
        raise RpcError("bad_request", f"{name}: a whole number")
    return number


def _picture(request: Request) -> tuple[bytes, dict[str, Any]]:
    """What was uploaded, and the other fields of its form. Raises bad_request."""
    kind = request.headers.get("content-type") or ""
    if kind.startswith("image/"):
        return request.body, {}
    if kind.lower().startswith(forms.MULTIPART):
        try:
            parts = forms.parts(kind, request.body)
        except ValueError as error:
            raise RpcError("bad_request", f"the body: {error}") from error
        fields = {
            each.name: each.data.decode("utf-8", "replace")
            for each in parts
            if each.filename is None
        }
        picture = next((each.data for each in parts if each.filename), None)
    else:
        picture, fields = None, _form(request)
    if picture is None:
        picture = png.encode(png.drawn(str(fields.get("draw", "")), *DRAWN))
    return picture, fields


def _form(request: Request) -> dict[str, Any]:
    """The body's fields: JSON or a form. Raises bad_request."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == "application/json":
            value = json.loads(request.body)
            if not isinstance(value, dict):
                raise RpcError("bad_request", "the body must be a JSON object")
            return value
        return dict(http.fields(request.body.decode()))
    except (ValueError, RecursionError) as error:
        raise RpcError("bad_request", f"the body: {str(error)[:200]}") from error
