"""What emu answers over HTTP: metrics per node and per cluster, service discovery, events, a page.

`/metrics/NODE` asks the node itself, so it fails when the node is dead and times out when it is
paused. Everything only reads but `/do`, which needs the run's token (guard.py).
"""

from __future__ import annotations

import itertools
import json
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

import trio

from emu.machine import units
from emu.machine.world import OBSERVE_PORT, OPERATOR
from emu.model import faults
from emu.model.vocabulary import verbs
from emu.observe import guard, page
from emu.observe.alerting import Alerting
from emu.observe.annotations import for_grafana, spans
from emu.observe.doctor import examine
from emu.observe.exposition import Exposition
from emu.observe.openmetrics import negotiated
from emu.observe.sampling import Sampler
from emu.observe.status import Status, status
from emu.running.supervisor import Cluster
from emu.running.targets import TargetError
from emu.running.views import ps_row
from nodes.parts import jsons
from nodes.wire.accepting import accept_forever
from nodes.wire.http_server import Endpoint, HttpService, Via, error_response, json_response
from protocols.errors import RpcError
from protocols.http.message import Request, Response
from protocols.numerals import whole

HTML: Final = ("content-type", "text/html; charset=utf-8")
ASSET_TYPES: Final = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}
NO_STORE: Final = ("cache-control", "no-store")
PAUSED_TIMEOUT_S: Final = 60.0
ROLES_EVERY_S: Final = 1.0
EXPECTATIONS_TURNS: Final = 5
MAX_EVENTS: Final = 1000

Handler = Callable[[Request, Via], Awaitable[Response]]


