"""What emu answers over HTTP: metrics per node and per cluster, service discovery, events, a page.

`/metrics/NODE` asks the node itself, so it fails when the node is dead and times out when it is
paused. Everything here only reads; whatever changes something goes through the control socket.
"""

from __future__ import annotations

import html
import itertools
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio

from emu.observe.annotations import for_grafana, spans
from emu.observe.exposition import Exposition
from emu.observe.sampling import Sampler
from emu.observe.status import Status, status
from emu.supervisor import Cluster
from emu.views import ps_row
from emu.world import OBSERVE_PORT, OPERATOR
from nodes.accepting import accept_forever
from nodes.http_server import Endpoint, HttpService, Via, error_response, json_response
from protocols.errors import RpcError
from protocols.http import Request, Response

METRICS_TYPE: Final = ("content-type", "text/plain; version=0.0.4; charset=utf-8")
PAUSED_TIMEOUT_S: Final = 60.0
ROLES_EVERY_S: Final = 1.0
EXPECTATIONS_TURNS: Final = 5


class ObserveServer:
    """Serves one cluster's observations. Make it before the boot: it counts events.

    `interim()` sums up the run so far, as verdict.py does.
    """

    def __init__(
        self, cluster: Cluster, *, interim: Callable[[], Awaitable[dict[str, Any]]]
    ) -> None:
        self.cluster = cluster
        self.exposition = Exposition(cluster)
        self.sampler = Sampler(cluster)
        self._interim = interim
        self._http = HttpService(cluster.operator.ctx, self._find)
        self._routes: dict[str, Endpoint] = {
            "/": Endpoint("page", self._page, 0.0),
            "/metrics": Endpoint("metrics", self._metrics, 0.0),
            "/sd": Endpoint("sd", self._discovery, 0.0),
            "/status": Endpoint("status", self._status, 0.0),
            "/nodes": Endpoint("nodes", self._nodes, 0.0),
            "/events": Endpoint("events", self._events, 0.0),
            "/annotations": Endpoint("annotations", self._annotations, 0.0),
            "/healthz": Endpoint("healthz", self._health, 0.0),
        }

    @property
    def url(self) -> str:
        return f"http://{self.endpoint}"

    @property
    def endpoint(self) -> str:
        """`address:port` where it answers."""
        return self.cluster.world.endpoint(OPERATOR, OBSERVE_PORT)

    async def serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        ctx = self.cluster.operator.ctx
        listener = await ctx.network.listen(OBSERVE_PORT)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.sampler.run)
            nursery.start_soon(self._keep_informed)
            task_status.started()
            await accept_forever(ctx, listener, self._http.serve_stream)

    async def _keep_informed(self) -> None:
        """What must be asked for: roles and lag of replicated tiers, expectations so far."""
        cluster = self.cluster
        for turn in itertools.count():
            await cluster.operator.sleep(ROLES_EVERY_S)
            await cluster.refresh_roles()
            clients = [each for each in cluster.slots.values() if each.placement.kind.clients]
            if turn % EXPECTATIONS_TURNS == 0 and all(each.shown_state == "up" for each in clients):
                self.exposition.expectations = (await self._interim())["expectations"]

    def status(self, since: int = 0) -> Status:
        """See status.py."""
        return status(self.cluster, self.sampler, since=since)

    def _find(self, request: Request) -> Endpoint:
        if request.path.startswith("/metrics/"):
            return Endpoint("node_metrics", self._node_metrics, 0.0)
        found = self._routes.get(request.path)
        return found if found is not None else Endpoint("not_found", _not_found, 0.0)

    async def _node_metrics(self, request: Request, via: Via) -> Response:
        name = request.path.removeprefix("/metrics/")
        slot = self.cluster.slots.get(name)
        if slot is None:
            return error_response(request, 404, "not_found", f"no node is called {name}")
        if not slot.running:
            return error_response(request, 503, "unavailable", f"{name} is {slot.shown_state}")
        try:
            body = await self.cluster.operator.ask(name, "metrics", timeout_s=PAUSED_TIMEOUT_S)
        except RpcError as error:
            return error_response(request, 503, error.code, str(error))
        return Response(200, (METRICS_TYPE,), bytes(body))

    async def _metrics(self, request: Request, via: Via) -> Response:
        """The emulator's own state: nodes up, active faults, links, loop lag, fidelity."""
        return Response(200, (METRICS_TYPE,), await self.exposition.render())

    async def _discovery(self, request: Request, via: Via) -> Response:
        """Prometheus http_sd: one target per node, and emu itself."""
        name = self.cluster.topology.name
        here = self.endpoint
        own = {"__metrics_path__": "/metrics", "cluster": name, "instance": OPERATOR}
        groups: list[dict[str, Any]] = [{"targets": [here], "labels": own}]
        for slot in self.cluster.slots.values():
            labels = {
                "__metrics_path__": f"/metrics/{slot.spec.name}",
                "instance": slot.spec.name,
                "cluster": name,
            }
            groups.append({"targets": [here], "labels": labels})
        return json_response(groups)

    async def _status(self, request: Request, via: Via) -> Response:
        return json_response(self.status(_since(request)))

    async def _nodes(self, request: Request, via: Via) -> Response:
        return json_response([ps_row(self.cluster, each) for each in self.cluster.slots.values()])

    async def _events(self, request: Request, via: Via) -> Response:
        events = self.cluster.events.since(_since(request))
        return Response(
            200,
            (("content-type", "application/json"), ("cache-control", "no-store")),
            json.dumps(events[-1000:], default=str).encode(),
        )

    async def _annotations(self, request: Request, via: Via) -> Response:
        """Faults, promotions, reshards and verdicts as Grafana's annotations."""
        cluster = self.cluster
        now_s = cluster.world.timers.now_s()
        found = spans(cluster.timeline, cluster.events, tuple(cluster.active))
        return json_response(for_grafana(found, time.time() - now_s, now_s))

    async def _health(self, request: Request, via: Via) -> Response:
        return Response(200, (("content-type", "text/plain"),), b"ok\n")

    async def _page(self, request: Request, via: Via) -> Response:
        """A plain page of the nodes and the newest events; it reloads itself."""
        rows = "".join(_row(ps_row(self.cluster, slot)) for slot in self.cluster.slots.values())
        newest = list(self.cluster.events.since(0))[-30:]
        lines = "".join(
            f"<li><time>{each['time_s']:.3f} s</time> <b>{_text(each.get('node', 'emu'))}</b> "
            f"{_text(each['event'])}</li>"
            for each in reversed(newest)
        )
        name = _text(self.cluster.topology.name)
        body = PAGE.format(name=name, rows=rows, events=lines)
        return Response(200, (("content-type", "text/html; charset=utf-8"),), body.encode())


