"""How the site looks: plain values in, HTML out. Everything that came from anybody is escaped."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

SITE_NAME: Final = "Flock"
NEEDS_ESCAPE: Final = re.compile(r"""[&<>"']""")
PLAIN_IN_URLS: Final = re.compile(r"[A-Za-z0-9_.~-]*")
MOST_DRAWN: Final = 1024
"""Posts and people that are kept as they were drawn: pages show the same ones again."""


def escape(text: str) -> str:
    """For HTML; most texts stay as they are, so that is looked at first."""
    return text if NEEDS_ESCAPE.search(text) is None else html.escape(text)


def segment(text: str) -> str:
    """For one part of a URL's path."""
    return text if PLAIN_IN_URLS.fullmatch(text) else quote(text, safe="")


@dataclass(frozen=True, slots=True)
class View:
    """Who looks, and which machines carried the request here."""

    node: str
    region: str
    generation: int
    path: tuple[str, ...]
    """Node names from the client to the last machine that was asked; `node` is among them."""
    now_s: float
    user: str | None = None
    host: str = ""
    took_s: float = 0.0
    photos: bool = False
    """Whether the site has photos, and tells followers of posts."""


def page(view: View, title: str, body: str, *, current: str = "", query: str = "") -> bytes:
    """The frame of every page."""
    head = f"{title} · {SITE_NAME}" if title else SITE_NAME
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(head)}</title>
<link rel="stylesheet" href="/static/style.css"><link rel="icon" href="/static/mark.svg">
</head><body>
<div class="bar"><div class="wrap">
<a class="brand" href="/"><img src="/static/mark.svg" width="30" height="30" alt="">{SITE_NAME}</a>
<nav>{_navs(view.photos, current)}</nav>
<form class="find" action="/search"><input name="q" placeholder="Search" aria-label="Search"
 value="{escape(query)}"></form>
{_me(view)}</div></div>
<main class="wrap">{body}</main>
<footer><div class="wrap">Answered by <b>{escape(view.node)}</b>{_region(view)}.
 Every page has a JSON twin under <a href="/api/home">/api</a>, and every call is a
 MessagePack-RPC method on this same port.</div></footer>
</body></html>
""".encode()


def _nav(path: str, label: str, current: str) -> str:
    mark = ' aria-current="page"' if path == current else ""
    return f'<a href="{path}"{mark}>{label}</a>'


@lru_cache
def _navs(photos: bool, current: str) -> str:
    more = (("/photos", "Photos"), ("/notices", "Notices")) if photos else ()
    places = (("/", "Home"), ("/timeline", "Timeline"), *more)
    return "".join(_nav(path, label, current) for path, label in places)


def _region(view: View) -> str:
    return f" in {escape(view.region)}" if view.region else ""


def _me(view: View) -> str:
    if view.user is None:
        return '<div class="me"><a href="/login">Log in</a></div>'
    name = escape(view.user)
    return (
        f'<div class="me"><a href="/u/{quote(view.user)}">@{name}</a>'
        '<form method="post" action="/logout"><button class="plain">Log out</button></form></div>'
    )


# --- home ------------------------------------------------------------------------------------


def home(view: View, data: dict[str, Any]) -> bytes:
    hops = max(1, len(view.path) - 1)
    machines = "one machine" if hops == 1 else f"{_count_word(hops)} machines"
    body = f"""
<section class="hero"><div><h1>This page crossed {machines} to reach you.</h1>
<p>A whole website on one laptop: real sockets, real SQL, real failures. Reload and another node may
 answer. Break one, and see who notices.</p></div>
