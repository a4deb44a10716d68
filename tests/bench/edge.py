"""A hit at an edge, asked by wrk with keep-alive: ours and nginx with `proxy_cache`, both before
one origin, which nobody asks after the first request.

One core for the server and the other for wrk; with one core only they share it.
"""

from __future__ import annotations

import getpass
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.bench import alternate, find_peer, free_port
from tests.bench.balancer import process
from tests.bench.http import SERVER_CORE, asked, on_core
from tests.bench.queue import running

RIG: Final = "tests.bench.edge_rig"
NGINX: Final = """
user {user};
worker_processes 1;
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  proxy_cache_path {folder}/cache keys_zone=edge:10m;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 100000000;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass {origin};
      proxy_cache edge;
      add_header X-Cache-Status $upstream_cache_status;
    }}
  }}
}}
"""


@contextmanager
def served(what: str, *arguments: str) -> Iterator[str]:
    """The URL of an origin, or of our edge before it."""
    command = on_core(SERVER_CORE, sys.executable, "-m", RIG, what, *arguments)
    with process(*command) as facts:
        yield f"http://{facts['endpoint']}/"


@contextmanager
def nginx(origin: str) -> Iterator[str]:
    program = find_peer("nginx", "nginx")
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "nginx.conf"
        user = getpass.getuser()  # else its worker may not write here
        text = NGINX.format(folder=folder, port=port, origin=origin.rstrip("/"), user=user)
        file.write_text(text)
        with running(*on_core(SERVER_CORE, program, "-c", str(file), "-e", "stderr"), port=port):
            yield f"http://127.0.0.1:{port}/"


def hit(url: str, header: str, word: str) -> None:
    """The second request is one. Raises RuntimeError."""
    for _ in range(2):
        with urllib.request.urlopen(url, timeout=10) as answer:
            told = answer.headers.get(header, "")
    if word not in told.lower():
        raise RuntimeError(f"{url} is no hit: {header}: {told}")


def run(*, runs: int = 5) -> dict[str, Any]:
    """The row `edge hit`."""
    find_peer("nginx", "nginx")
    with served("origin") as origin, served("edge", origin) as ours, nginx(origin) as theirs:
        hit(ours, "cache-status", "; hit")
        hit(theirs, "x-cache-status", "hit")
        return alternate("edge hit", "requests/s", lambda: asked(ours), lambda: asked(theirs), runs)