def _since(request: Request) -> int:
    text = request.query.get("since", "0")
    return int(text) if text.isdigit() else 0


async def _not_found(request: Request, via: Via) -> Response:
    known = "/, /metrics, /metrics/NODE, /sd, /status, /nodes, /events, /annotations"
    return error_response(request, 404, "not_found", f"there are: {known}")


def _row(row: dict[str, Any]) -> str:
    cells = "".join(
        f"<td>{_text(row[key])}</td>" for key in ("name", "kind", "region", "role", "address")
    )
    return f'<tr><td class="{_text(row["state"])}">{_text(row["state"])}</td>{cells}</tr>'


def _text(value: Any) -> str:
    return html.escape(str(value))


PAGE: Final = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta http-equiv="refresh" content="2"><title>{name} · emu</title><style>
:root{{color-scheme:light dark;font:15px/1.5 system-ui,sans-serif}}
body{{max-width:60rem;margin:2rem auto;padding:0 1rem}}
table{{border-collapse:collapse;width:100%}}td,th{{text-align:left;padding:.25rem .75rem .25rem 0;
border-bottom:1px solid #8883}}.up{{color:#2a9d5c}}.killed,.crashed,.failed{{color:#d64545}}
.paused,.draining,.starting{{color:#c98a16}}ul{{list-style:none;padding:0;font-size:.9em}}
time{{color:#888;font-variant-numeric:tabular-nums;margin-right:.5rem}}</style></head><body>
<h1>{name}</h1><table><tr><th>state<th>node<th>kind<th>region<th>role<th>address</tr>{rows}</table>
<h2>Events</h2><ul>{events}</ul></body></html>
"""
