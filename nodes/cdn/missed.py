"""Which requests are not for a cache, as the last answers to those like them were not: they need
not wait for each other (hit-for-miss). Pure.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from nodes.cdn.asked import Asked
from protocols.caching.fields import Headers
from protocols.caching.keys import Key
from protocols.caching.selecting import Selecting, matches, selecting

MOST_URLS: Final = 4096
MOST_OF_A_URL: Final = 16
"""By what `Vary` says. Of both the oldest is forgotten then."""


class Missed:
    """For so long it is believed."""

    def __init__(self, for_s: float) -> None:
        self._for_s = for_s
        self._urls: OrderedDict[Key, OrderedDict[Selecting, float]] = OrderedDict()

    def add(self, asked: Asked, headers: Headers, now_s: float) -> None:
        """That answer may not be stored; nor, it seems, one to a request like this."""
        chosen = selecting(headers, asked.headers) or ()
        variants = self._urls.setdefault(asked.key, OrderedDict())
        self._urls.move_to_end(asked.key)
        variants[chosen] = now_s + self._for_s
        variants.move_to_end(chosen)
        if len(variants) > MOST_OF_A_URL:
            variants.popitem(last=False)
        if len(self._urls) > MOST_URLS:
            self._urls.popitem(last=False)

    def covers(self, asked: Asked, now_s: float) -> bool:
        variants = self._urls.get(asked.key)
        if variants is None:
            return False
        for chosen, until_s in list(variants.items()):
            if until_s <= now_s:
                del variants[chosen]
            elif matches(chosen, asked.headers):
                return True
        if not variants:
            del self._urls[asked.key]
        return False

    def clear(self) -> None:
        self._urls.clear()
