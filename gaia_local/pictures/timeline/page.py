"""A timeline as one HTML file that needs no other: for pointer and keyboard, and as a table."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from html import escape

from gaia_local.pictures.boxes import count
from gaia_local.pictures.states import APPEARANCES, appearance
from gaia_local.pictures.svg import FONTS
from gaia_local.pictures.timeline.lanes import Bar, Lane, Timeline

_STYLE = """
:root{color-scheme:light dark;--ground:#fff;--text:#1b2430;--muted:#5b6675;--line:#d6dbe3;
--band:#5b667514;
--foot:#f4f6f8;--accent:#1d5fc4}
@media (prefers-color-scheme:dark){:root{--ground:#14181e;--text:#e8ecf2;--muted:#a1acbb;
--line:#333c49;
--band:#a1acbb14;--foot:#1a1f27;--accent:#7cb0ff}}
*{box-sizing:border-box}
body{margin:0;padding:1.5rem 1.75rem 6rem;background:var(--ground);color:var(--text);
font:13px/1.45 FONTS;
font-variant-numeric:tabular-nums}
h1{font-size:1.4rem;margin:0 0 .15rem;overflow-wrap:anywhere}
p{margin:0 0 .8rem;color:var(--muted)}
.bar-row{display:flex;flex-wrap:wrap;gap:.4rem 1.4rem;align-items:center;margin:0 0 1rem}
.bar-row label{display:flex;gap:.5rem;align-items:center;margin-left:auto;color:var(--muted)}
.key{display:inline-flex;gap:.4rem;align-items:center}
.disc{display:inline-grid;place-items:center;width:1.35em;height:1.35em;border-radius:50%;
background:var(--ink);
color:var(--ground);font-size:.8em;line-height:1;flex:none}
.chart{display:grid;grid-template-columns:7.5rem minmax(0,1fr);border-top:1px solid var(--line)}
.names{padding-top:1.9rem;border-right:1px solid var(--line)}
.names div{padding:.1rem .6rem .1rem 0;margin-bottom:8px;display:flex;flex-direction:column;
justify-content:center;
line-height:1.2}
.names small{color:var(--muted)}
.scroll{overflow-x:auto;scrollbar-width:thin}
.axis{position:relative;min-width:100%;padding-top:1.9rem;padding-bottom:1.3rem}
.tick,.cut{position:absolute;top:1.5rem;bottom:0;border-left:1px solid var(--line)}
.tick span{position:absolute;top:-1.2rem;transform:translateX(-50%);color:var(--muted);
white-space:nowrap;font-size:.85em}
.tick.l1,.tick.l2,.axis[data-zoom="1"] .tick.l1{display:none}
.axis[data-zoom="4"] .tick.l1,.axis[data-zoom="16"] .tick.l1,
.axis[data-zoom="16"] .tick.l2{display:block}
.cut{border-left:1px dashed var(--muted)}
.cut span{position:absolute;bottom:0;transform:translateX(-50%);color:var(--muted);
white-space:nowrap;font-size:.85em;
background:var(--ground);padding:0 .3rem}
.lane{position:relative;background:var(--band);border-radius:4px;margin-bottom:8px}
.bar{position:absolute;height:20px;min-width:2px;border-radius:4px;background:var(--wash);
border:1px solid var(--ink);
color:var(--text);display:flex;align-items:center;gap:.3rem;padding:0;overflow:hidden;
white-space:nowrap;font-size:.85em}
.bar.reused{border-style:dashed}
.bar .disc{margin-left:2px}
.bar.thin>*{display:none}
.bar.mark{z-index:1;min-width:20px;overflow:hidden}
.bar.mark.thin .disc{display:inline-grid}
.bar:focus-visible,.bar.shown{outline:2px solid var(--accent);outline-offset:1px;z-index:2}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
#details{position:fixed;left:0;right:0;bottom:0;padding:.7rem 1.75rem;min-height:3.6rem;
background:var(--foot);z-index:5;
border-top:1px solid var(--line);overflow-wrap:anywhere}
#details b{margin-right:.8rem}
#details span{color:var(--muted);margin-right:1rem}
table{border-collapse:collapse;margin-top:.6rem}
th,td{text-align:left;padding:.2rem 1.1rem .2rem 0;border-bottom:1px solid var(--line);
vertical-align:top;
overflow-wrap:anywhere}
tbody th{min-width:13em;font-weight:600}
td:nth-child(2),td:nth-child(3),thead th{white-space:nowrap}
td:last-child{min-width:18em}
details{margin-top:1.2rem;overflow-x:auto}
summary{cursor:pointer}
"""

_SCRIPT = """
const axis = document.querySelector('.axis'), details = document.getElementById('details');
const zoom = document.getElementById('zoom'), scroll = document.querySelector('.scroll');
const bars = [...document.querySelectorAll('.bar')];
const leftOf = element => parseFloat(element.style.left);
const marks = [...document.querySelectorAll('.tick')].sort((a, b) => leftOf(a) - leftOf(b));
function fit() {
  const wide = axis.clientWidth;
  for (const bar of bars) bar.classList.toggle('thin', parseFloat(bar.dataset.share) * wide < 72);
  let free = 0;
  for (const mark of marks) {
    const shown = mark.offsetParent && mark.offsetLeft - mark.firstChild.offsetWidth / 2 >= free;
    mark.firstChild.style.visibility = shown ? 'visible' : 'hidden';
    if (shown) free = mark.offsetLeft + mark.firstChild.offsetWidth / 2 + 8;
  }
}
function zoomTo(factor, at) {
  const before = axis.clientWidth, place = scroll.scrollLeft + at;
  axis.style.width = 100 * factor + '%';
  axis.dataset.zoom = factor >= 16 ? 16 : factor >= 4 ? 4 : 1;
  scroll.scrollLeft = place * axis.clientWidth / before - at;
  fit();
}
function show(bar) {
  document.querySelector('.bar.shown')?.classList.remove('shown');
  bar.classList.add('shown');
  const [name, ...facts] = bar.dataset.facts.split('\\n');
  details.replaceChildren(Object.assign(document.createElement('b'), {textContent: name}),
    ...facts.map(fact => Object.assign(document.createElement('span'), {textContent: fact})));
}
zoom?.addEventListener('input', () => zoomTo(2 ** zoom.value, scroll.clientWidth / 2));
addEventListener('resize', fit);
for (const [number, bar] of bars.entries()) {
  bar.addEventListener('mouseenter', () => show(bar));
  bar.addEventListener('focus', () => show(bar));
  bar.addEventListener('keydown', event => {
    const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    const lane = {ArrowDown: 1, ArrowUp: -1}[event.key];
    let next = step && bars[number + step];
    if (lane) {
      const lanes = [...document.querySelectorAll('.lane')];
      const target = lanes[lanes.indexOf(bar.parentElement) + lane];
      const distance = other => Math.abs(leftOf(other) - leftOf(bar));
      next = target && [...target.children].reduce((best, other) =>
        distance(other) < distance(best) ? other : best);
    }
    if (step || lane) event.preventDefault();
    if (!next) return;
    [bar.tabIndex, next.tabIndex] = [-1, 0];
    next.focus();
    next.scrollIntoView({block: 'nearest', inline: 'nearest'});
  });
}
fit();
"""


def html(timeline: Timeline) -> str:
    """The whole file."""
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    title = escape(timeline.workflow)
    style = _STYLE.replace("FONTS", FONTS) + "".join(_colours())
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">'
        f"<title>{title}: what ran when</title><style>{style}</style></head><body>"
        f"<h1>{title}</h1><p>{escape(timeline.summary)}"
        f"</p>{''.join(_key(timeline))}{_chart(timeline)}"
        f"{''.join(_table(timeline))}<div id=details role=status>Point at a bar, or go from bar to"
        " bar with the arrow keys.</div>"
        f"<script>{_SCRIPT}</script></body></html>\n"
    )


def _colours() -> Iterator[str]:
    for state, shown in APPEARANCES.items():
        yield f".{state}{{--ink:{shown.ink};--wash:{shown.wash}}}"
    yield "@media (prefers-color-scheme:dark){"
    for state, shown in APPEARANCES.items():
        yield f".{state}{{--ink:{shown.night_ink};--wash:{shown.night_wash}}}"
    yield "}"


def _key(timeline: Timeline) -> Iterator[str]:
    yield "<div class=bar-row>"
    for state, number in count(
        state for state, times in timeline.counts.items() for _ in range(times)
    ).items():
        yield f'<span class="key {_class(state)}">{_disc(state)}{escape(state)} {number}</span>'
    if timeline.lanes:
        yield "<label>zoom <input type=range id=zoom min=0 max=6 step=0.25 value=0></label>"
    yield "</div>"


def _chart(timeline: Timeline) -> str:
    names = "".join(
        f'<div style="height:{_height(lane)}px"><span>{escape(lane.name)}</span>'
        f"<small>{lane.about}</small></div>"
        for lane in timeline.lanes
    )
    marks = [
        f'<div class="tick l{tick.level}" style="left:{_share(tick.at)}"><span>{escape(tick.text)}'
        "</span></div>"
        for tick in timeline.ticks
    ]
    marks += [
        f'<div class=cut style="left:{_share(gap.at)}"><span>{escape(gap.text)}</span></div>'
        for gap in timeline.gaps
    ]
    first = True
    lanes = []
    for lane in timeline.lanes:
        bars = "".join(_bar(bar, first and not number) for number, bar in enumerate(lane.bars))
        lanes.append(
            f'<div class=lane role=list aria-label="{escape(lane.name)}"'
            f' style="height:{_height(lane)}px">{bars}</div>'
        )
        first = False
    return (
        f"<div class=chart><div class=names aria-hidden=true>{names}</div><div class=scroll><div"
        ' class=axis data-zoom="1">'
        f"{''.join(marks)}{''.join(lanes)}</div></div></div>"
    )


def _bar(bar: Bar, first: bool) -> str:
    facts = escape("\n".join(bar.facts))
    kind = " mark" if bar.marked else ""
    return (
        f'<div class="bar {_class(bar.state)}{kind}" role=listitem tabindex={0 if first else -1}'
        f' data-share="{bar.width:.6f}" '
        f'style="left:{_share(bar.left)};width:{_share(bar.width)};top:{2 + 24 * bar.row}px" '
        f'data-facts="{facts}" aria-label="{facts}">{_disc(bar.state)}<span>{escape(bar.step)}'
        "</span></div>"
    )


def _table(timeline: Timeline) -> Iterator[str]:
    number = sum(len(lane.bars) for lane in timeline.lanes) + len(timeline.idle)
    yield f"<details><summary>All {number} attempts as a table</summary><table><thead><tr>"
    yield "".join(
        f"<th scope=col>{heading}</th>" for heading in ("Step", "state", "worker", "more")
    )
    yield "</tr></thead><tbody>"
    for lane in timeline.lanes:
        for bar in lane.bars:
            worker = "none" if lane.busy is None else lane.name
            yield _row(bar.step, bar.state, worker, "; ".join(bar.facts[1:]))
    for step, state, reason in timeline.idle:
        yield _row(step, state, "none", f"never started; because: {reason}")
    yield "</tbody></table></details>"


def _row(step: str, state: str, worker: str, more: str) -> str:
    cells = (
        f'<th scope=row>{escape(step)}</th><td class="{_class(state)}">{_disc(state)}'
        f" {escape(state)}</td>"
    )
    return f"<tr>{cells}<td>{escape(worker)}</td><td>{escape(more)}</td></tr>"


def _disc(state: str) -> str:
    return f"<i class=disc aria-hidden=true style=font-style:normal>{appearance(state).sign}</i>"


def _class(state: str) -> str:
    return state if state in APPEARANCES else "waiting"


def _height(lane: Lane) -> int:
    return 24 * lane.rows


def _share(share: float) -> str:
    return f"{100 * share:.4f}%"
