"""States of an autoscaler that a campaign has to meet; who is in one tells `ctx.reached`."""

from __future__ import annotations

from typing import Final

UP: Final = "autoscaler: a tier that grows"
DOWN: Final = "autoscaler: a tier that shrinks"
HELD: Final = "autoscaler: a number that a window, policy or limit held"
BLIND: Final = "autoscaler: too little known to decide"
STATES: Final = (UP, DOWN, HELD, BLIND)