<img src="/static/hero.svg" width="280" height="260" alt="An emu watching three machines"></section>
<section class="panel"><h2>The way your request took</h2>{_way(view)}
<p class="facts"><span>answered by <b>{escape(view.node)}</b></span>{_region_fact(view)}
<span>generation <b>{view.generation}</b></span>
<span>made in <b>{view.took_s * 1000:.1f} ms</b></span></p></section>
{_try(view, data)}
<div class="columns"><section class="feed"><h2>Newest posts</h2>
{posts(view, data["posts"])}{told(data)}</section>
<aside class="side"><div class="panel"><h2>People</h2>{people(data["people"])}</div></aside></div>
"""
    return page(view, "", body, current="/")


def _count_word(number: int) -> str:
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    return words[number] if number < len(words) else str(number)


def _region_fact(view: View) -> str:
    return f"<span>region <b>{escape(view.region)}</b></span>" if view.region else ""


def _way(view: View) -> str:
    hops = []
    for index, name in enumerate(view.path):
        here = name == view.node
        role = "client" if index == 0 else "this page" if here else _role(index, view)
        marker = " here" if here else ""
        hops.append(
            f'<li><span class="hop{marker}">{escape(name)}<small>{role}</small></span></li>'
        )
    return f'<ol class="way">{"".join(hops)}</ol>'


def _role(index: int, view: View) -> str:
    return "forwarded" if index < view.path.index(view.node) else "asked for data"


def _try(view: View, data: dict[str, Any]) -> str:
    url = f"http://{view.host}" if view.host else "http://ADDRESS:8080"
    node = view.node
    tries = [
        (f"curl -i {url}/api/home", "the same page as JSON; X-Emu-Node says who answered"),
        (f"emu kill {node}", "kill the node that made this page, then reload"),
        ("emu ps", "every machine, its role, its state, its address"),
        ("emu top", "requests, errors and latency as they happen"),
    ]
    if view.path[-1] != node:
        store = view.path[-1] if "cost" not in data else f"{view.path[-1]}-shard-1"
        question = "who takes the writes now? Post something and see"
        tries[2] = (f"emu kill '{store} primary'", question)
    items = "".join(
        f"<div><dt>{escape(command)}</dt><dd>{escape(what)}</dd></div>" for command, what in tries
    )
    return f'<section class="panel"><h2>Try this</h2><dl class="try">{items}</dl></section>'


# --- parts -----------------------------------------------------------------------------------


def face(link: str) -> str:
    """`link`: the name, quoted for a URL."""
    return f'<img class="face" src="/static/face/{link}.svg" alt="" loading="lazy">'


def posts(view: View, items: list[dict[str, Any]]) -> str:
    if not items:
        return '<p class="quiet">Nothing here yet.</p>'
    return "".join([_post(view, each) for each in items])


def _post(view: View, item: dict[str, Any]) -> str:
    when = ago(view.now_s - item["posted_s"])
    return _article(item["id"], item["author"], item["full_name"], item["text"], when)


@lru_cache(MOST_DRAWN)
def _article(post: str, author: str, full_name: str, text: str, when: str) -> str:
    link = segment(author)
    return f"""<article class="post"><a href="/u/{link}">{face(link)}</a><div>
<header><a href="/u/{link}">{escape(full_name)}</a><span>@{escape(author)}</span>
<time><a href="/post/{segment(post)}">{when}</a></time></header>
<p>{escape(text)}</p></div></article>
"""


def told(data: dict[str, Any]) -> str:
    """What a store of several shards says of its answer: what is missing, and what it cost."""
    cost = data.get("cost")
    if not cost:
        return ""
    missing = ""
    if data["partial"]:
        names = ", ".join(f"<b>{escape(each)}</b>" for each in data["unanswered"])
        missing = f'<p class="quiet">Some of it is missing: {names} did not answer in time.</p>'
    return f"""{missing}<p class="facts"><span>shards asked <b>{cost["shards"]}</b></span>
