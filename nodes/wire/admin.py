"""The private listener that every node has: ping, describe, metrics, and what its tier adds.

Whom the network lets in, it lets in with rights: emu itself asks everything, a member of another
tier what its edge allows. A paused node does not answer here; a dead one refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nodes.base import ADMIN_PORT, OPERATE, Context, Peer
from nodes.metrics import Metrics
from nodes.wire.answers import Method
from nodes.wire.service import Call, Service
from protocols import rpc
from protocols.control import DESCRIBE, METRICS, RIGHTS
from protocols.errors import RpcError

METRICS_MAX_BYTES = 16 << 20


class Admin(Service):
    """What is asked here is not the node's traffic, and not in its metrics.

    `describe` gives kind, name, region, generation, version, methods, and the tier's own facts.

    `facts()` is called at each describe: a map with at least what `emu ps` shows (`role`, lag,
    epoch ...). `methods` lists what the node's main port answers, if it speaks RPC.
    """

    def __init__(
        self,
        ctx: Context,
        *,
        service: Service | None = None,
        facts: Callable[[], dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(
            ctx,
            limits=rpc.Limits(max_frame_bytes=METRICS_MAX_BYTES),
            charge_cpu=False,
            metrics=Metrics(),
        )
        self._service = service
        self._facts = facts or dict
        self.add(DESCRIBE, self._describe)
        self.add(METRICS, lambda call: ctx.metrics.render())

    def _describe(self, call: Any) -> dict[str, Any]:
        ctx = self.ctx
        main = self._service
        return {
            "kind": ctx.kind,
            "name": ctx.name,
            "tier": ctx.tier,
            "region": ctx.region,
            "generation": ctx.generation,
            "version": 1,
            "methods": sorted(main.methods) if main is not None else [],
            "admin_methods": sorted(self.methods),
            **self._facts(),
        }

    def methods_for(self, peer: Peer) -> Mapping[str, Method]:
        """Those that the peer's rights open, and for each other one a refusal."""
        if OPERATE in peer.rights:
            return self.methods
        opened = [each for right in peer.rights for each in RIGHTS[right]]
        refused = {
            name: Method(name, _refuse, 0.0, method.ok, method.seconds)
            for name, method in self.methods.items()
            if name not in opened
        }
        return {**self.methods, **refused}

    async def listen_and_serve(self) -> None:
        """Serve until cancelled. Start it before reporting that the node has started."""
        await self.serve(await self.ctx.network.listen(ADMIN_PORT))


def _refuse(call: Call, *params: Any) -> None:
    raise RpcError("unauthorized", f"{call.peer} may only read here; this is for emu itself")
