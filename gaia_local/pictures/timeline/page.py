"""A timeline as one HTML file that needs no other, made of the status page's own modules.

A browser refuses modules of files beside a ``file:`` page. So the modules lie in the file, as
``data:`` addresses in an import map, and import each other by the names there.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gaia_local.pictures.timeline.lanes import checked
from gaia_local.pictures.timeline.packing import as_json, packed

PAGE = Path(__file__).parents[2] / "server" / "page"
ENTRY = "timeline-file.js"
SHEETS = ("page.css", "states.css", "timeline.css")
_IMPORT = re.compile(r'(\bfrom |\bimport )"\./([\w-]+\.js)"')


def html(answer: Mapping[str, Any], now: float) -> str:
    """The whole file, of an answer of `Gaia.timeline`; running attempts end at `now`.

    Raises `InvalidInput` for anything else.
    """
    workflow, attempts = checked(answer)
    data = as_json(packed(workflow, attempts, now))
    style = "".join((PAGE / sheet).read_text(encoding="utf-8") for sheet in SHEETS)
    imports = as_json({"imports": modules()})
    loader = f'import "{ENTRY}";'
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)};"
        f" script-src data: {_hash(imports)} {_hash(loader)}"
    )
    title = escape(packed(workflow, (), 0)["workflow"])
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">'
        f"<title>{title}: what ran when</title><style>{style}</style>"
        f'<script type="importmap">{imports}</script></head><body class="timeline-file">'
        f'<script type="application/json" id="timeline">{data}</script>'
        f'<script type="module">{loader}</script>'
        "<noscript>This file needs JavaScript.</noscript></body></html>\n"
    )


def modules() -> dict[str, str]:
    """Name → address of the module that shows a file, and of all that it needs."""
    found: dict[str, str] = {}
    wanted = [ENTRY]
    while wanted:
        name = wanted.pop()
        if name in found:
            continue
        source = (PAGE / name).read_text(encoding="utf-8")
        wanted += [other for _, other in _IMPORT.findall(source)]
        source = _IMPORT.sub(r'\1"\2"', source)
        found[name] = "data:text/javascript;charset=utf-8," + quote(source, safe=" !$()*,/:;=?@'")
    return found


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
