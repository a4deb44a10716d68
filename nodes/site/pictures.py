"""The site's pictures, all SVG: the mark, the emu of the home page, and a face for any name."""

from __future__ import annotations

import zlib
from typing import Final

MARK: Final = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32" width="30" height="30">
<rect width="32" height="32" rx="9" fill="#0b6e63"/>
<path d="M7.5 22.5c0-4.6 3.2-7 7-7 2 0 3.4-.6 3.9-3l.6-3c.5-2.3 2.2-3.5 4-3.2 1.4.3 2.2 1.3
 2.9 2.4l-3 .9c-.7 2-.8 4.9-1.5 7.4-1.3 4.7-4.7 6.7-8.4 6.7-2.7 0-5.5-.4-5.5-1.2z" fill="#fff"/>
<path d="M12.5 23v4.5M16 23v4.5" stroke="#fff" stroke-width="1.7" stroke-linecap="round"/>
<circle cx="23" cy="8.6" r=".9" fill="#0b6e63"/></svg>
"""

HERO: Final = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 280 260" role="img">
<title>An emu watching three machines</title>
<defs>
<linearGradient id="sky" x1="0" y1="0" x2="0" y2="1"><stop offset="0" stop-color="#f3b562"/>
<stop offset=".55" stop-color="#ee8f5a"/><stop offset="1" stop-color="#c9605a"/></linearGradient>
<linearGradient id="coat" x1="0" y1="0" x2="1" y2="1"><stop offset="0" stop-color="#5a4a42"/>
<stop offset="1" stop-color="#33292a"/></linearGradient>
<clipPath id="round"><rect width="280" height="260" rx="28"/></clipPath>
</defs>
<g clip-path="url(#round)">
<rect width="280" height="260" fill="url(#sky)"/>
<circle cx="206" cy="92" r="38" fill="#ffe3b0"/>
<path d="M0 168c42-26 84-20 122-6s94 14 158-16v114H0z" fill="#a84b4f"/>
<path d="M0 196c60-22 108-4 156-2s88-12 124-22v88H0z" fill="#7d3944"/>
<path d="M0 222c70-14 170-12 280-4v42H0z" fill="#4f2a36"/>
<g fill="#27202a">
<rect x="178" y="150" width="26" height="66" rx="5"/>
<rect x="210" y="134" width="26" height="82" rx="5"/>
<rect x="242" y="158" width="26" height="58" rx="5"/></g>
<g fill="#7fe0cf"><circle cx="185" cy="160" r="2.5"/><circle cx="217" cy="144" r="2.5"/>
<circle cx="249" cy="168" r="2.5"/></g>
<g stroke="#56485a" stroke-width="2.5" stroke-linecap="round">
<path d="M184 172h14M184 181h14M184 190h14M216 156h14M216 165h14M216 174h14M216 183h14
M248 180h14M248 189h14"/>
</g>
<path d="M204 168l6-8M236 164l6 8" stroke="#7fe0cf" stroke-width="2"/>
<g fill="none" stroke="#33292a" stroke-width="6" stroke-linecap="round" stroke-linejoin="round">
<path d="M78 176l-5 30 5 30M102 178l5 28-4 30"/>
<path d="M67 238h14M92 238h15" stroke-width="5"/></g>
<path d="M30 170c-6-32 20-56 56-57 14 0 25-4 30-16 7-17 4-34 10-48 5-12 17-17 27-11 5 3 8 8 9 13
l14 6c2 1 1 4-1 4l-17 1c-7 4-9 12-10 24-2 22 0 44-11 66-11 21-31 33-56 35-24 2-48-1-51-17z"
 fill="url(#coat)"/>
<path d="M36 166c14-18 34-26 54-24M40 178c16-14 36-20 54-16M58 142c12-8 26-12 38-10"
 stroke="#7b685d" stroke-width="3" fill="none" stroke-linecap="round"/>
<path d="M136 68c-5 10-5 22-8 34" stroke="#8fb9c9" stroke-width="5" fill="none"
 stroke-linecap="round"/>
<path d="M131 41c4-8 12-13 20-11M136 36c5-7 11-9 17-8" stroke="#33292a" stroke-width="2.5"
 fill="none" stroke-linecap="round"/>
<circle cx="149" cy="49" r="5.5" fill="#ffd166"/>
<circle cx="150" cy="49" r="2.6" fill="#1b1518"/>
</g></svg>
"""

_HUES: Final = (168, 200, 232, 262, 292, 328, 356, 18, 38, 58, 96, 132)


def face(name: str) -> str:
    """A round picture for a name: its initial, and colours that belong to it."""
    number = zlib.crc32(name.encode())
    hue = _HUES[number % len(_HUES)]
    turn = number // 16 % 360
    initial = name[:1].upper()
    letter = initial if initial.isalnum() and initial.isascii() else "?"
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 88 88" width="88" height="88">'
        f'<rect width="88" height="88" fill="hsl({hue} 48% 42%)"/>'
        f'<g transform="rotate({turn} 44 44)"><circle cx="72" cy="22" r="34" '
        f'fill="hsl({(hue + 28) % 360} 58% 56%)" opacity=".75"/><circle cx="14" cy="74" r="26" '
        f'fill="hsl({(hue + 340) % 360} 52% 32%)" opacity=".6"/></g>'
        '<text x="44" y="58" text-anchor="middle" font-family="system-ui, sans-serif" '
        f'font-size="40" font-weight="600" fill="#fff">{letter}</text></svg>'
    )
