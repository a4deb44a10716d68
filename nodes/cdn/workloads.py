"""What clients do to edges, so that these can be judged: read pages that tell of themselves, as
several users, in languages, in parts, and purge them.

The origin has such pages (protocols/caching/dated.py): the built-in site, for one.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Final

from nodes.base import ADMIN_PORT
from nodes.cdn.judged import ALL, FIRST, NONE, PAGES, PURGE, READ
from nodes.wire.client import Clients
from nodes.wire.directory import TierView
from nodes.wire.http_client import HttpClient
from nodes.workloads import Setting, Workload
from nodes.workloads.base import Session, Step
from protocols.caching import dated
from protocols.caching.dated import PAGE_BYTES
from protocols.errors import RpcError
from protocols.http.message import Response

USERS: Final = ("ada", "grace", "alan")
LANGUAGES: Final = ("de", "en")
RANGES: Final = ((0, 299), (250, 599))
PURGE_RATIO: Final = 0.1
ALONE_RATIO: Final = 0.5
"""Of purges: an edge's shields are not told, and hear of it with its questions."""
HOST: Final = "pages.test"


class Pages(Workload):
    """Each client goes to all edges; what one edge was told to forget, that one must forget."""

    model = PAGES
    guarantee = ""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._http = HttpClient(setting.ctx, agent="")
        self._clients = Clients(setting.ctx, setting.nursery)
        self._edges: TierView | None = None
        self._used: dict[tuple[str, str], None] = {}

    async def prepare(self) -> None:
        self._edges = await self._setting.directory.follow(self._setting.options.asks)
        if not self._edges.members:
            raise RpcError("unavailable", "there are no edges yet")
        await self._get(self._edges.members[0].name, f"{dated.ROOT}plain/0", {})

    def next(self, rng: random.Random, number: int) -> Step:
        assert self._edges is not None
        edge = rng.choice(self._edges.members).name
        kind = rng.choice(tuple(dated.CLASSES))
        path = f"{dated.ROOT}{kind}/{rng.randrange(self._setting.options.keys)}"
        self._used[edge, path] = None
        if rng.random() < PURGE_RATIO:
            what = "tag" if kind == "tagged" and rng.random() < 0.5 else "url"
            return Step(PURGE, f"{edge}{path}", {"what": what, "alone": rng.random() < ALONE_RATIO})
        asked: dict[str, Any] = {"user": None, "language": None, "range": None}
        match kind:
            case "mine":
                asked["user"] = rng.choice(USERS)
            case "language":
                asked["language"] = rng.choice(LANGUAGES)
            case "part" if rng.random() < 0.5:
                asked["range"] = list(rng.choice(RANGES))
        return Step(READ, f"{edge}{path}", asked)

    async def do(self, step: Step, session: Session) -> Any:
        edge, slash, rest = str(step.key).partition("/")
        asked_s = self._setting.ctx.clock.monotonic_s()
        if step.f == PURGE:
            missed = await self._purge(edge, slash + rest, **step.value)
            alone = step.value["alone"] or missed
            binds = ALL if not alone else FIRST if self._is_first(edge) else NONE
            return {"asked_s": asked_s, "binds": binds}
        told = await self._get(edge, slash + rest, step.value)
        return {"asked_s": asked_s, "first": self._is_first(edge), **told}

    def _is_first(self, edge: str) -> bool:
        """Whether it is the machine of that name that was there from the beginning: one that came
        later has nothing of that one's disk."""
        member = self._edges.named(edge) if self._edges is not None else None
        return member is not None and member.founder

    def final_reads(self) -> Sequence[Step]:
        """Of edges that are still there: what one had is gone with it."""
        asked = {"user": None, "language": None, "range": None}
        there = {each.name for each in self._edges.members} if self._edges is not None else ()
        return [
            Step(READ, f"{edge}{path}", asked)
            for edge, path in list(self._used)
            if edge in there and path.startswith((f"{dated.ROOT}plain", f"{dated.ROOT}tagged"))
        ]

    async def _purge(self, edge: str, path: str, what: str, alone: bool) -> list[str]:
        """Which shields may not have heard of it."""
        client, timeout_s = self._clients(edge, ADMIN_PORT), self._setting.options.timeout_s
        value = dated.tag(*path.rsplit("/", 2)[1:]) if what == "tag" else path
        told = await client.call(PURGE, what, value, "", alone, timeout_s=timeout_s)
        return list(told["missed"])

    async def _get(self, edge: str, path: str, asked: dict[str, Any]) -> dict[str, Any]:
        headers: list[tuple[str, str]] = []
        if asked.get("user"):
            headers.append(("authorization", f"Basic {asked['user']}"))
        if asked.get("language"):
            headers.append(("accept-language", asked["language"]))
        span = asked.get("range")
        if span:
            headers.append(("range", f"bytes={span[0]}-{span[1]}"))
        response = await self._http.request(
            "GET", path, host=edge, headers=headers, host_header=HOST,
            timeout_s=self._setting.options.timeout_s,
        )  # fmt: skip
        if response.status >= 400:
            raise RpcError("unavailable", f"HTTP {response.status} of {path} at {edge}")
        return _read(response, span)


def _read(response: Response, span: list[int] | None) -> dict[str, Any]:
    """What a page says of itself, and whether it is the page that it says."""
    if span and response.status == 200:  # the whole is an answer, too
        return {**_line(response.body), "range": span}
    if span:
        first, last = span
        told = f"bytes {first}-{last}/{PAGE_BYTES}"
        if response.status != 206 or response.header("content-range") != told:
            return {**_line(b""), "range": span, "damage": f"no {told}"}
        if len(response.body) != last - first + 1:
            return {**_line(b""), "range": span, "damage": "not as long as it says"}
        found = _line(response.body) if first == 0 else _line(b"")
        return {**found, "range": span}
    if response.status != 200 or len(response.body) != PAGE_BYTES:
        what = f"status {response.status} with {len(response.body)} of {PAGE_BYTES} bytes"
        return {**_line(b""), "range": None, "damage": f"{what}, for the whole"}
    return {**_line(response.body), "range": None}


def _line(body: bytes) -> dict[str, Any]:
    """Of a part without the line nothing is known."""
    try:
        found = dated.told(body)
    except ValueError:
        found = {"made_s": float("inf"), "same_s": 0.0, "allowed_s": 0.0}
    return {"user": None, "language": None, **found}


WORKLOADS: Final = {PAGES: Pages}
