"""Software that knows nothing of emu uses the running step 4: curl, a browser, dig, Prometheus,
an independent MessagePack-RPC client, Neovim, wrk."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live.running import Running, emu_up
from tests.peers import need

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with emu_up(tmp_path_factory.mktemp("emu"), "topologies/04-load-balancer.yaml") as running:
        yield running


def run(*command: str, text: str | None = None, timeout_s: float = 30.0) -> str:
    """The program's output; it must succeed."""
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    assert done.returncode == 0, (done.returncode, done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


# --- curl --------------------------------------------------------------------------------------


def test_curl_gets_the_page_through_the_balancer(site: Running) -> None:
    answer = run(need("curl"), "-sSi", site.url("lb-1"))
    head, _, page = answer.partition("\n\n")
    assert head.startswith("HTTP/1.1 200 OK")
    assert "x-emu-node: web-" in head
    assert "This page crossed three machines" in page


def test_curl_uses_one_connection_for_several_requests(site: Running) -> None:
    url = site.url("lb-1")
    done = subprocess.run(
        [need("curl"), "-sv", "-o", "/dev/null", url, "-o", "/dev/null", url + "static/style.css",
         "-o", "/dev/null", url + "nowhere"],
        capture_output=True, text=True, timeout=30, check=True)  # fmt: skip
    assert done.stderr.count("Re-using existing connection") == 2
    assert done.stderr.count("< HTTP/1.1 200") == 2 and done.stderr.count("< HTTP/1.1 404") == 1


def test_head_has_the_headers_of_get_and_no_body(site: Running) -> None:
    head = run(need("curl"), "-sSI", site.url("lb-1", "/static/style.css"))
    body = run(need("curl"), "-sS", site.url("lb-1", "/static/style.css"))
    assert f"content-length: {len(body.encode())}" in head.lower()
    assert head.rstrip().count("\n\n") == 0


def test_curl_logs_in_and_posts_with_its_cookie(site: Running, tmp_path: Path) -> None:
    curl, jar = need("curl"), str(tmp_path / "jar")
    host, port = site.address("lb-1")
    base = f"http://{host}:{port}"
    # One process, one connection: this topology keeps sessions in the web server's memory.
    done = run(curl, "-sS", "-b", jar, "-c", jar, "-d", "name=ada", f"{base}/login", "--next",
               "-sS", "-b", jar, "-c", jar, "-d", "text=written by curl", "-w", "%{http_code}",
               f"{base}/post", "--next", "-sS", "-b", jar, f"{base}/u/ada")  # fmt: skip
    assert "303" in done and "written by curl" in done
    answer = run(curl, "-sSi", "-H", "content-type: application/json", f"{base}/api/posts",
                 "-d", '{"author": "alan", "text": "as JSON", "id": "curl-1"}')  # fmt: skip
    assert "HTTP/1.1 201 Created" in answer and '"id":"curl-1"' in answer
    again = run(curl, "-sS", f"{base}/api/post/curl-1")
    assert json.loads(again)["text"] == "as JSON"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--path-as-is"], "404"),
        (["-X", "DELETE"], "405"),
        (["-H", "x: " + "y" * 30_000], "431"),
        (["-H", "transfer-encoding: chunked", "-d", "text=a"], "405"),
        (["-d", "@/dev/zero"], "413"),
    ],
)
def test_curl_is_refused_clearly(site: Running, arguments: list[str], status: str) -> None:
    if "@/dev/zero" in arguments:
        arguments = ["-d", "x" * 100_000, "-H", "content-length: 99999999", "--max-time", "5"]
    path = "/nowhere" if status == "404" else "/login" if status == "413" else "/u/ada"
    command = [need("curl"), "-s", "-o", "/dev/null", "-w", "%{http_code}", *arguments]
    done = subprocess.run([*command, site.url("lb-1", path)], capture_output=True, text=True,
                          timeout=30, check=False)  # fmt: skip
    assert done.stdout == status


def test_pipelined_requests_are_answered_in_order(site: Running) -> None:
    paths = ["/static/mark.svg", "/api/home", "/nowhere", "/health"]
    sent = "".join(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n" for path in paths[:-1])
    sent += f"GET {paths[-1]} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    answer = b""
    with socket.create_connection(site.address("lb-1"), timeout=10) as connection:
        connection.sendall(sent.encode())
        while data := connection.recv(65536):
            answer += data
    found = [answer.find(each) for each in (b"<svg", b'"posts"', b"there is no page", b'"ready"')]
    assert -1 not in found and found == sorted(found)


# --- a browser ---------------------------------------------------------------------------------


def test_a_browser_shows_the_page_with_its_style_and_pictures(site: Running) -> None:
    from playwright.sync_api import sync_playwright

    chromium = need("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        page = browser.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url}"))
        page.goto(site.url("lb-1"))
        assert page.inner_text("h1") == "This page crossed three machines to reach you."
        size = page.evaluate("getComputedStyle(document.querySelector('.hero h1')).fontSize")
        assert size == "40px", "the stylesheet has arrived"
        assert page.evaluate("document.querySelector('.hero img').naturalWidth") > 0
        page.fill("input[name=q]", "cable")
        page.press("input[name=q]", "Enter")
        assert page.inner_text("h1") == "Search: cable"
        assert complaints == []
        browser.close()