class ObserveServer:
    """Serves one cluster's observations. Make it before the boot: it counts events.

    `interim()` sums up the run so far, as emu/verdict/summary.py does.
    """

    def __init__(
        self,
        cluster: Cluster,
        alerting: Alerting,
        *,
        interim: Callable[[], Awaitable[dict[str, Any]]],
    ) -> None:
        self.cluster = cluster
        self.alerting = alerting
        self.exposition = Exposition(cluster)
        self.sampler = Sampler(cluster)
        self.token = secrets.token_urlsafe(12)
        self._interim = interim
        self._http = HttpService(cluster.operator.ctx, self._find)
        handlers: dict[str, Handler] = {
            "/": self._page,
            "/live": self._inside,
            "/metrics": self._metrics,
            "/sd": self._discovery,
            "/status": self._status,
            "/nodes": self._nodes,
            "/alerts": self._alerts,
            "/doctor": self._doctor,
            "/events": self._events,
            "/annotations": self._annotations,
            "/healthz": self._health,
            **{f"/{name}": partial(_asset, name) for name in page.ASSETS},
        }
        self._readable = {
            path: Endpoint(path, self._guarded(handler), 0.0) for path, handler in handlers.items()
        }
        self._do_endpoint = Endpoint("/do", self._guarded(self._do), 0.0)
        self._node_endpoint = Endpoint("/metrics/NODE", self._guarded(self._node_metrics), 0.0)
        self._unknown = Endpoint("unknown", self._guarded(self._not_found), 0.0)

    @property
    def url(self) -> str:
        return f"http://{self.endpoint}"

    @property
    def page_url(self) -> str:
        """The live page, with what it needs to change something."""
        return f"{self.url}/#token={self.token}"

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
            clients = [each for each in cluster.instances.values() if each.placement.kind.clients]
            if turn % EXPECTATIONS_TURNS == 0 and all(each.shown_state == "up" for each in clients):
                self.exposition.expectations = (await self._interim())["expectations"]

    def judged(self, summary: dict[str, Any]) -> None:
        """The run is over: its verdict is an event, and on the graphs."""
        self.exposition.expectations = summary["expectations"]
        self.cluster.log.info("verdict", verdict=summary["verdict"])

    def status(self, since: int = 0) -> Status:
        """See status.py."""
        return status(self.cluster, self.sampler, self.alerting.active, since=since)

    def doctor(self) -> list[dict[str, Any]]:
        """See doctor.py."""
        return [each._asdict() for each in examine(self.status(), self.alerting.shown())]

    # --- routing -----------------------------------------------------------------------------

    def _find(self, request: Request) -> Endpoint:
        path = request.path
        if path.startswith("/metrics/"):
            return self._node_endpoint
        if request.method not in guard.SAFE_METHODS:
            return self._do_endpoint if path == "/do" else self._unknown
        return self._readable.get(path, self._unknown)

    def _guarded(self, handler: Handler) -> Handler:
        async def answer(request: Request, via: Via) -> Response:
            refused = guard.refusal(request, self.token)
            if refused is not None:
                return error_response(request, *refused)
            response = await handler(request, via)
            return replace(response, headers=(*response.headers, *guard.HEADERS))

        return answer

    async def _not_found(self, request: Request, via: Via) -> Response:
        known = ", ".join((*self._readable, "/metrics/NODE"))
        return error_response(request, 404, "not_found", f"there are: {known}; and POST /do")

    # --- for Prometheus and Grafana ----------------------------------------------------------

    async def _node_metrics(self, request: Request, via: Via) -> Response:
        name = request.path.removeprefix("/metrics/")
        instance = self.cluster.instances.get(name)
        if instance is None:
            return error_response(request, 404, "not_found", f"no node is called {name}")
        if not instance.running:
            return error_response(request, 503, "unavailable", f"{name} is {instance.shown_state}")
        try:
            body = await self.cluster.call_admin(name, "metrics", timeout_s=PAUSED_TIMEOUT_S)
        except RpcError as error:
            return error_response(request, 503, error.code, str(error))
        return _metrics_page(request, bytes(body))

    async def _metrics(self, request: Request, via: Via) -> Response:
        """The emulator's own state: nodes up, active faults, links, loop lag, fidelity."""
        return _metrics_page(request, await self.exposition.render())

    async def _discovery(self, request: Request, via: Via) -> Response:
        """Prometheus http_sd: one target per node, and emu itself."""
        name = self.cluster.topology.name
        here = self.endpoint
        own = {"__metrics_path__": "/metrics", "cluster": name, "instance": OPERATOR}
        groups: list[dict[str, Any]] = [{"targets": [here], "labels": own}]
        for instance in self.cluster.instances.values():
            labels = {
                "__metrics_path__": f"/metrics/{instance.spec.name}",
                "instance": instance.spec.name,
                "cluster": name,
            }
            groups.append({"targets": [here], "labels": labels})
        return json_response(groups)

    async def _annotations(self, request: Request, via: Via) -> Response:
        """Faults, promotions, reshards and verdicts as Grafana's annotations."""
        cluster = self.cluster
        now_s = cluster.world.timers.now_s()
        found = spans(
            cluster.timeline, cluster.events, tuple(cluster.active), cluster.topology.kinds
        )
        return json_response(for_grafana(found, self.sampler.unix_s, now_s))

    # --- for people and scripts --------------------------------------------------------------

    async def _page(self, request: Request, via: Via) -> Response:
        return Response(200, (HTML, NO_STORE), page.frame(self.cluster.topology.name).encode())

    async def _inside(self, request: Request, via: Via) -> Response:
        events = self.cluster.events.since(0)
        return Response(200, (HTML, NO_STORE), page.inside(self.status(), events).encode())

    async def _status(self, request: Request, via: Via) -> Response:
        return json_response(self.status(_since(request)))

    async def _nodes(self, request: Request, via: Via) -> Response:
        return json_response(
            [ps_row(self.cluster, each) for each in self.cluster.instances.values()]
        )

    async def _alerts(self, request: Request, via: Via) -> Response:
        return json_response(self.alerting.shown())

    async def _doctor(self, request: Request, via: Via) -> Response:
        return json_response(self.doctor())

    async def _events(self, request: Request, via: Via) -> Response:
        events = self.cluster.events.since(_since(request))[-MAX_EVENTS:]
        body = jsons.dumps(events).encode()
        return Response(200, (("content-type", "application/json"), NO_STORE), body)

    async def _health(self, request: Request, via: Via) -> Response:
        return Response(200, (("content-type", "text/plain"),), b"ok\n")

    async def _do(self, request: Request, via: Via) -> Response:
        """Inject a fault, as the control socket does: `{"verb", ...fields, "for_s"?}`; or
        `{"undo": number}`."""
        try:
            order = json.loads(request.body)
            if not isinstance(order, dict):
                raise ValueError('an order is {"verb": ..., fields} or {"undo": number}')
            if "undo" in order:
                number = units.fitting("undo", int, order["undo"])
                await self.cluster.undo(number)
            else:
                for_s = order.pop("for_s", None)
                if for_s is not None:
                    for_s = units.fitting("for_s", float, for_s)
                fault = faults.from_record(order, verbs(self.cluster.topology))
                number = await self.cluster.inject(fault, for_s=for_s)
        except TargetError as error:
            return error_response(request, 404, "not_found", str(error))
        except RpcError as error:  # an operation that the nodes refuse
            return error_response(request, 409, error.code, error.message)
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            return error_response(request, 400, "bad_request", str(error))
        return json_response({"number": number})


def _metrics_page(request: Request, page: bytes) -> Response:
    """In the format that the scraper asks for."""
    kind, body = negotiated(page, request.headers.get("accept", ""))
    return Response(200, (("content-type", kind), ("vary", "accept")), body)


async def _asset(name: str, request: Request, via: Via) -> Response:
    kind = ASSET_TYPES[name.rpartition(".")[2]]
    return Response(200, (("content-type", kind), ("cache-control", "no-cache")), page.asset(name))


def _since(request: Request) -> int:
    return whole(request.query.get("since", "0")) or 0