<span>requests <b>{cost["requests"]}</b></span><span>keys read <b>{cost["keys"]}</b></span>
<span>bytes <b>{cost["bytes"]}</b></span>
<span>slowest <b>{escape(cost["slowest_shard"])}</b> {cost["slowest_ms"]} ms</span></p>"""


def people(items: list[dict[str, Any]]) -> str:
    if not items:
        return '<p class="quiet">Nobody.</p>'
    drawn = [_person(each["name"], each["full_name"], each["about"]) for each in items]
    return f'<ul class="people">{"".join(drawn)}</ul>'


@lru_cache(MOST_DRAWN)
def _person(name: str, full_name: str, about: str) -> str:
    link = segment(name)
    return (
        f'<li>{face(link)}<div><a href="/u/{link}">{escape(full_name)}</a>'
        f"<small>{escape(about)}</small></div></li>"
    )


def ago(seconds: float) -> str:
    """`5 minutes ago`; the clocks of writer and reader may differ, so the future is `just now`."""
    if seconds < 10:
        return "just now"
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= size:
            number = int(seconds // size)
            return f"{number} {unit}{'s' if number > 1 else ''} ago"
    raise AssertionError(seconds)


# --- the other pages -------------------------------------------------------------------------


def profile(view: View, data: dict[str, Any]) -> bytes:
    picture = face(segment(data["name"]))
    body = f"""<section class="who">{picture}<div><h1>{escape(data["full_name"])}</h1>
<p>@{escape(data["name"])} · {data["followers"]} followers · follows {data["following"]}</p>
<p>{escape(data["about"])}</p></div></section>
<section class="feed"><h2>Posts</h2>{posts(view, data["posts"])}{told(data)}</section>"""
    return page(view, data["full_name"], body)


def timeline(view: View, data: dict[str, Any]) -> bytes:
    write = """<section class="panel write"><form method="post" action="/post">
<textarea name="text" maxlength="500" required placeholder="What happened?"
 aria-label="Your post"></textarea>
<div class="row"><small>Stored when a quorum has it, or when the primary has it: the topology
 says.</small><button>Post</button></div></form></section>"""
    body = f"""<h1 class="title">Timeline of @{escape(data["user"])}</h1>
{write if view.user else ""}<section class="feed">{posts(view, data["posts"])}
{told(data)}</section>"""
    return page(view, "Timeline", body, current="/timeline")


def search(view: View, data: dict[str, Any]) -> bytes:
    found = data["posts"]
    body = f"""<h1 class="title">Search: {escape(data["q"]) or "…"}</h1>
<div class="columns"><section class="feed"><h2>Posts</h2>{posts(view, found)}</section>
<aside class="side"><div class="panel"><h2>People</h2>{people(data["people"])}</div></aside></div>
"""
    return page(view, "Search", body, query=data["q"])


def one_post(view: View, data: dict[str, Any]) -> bytes:
    body = f'<h1 class="title">Post</h1>{posts(view, [data])}'
    return page(view, f"Post by {data['full_name']}", body)


def login(view: View, names: tuple[str, ...]) -> bytes:
    options = "".join(f"<option>{escape(name)}</option>" for name in names)
    body = f"""<section class="panel narrow"><h2>Log in</h2>
<form method="post" action="/login"><label>Name <select name="name">{options}</select></label>
<button>Log in</button></form>
<p class="quiet">No password: nobody here has a secret. Where the session is kept, the topology
 says: <code>sessions: local</code> dies with its node, <code>shared</code> does not.</p></section>
"""
    return page(view, "Log in", body)


EXPLAINED: Final = {
    404: "Nothing lives at this address.",
    503: "This server is well, but something that it needs does not answer just now. "
    "Reload in a moment.",
    502: "Something behind this server gave no whole answer. What you asked for may have "
    "happened or not: look before you ask again.",
    504: "Something behind this server did not answer in time. What you asked for may have "
    "happened or not: look before you ask again.",
}


def problem(view: View, status: int, phrase: str, message: str, request: str = "") -> bytes:
    """`request`: by what whoever runs the site finds it in the logs."""
    explained = EXPLAINED.get(status, "This request could not be answered.")
    told = f"<br>request {escape(request)}" if request else ""
    body = f"""<section class="panel narrow error"><p class="status">{status}</p>
<h1>{escape(phrase)}</h1><p>{explained}</p><p class="why">{escape(message)}{told}</p>
<a class="button" href="/">Home</a></section>"""
    return page(view, phrase, body)
