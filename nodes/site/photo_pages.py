"""How photos, their jobs' way, and notices look. As in pages.py: plain values in, HTML out."""

from __future__ import annotations

from typing import Any, Final

from nodes.site.pages import View, ago, escape, face, page, segment
from nodes.site.photos import GIVEN_UP


def newest(view: View, data: dict[str, Any]) -> bytes:
    shown = "".join(_small(view, each) for each in data["photos"])
    photos = f'<div class="photos">{shown}</div>' if shown else '<p class="quiet">None yet.</p>'
    body = f"""<h1 class="title">Photos</h1>{_draw(view)}
<section class="panel"><h2>Newest that are done</h2>{photos}</section>
<section class="panel"><h2>From a terminal</h2><dl class="try"><div>
<dt>curl -i --data-binary @photo.png -H content-type:image/png
 http://{escape(view.host) or "ADDRESS:8080"}/api/photos?owner=ada</dt>
<dd>a PNG of at most 512 × 512 pixels and 192 KiB; a broken one ends in the dead letters</dd>
</div></dl></section>"""
    return page(view, "Photos", body, current="/photos")


def _draw(view: View) -> str:
    if not view.user:
        return ""
    return f"""<section class="panel write"><form method="post" action="/photos"
 enctype="multipart/form-data">
<label>A PNG <input type="file" name="photo" accept="image/png"></label>
<label>or a picture of these letters
<input name="draw" maxlength="60" value="{escape(view.node)}"></label>
<div class="row"><small>It is stored, and a job is queued that makes it smaller: a worker does
 it.</small><button>Upload</button></div></form></section>"""


def _small(view: View, item: dict[str, Any]) -> str:
    link = segment(item["id"])
    when = ago(view.now_s - item["posted_s"])
    return f"""<a href="/photos/{link}"><img src="/photos/{link}/small.png" alt="" loading="lazy">
<small>@{escape(item["owner"])}, {when}</small></a>"""


_RELOAD: Final = "Reload to see how far it is."
_AHEAD: Final = {
    GIVEN_UP: "It failed too often, and is among the dead letters: nobody works on it any more. "
    "<code>emu queue dead-letters --topic photos.dead</code> shows them, "
    "<code>emu queue redrive --topic photos.dead</code> brings them back."
}


def one(view: View, data: dict[str, Any]) -> bytes:
    link = segment(data["id"])
    state = data["state"]
    picture = f'<img class="photo" src="/photos/{link}/large.png" alt="">' if data["done"] else ""
    again = "" if data["done"] else f'<p class="quiet">{_AHEAD.get(state, _RELOAD)}</p>'
    twice = len(data["done"])
    many = f'<p class="why">This job was done {twice} times.</p>' if twice > 1 else ""
    body = f"""<h1 class="title">A photo of @{escape(data["owner"])}: {escape(state)}</h1>
<section class="panel"><h2>The way of its job</h2>{_way(view, data)}{many}{again}</section>
<section class="panel"><h2>The photo</h2>{picture}<p class="facts">
<span><a href="/photos/{link}/original.png">as it came</a> <b>{data["bytes"]} bytes</b></span>
{_sizes(data)}</p></section>"""
    return page(view, "Photo", body, current="/photos")


def _sizes(data: dict[str, Any]) -> str:
    return "".join(
        f'<span><a href="{escape(where)}">{escape(size)}</a></span>'
        for size, where in data["sizes"].items()
    )


def _way(view: View, data: dict[str, Any]) -> str:
    """Each station: what happened, where, and when."""
    stations = [("queued", "stored, then published", data["posted_s"])]
    stations += [
        (each["worker"], f"took {each['record']}, delivery {each['delivery']}", each["began_s"])
        for each in data["attempts"]
    ]
    if data["state"] == GIVEN_UP:
        stations.append(("dead letters", "given up", data["attempts"][-1]["began_s"]))
    stations += [(each["worker"], "done", each["done_s"]) for each in data["done"]]
    items = "".join(
        f'<li><span class="hop{" here" if what == "done" else ""}">{escape(who)}'
        f"<small>{escape(what)}, {ago(view.now_s - when_s)}</small></span></li>"
        for who, what, when_s in stations
    )
    return f'<ol class="way">{items}</ol>'


def notices(view: View, data: dict[str, Any]) -> bytes:
    items = "".join(_notice(view, each) for each in data["notices"])
    shown = items or '<p class="quiet">Nobody whom you follow has posted since.</p>'
    body = f"""<h1 class="title">What @{escape(data["user"])} was told</h1>
<section class="feed">{shown}</section>"""
    return page(view, "Notices", body, current="/notices")


def _notice(view: View, item: dict[str, Any]) -> str:
    author, link = escape(item["author"]), segment(item["author"])
    when = ago(view.now_s - item["told_s"])
    return f"""<article class="post"><a href="/u/{link}">{face(link)}</a><div>
<header><a href="/u/{link}">@{author}</a><span>posted</span>
<time><a href="/post/{segment(item["post"])}">{when}</a></time></header>
<p>{escape(item["text"])}</p></div></article>
"""
