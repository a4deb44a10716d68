"""What faults set, one over the other: the newest that is active holds, in whatever order they
end, and when none is left, what was there first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class _Setting:
    thing: Any
    """Kept alive, so that its id stays its own."""
    first: Any
    over: dict[int, Any] = field(default_factory=dict)
    """The values of faults by number, the newest last."""


class Layers:
    """The settings of one cluster that faults have changed."""

    def __init__(self) -> None:
        self._settings: dict[tuple[int, str], _Setting] = {}
        self._laid = 0

    def lay(self, thing: Any, name: str, value: Any, *, first: Any) -> Callable[[], Any]:
        """Remember that a fault sets this; what is returned takes it back, and tells what is to
        hold then, or None if nothing changes by that (a newer one holds, or it was taken back).

        `first`: what the thing has where no fault has set its `name`.
        """
        key = (id(thing), name)
        setting = self._settings.setdefault(key, _Setting(thing, first))
        self._laid += 1
        number = self._laid
        setting.over[number] = value

        def lift() -> Any:
            if number not in setting.over:
                return None
            held = next(reversed(setting.over)) == number
            del setting.over[number]
            if not setting.over:
                del self._settings[key]
            return next(reversed(setting.over.values()), setting.first) if held else None

        return lift

    def set(self, thing: Any, **values: Any) -> Callable[[], None]:
        """Set attributes of it; what is returned takes them back."""
        lifts = {
            name: self.lay(thing, name, value, first=getattr(thing, name))
            for name, value in values.items()
        }
        for name, value in values.items():
            setattr(thing, name, value)

        def lift() -> None:
            for name, each in lifts.items():
                now = each()
                if now is not None:
                    setattr(thing, name, now)

        return lift
