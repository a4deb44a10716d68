"""The site's stylesheet, light and dark. Only CSS lives here: what it dresses is in pages.py."""

from __future__ import annotations

from typing import Final

CSS: Final = """
:root {
  color-scheme: light dark;
  --ground: #f6f4ef; --card: #ffffff; --ink: #1d2327; --soft: #5c666d; --line: #e2ddd3;
  --accent: #0b6e63; --accent-ink: #ffffff; --tint: #e2f1ee; --warm: #d9822b;
  --shadow: 0 1px 2px rgba(29, 35, 39, .06), 0 8px 24px rgba(29, 35, 39, .06);
  --sans: ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  --mono: ui-monospace, "SF Mono", "Cascadia Mono", "DejaVu Sans Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #12171a; --card: #1a2125; --ink: #e9eef0; --soft: #9aa7ae; --line: #2b353b;
    --accent: #4fc9b6; --accent-ink: #08201d; --tint: #16302d; --warm: #f0a95b;
    --shadow: 0 1px 2px rgba(0, 0, 0, .4), 0 8px 24px rgba(0, 0, 0, .25);
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.55 var(--sans); }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 4px; }
.wrap { max-width: 1080px; margin: 0 auto; padding: 0 24px; }

.bar { position: sticky; top: 0; z-index: 1; background: var(--card);
  border-bottom: 1px solid var(--line); }
.bar .wrap { display: flex; align-items: center; gap: 20px; height: 60px; }
.brand { display: flex; align-items: center; gap: 10px; font-weight: 700; font-size: 19px;
  letter-spacing: -.01em; color: var(--ink); }
.brand:hover { text-decoration: none; }
.brand img { display: block; }
.bar nav { display: flex; gap: 16px; flex: 1; }
.bar nav a { color: var(--soft); }
.bar nav a[aria-current] { color: var(--ink); font-weight: 600; }
.find input { width: 200px; }
.me { display: flex; align-items: center; gap: 8px; color: var(--soft); white-space: nowrap; }
.me form { display: inline; }

input, textarea, select { font: inherit; color: inherit; background: var(--ground);
  border: 1px solid var(--line); border-radius: 10px; padding: 7px 12px; width: 100%; }
textarea { resize: vertical; min-height: 76px; }
button, .button { font: inherit; font-weight: 600; cursor: pointer; border: 0; border-radius: 10px;
  padding: 8px 18px; background: var(--accent); color: var(--accent-ink); display: inline-block; }
button:hover, .button:hover { filter: brightness(1.08); text-decoration: none; }
button.plain { background: none; color: var(--soft); padding: 4px 6px; font-weight: 400; }

.hero { display: grid; grid-template-columns: 1fr 280px; gap: 32px; align-items: center;
  padding: 44px 0 28px; }
.hero h1 { font-size: 40px; line-height: 1.12; letter-spacing: -.025em; margin: 0 0 12px;
  text-wrap: balance; }
.hero p { margin: 0; color: var(--soft); font-size: 18px; max-width: 34em; }
.hero img { width: 100%; height: auto; display: block; }
.hero strong { color: var(--ink); font-weight: 600; }

.panel, .post, .person { background: var(--card); border: 1px solid var(--line);
  border-radius: 16px; box-shadow: var(--shadow); }
.panel { padding: 22px 24px; margin-bottom: 24px; }
.panel h2, .side h2, .feed h2 { margin: 0 0 12px; font-size: 17px; letter-spacing: -.01em; }

.way { display: flex; flex-wrap: wrap; align-items: center; gap: 8px 0; padding: 0;
  margin: 0 0 16px; list-style: none; }
.way li { display: flex; align-items: center; }
.way li + li::before { content: ""; width: 34px; height: 2px; background: var(--line);
  margin: 0 6px; }
.hop { border: 1px solid var(--line); background: var(--ground); border-radius: 12px;
  padding: 8px 14px; line-height: 1.25; font-weight: 600; }
.hop small { display: block; font-weight: 400; color: var(--soft); font-size: 12px; }
.hop.here { background: var(--accent); border-color: var(--accent); color: var(--accent-ink); }
.hop.here small { color: inherit; opacity: .85; }
.facts { display: flex; flex-wrap: wrap; gap: 6px 28px; margin: 0; color: var(--soft);
  font-size: 14px; }
.facts b { color: var(--ink); font-weight: 600; }

.try { display: grid; grid-template-columns: repeat(2, 1fr); gap: 10px 28px; margin: 0;
  font-size: 14px; }
.try dt { font: 13px/1.5 var(--mono); background: var(--ground); border: 1px solid var(--line);
  border-radius: 10px; padding: 8px 12px; overflow-x: auto; white-space: nowrap; }
.try dd { margin: 4px 0 0 2px; color: var(--soft); }

.columns { display: grid; grid-template-columns: minmax(0, 1fr) 300px; gap: 32px;
  align-items: start; }
.post { display: grid; grid-template-columns: 44px 1fr; gap: 14px; padding: 16px 18px;
  margin-bottom: 12px; }
.post p { margin: 3px 0 0; overflow-wrap: anywhere; }
.post header { display: flex; gap: 8px; align-items: baseline; flex-wrap: wrap; }
.post header a { color: var(--ink); font-weight: 600; }
.post header time { margin-left: auto; white-space: nowrap; }
.post header span, .post time a { color: var(--soft); font-size: 14px; font-weight: 400; }
.photos { display: flex; flex-wrap: wrap; gap: 14px; margin: 0 0 24px; padding: 0; }
.photos img, .photo { border-radius: 12px; border: 1px solid var(--line); display: block; }
.photos small { display: block; color: var(--soft); }
.face { width: 44px; height: 44px; border-radius: 50%; display: block; }
.people { list-style: none; margin: 0; padding: 0; }
.people li { display: grid; grid-template-columns: 36px 1fr; gap: 12px; padding: 8px 0;
  align-items: center; }
.people li + li { border-top: 1px solid var(--line); }
.people .face { width: 36px; height: 36px; }
.people a { color: var(--ink); font-weight: 600; }
.people small { display: block; color: var(--soft); line-height: 1.35; }
.who { display: flex; gap: 20px; align-items: center; padding: 36px 0 24px; }
.who .face { width: 88px; height: 88px; }
.who h1 { margin: 0; font-size: 30px; letter-spacing: -.02em; }
.who p { margin: 4px 0 0; color: var(--soft); }
.title { font-size: 30px; letter-spacing: -.02em; margin: 36px 0 20px; }
.write form { display: grid; gap: 10px; }
.write .row { display: flex; justify-content: space-between; align-items: center; gap: 12px; }
.write small, .quiet { color: var(--soft); }
.narrow { max-width: 420px; margin: 56px auto; }
.narrow label { display: block; margin-bottom: 12px; }
.error .status { margin: 0; font: 600 15px var(--mono); color: var(--warm); }
.error h1 { margin: 2px 0 10px; font-size: 27px; letter-spacing: -.02em; }
.error p { margin: 0 0 14px; }
.error .why { font: 13px/1.5 var(--mono); color: var(--soft); background: var(--ground);
  border: 1px solid var(--line); border-radius: 10px; padding: 8px 12px; overflow-wrap: anywhere; }
footer { color: var(--soft); font-size: 14px; padding: 28px 24px 44px; }
footer .wrap { max-width: 1032px; padding: 18px 0 0; border-top: 1px solid var(--line); }
code { font: 14px var(--mono); }

@media (max-width: 820px) {
  .hero, .columns, .try { grid-template-columns: minmax(0, 1fr); }
  .hero { padding-top: 28px; }
  .hero h1 { font-size: 31px; }
  .hero img { max-width: 220px; }
  .find { display: none; }
}
@media (max-width: 520px) {
  .wrap { padding: 0 16px; }
  .bar .wrap { gap: 14px; }
  .bar nav { gap: 12px; }
  .brand { gap: 0; font-size: 0; }
  .panel { padding: 18px; }
  .way, .way li { flex-direction: column; align-items: flex-start; }
  .way { gap: 0; }
  .way li + li::before { width: 2px; height: 12px; margin: 4px 0 4px 22px; }
  .post header { flex-wrap: nowrap; }
  .post header span { display: none; }
  .narrow { margin: 32px auto; }
  footer { padding: 20px 16px 36px; }
}
"""
