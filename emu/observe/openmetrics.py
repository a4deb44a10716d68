"""OpenMetrics, for scrapers that ask for it, made of the text that nodes write.

The nodes' registries write one format, fast; the other differs in each family's header, in a
histogram's edges and in its end. Which one a scraper wants is prometheus-client's to say.
"""

from __future__ import annotations

import re
from typing import Final

from prometheus_client.exposition import choose_encoder

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = "application/openmetrics-text"
WHOLE_EDGE: Final = re.compile(rb'\ble="(\d+)"')


def negotiated(page: bytes, accept: str) -> tuple[str, bytes]:
    """(content type, the page) as an `Accept` header wants it."""
    _, content_type = choose_encoder(accept)
    if content_type.startswith(OPENMETRICS):
        return content_type, openmetrics(page)
    return TEXT, page


def openmetrics(page: bytes) -> bytes:
    """A page of the Prometheus text format, every family of which has its HELP and TYPE."""
    _, *families = (b"\n" + page).split(b"\n# HELP ")
    return b"".join((*map(_family, families), b"# EOF\n"))


def _family(text: bytes) -> bytes:
    head, kind, samples = text.rstrip(b"\n").split(b"\n", 2)
    name, _, meaning = head.partition(b" ")
    kind = kind.rpartition(b" ")[2]
    if kind == b"counter":
        name = name.removesuffix(b"_total")
    elif kind == b"histogram":
        samples = WHOLE_EDGE.sub(rb'le="\1.0"', samples)
    meaning = meaning.replace(b'"', rb"\"")
    return b"# HELP %b %b\n# TYPE %b %b\n%b\n" % (name, meaning, name, kind, samples)