# --- dig ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("over", ["+notcp", "+tcp"])
def test_dig_gets_the_balancers_address(site: Running, over: str) -> None:
    host, port = site.address("dns-1")
    found = run(need("dig", "dnsutils"), f"@{host}", "-p", str(port), "www.example.test", over,
                "+short", "+tries=1", "+time=3")  # fmt: skip
    assert found.strip() == site.address("lb-1")[0]


def test_dig_hears_what_does_not_exist_and_what_is_not_ours(site: Running) -> None:
    host, port = site.address("dns-1")
    dig = [need("dig", "dnsutils"), f"@{host}", "-p", str(port), "+tries=1", "+time=3"]
    assert "status: NXDOMAIN" in run(*dig, "nothing.example.test")
    assert "status: REFUSED" in run(*dig, "example.org")
    assert "status: NOERROR" in run(*dig, "www.example.test", "AAAA")


# --- Prometheus --------------------------------------------------------------------------------


def test_prometheus_finds_every_node_by_service_discovery_and_scrapes_it(
    site: Running, tmp_path: Path
) -> None:
    port = free_port()
    (tmp_path / "prometheus.yml").write_text(f"""
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: emu
    http_sd_configs: [{{url: "{site.observe}/sd", refresh_interval: 1s}}]
""")
    server = subprocess.Popen(
        [need("prometheus"), f"--config.file={tmp_path}/prometheus.yml",
         f"--storage.tsdb.path={tmp_path}/data", f"--web.listen-address=127.0.0.1:{port}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        wanted = {*site.nodes, "emu"}
        found: dict[str, str] = {}
        give_up_s = time.monotonic() + 40
        while time.monotonic() < give_up_s:
            found = {each["metric"]["instance"]: each["value"][1] for each in query(port, "up")}
            if found.keys() >= wanted and set(found.values()) == {"1"}:
                break
            time.sleep(0.25)
        assert found == dict.fromkeys(wanted, "1")
        (sessions,) = query(port, "sum(emu_current_sessions)")
        assert float(sessions["value"][1]) >= 0
    finally:
        server.terminate()
        server.wait(10)


def query(port: int, text: str) -> list[dict[str, Any]]:
    url = f"http://127.0.0.1:{port}/api/v1/query?query={urllib.parse.quote(text)}"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return list(json.loads(answer.read())["data"]["result"])
    except OSError:
        return []  # it is still starting


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_promtool_has_nothing_to_say_of_any_exposition(site: Running) -> None:
    promtool = need("promtool", "prometheus")
    for path in ["/metrics", *(f"/metrics/{name}" for name in site.nodes)]:
        with urllib.request.urlopen(site.observe + path, timeout=10) as answer:
            text = answer.read().decode()
        assert "emu_" in text
        done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True,
                              text=True, timeout=30, check=False)  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), path


def test_a_scrape_fails_when_its_node_is_dead_and_times_out_when_it_is_paused(
    site: Running,
) -> None:
    curl = [need("curl"), "-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "0.7"]

    def scrape() -> tuple[int, str]:
        done = subprocess.run([*curl, f"{site.observe}/metrics/web-3"], capture_output=True,
                              text=True, timeout=30, check=False)  # fmt: skip
        return done.returncode, done.stdout

    assert scrape() == (0, "200")
    site.inject("kill", target="web-3")
    assert scrape() == (0, "503")
    site.inject("start", target="web-3")
    assert scrape() == (0, "200")
    site.inject("pause", target="web-3")
    assert scrape() == (28, "000"), "curl's own time-out"
    site.inject("unpause", target="web-3")
    assert scrape() == (0, "200")


# --- MessagePack-RPC ---------------------------------------------------------------------------


def test_an_independent_rpc_client_calls_ping_and_the_sites_methods(site: Running) -> None:
    import aio_msgpack_rpc

    async def talk() -> tuple[Any, Any, Any, str]:
        reader, writer = await asyncio.open_connection(*site.address("lb-1"))
        client = aio_msgpack_rpc.Client(reader, writer)
        try:
            pong = await client.call("ping")
            home = await client.call("site.home")
            profiles = await asyncio.gather(*(client.call("site.profile", name) for name in
                                              ("ada", "alan", "grace")))  # fmt: skip
            try:
                await client.call("site.nothing")
            except aio_msgpack_rpc.error.RPCResponseError as error:
                refusal = str(error)
            return pong, home, profiles, refusal
        finally:
            client.close()

    pong, home, profiles, refusal = asyncio.run(talk())
    assert pong == "pong"
    assert home["posts"] and home["people"]
    assert [each["name"] for each in profiles] == ["ada", "alan", "grace"]
    assert "no_such_method" in refusal and "site.home" in refusal


def test_neovim_calls_ping_and_a_site_method(site: Running) -> None:
    host, port = site.address("lb-1")
    script = (
        f"let c = sockconnect('tcp', '{host}:{port}', {{'rpc': v:true}})"
        " | let p = rpcrequest(c, 'site.profile', 'ada')"
        " | call writefile([rpcrequest(c, 'ping'), p.full_name], '/dev/stdout') | qall!"
    )
    found = run(need("nvim", "neovim"), "--headless", "--clean", "-i", "NONE", "--cmd", script)
    assert found.split("\n")[:2] == ["pong", "Ada Lovelace"]


# --- load --------------------------------------------------------------------------------------


def test_wrk_meets_no_error(site: Running) -> None:
    found = run(need("wrk"), "-t1", "-c8", "-d1s", site.url("lb-1", "/api/home"))
    assert "requests in" in found
    assert "Socket errors" not in found and "Non-2xx" not in found
