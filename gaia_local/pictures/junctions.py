"""Links that many boxes have in common, gathered at points: n + m of them for n × m."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gaia_local.pictures.boxes import Box, Link

JUNCTION = Box("junction", (), (), "", 8.0, 8.0)


def gathered(boxes: Sequence[Box], links: Sequence[Link]) -> tuple[list[Box], list[Link]]:
    """If several boxes lead to the same several others, links lead there by a junction."""
    leaving: dict[int, list[Link]] = {}
    kept: list[Link] = []
    for link in links:
        if link.source == link.target:
            kept.append(link)
        else:
            leaving.setdefault(link.source, []).append(link)
    alike: dict[frozenset[int], list[Link]] = {}
    for theirs in leaving.values():
        alike.setdefault(frozenset(link.target for link in theirs), []).extend(theirs)
    made = list(boxes)
    for targets, theirs in alike.items():
        sources = {link.source for link in theirs}
        if len(theirs) <= len(sources) + len(targets) + 1:
            kept += theirs
            continue
        junction = len(made)
        made.append(JUNCTION)
        for source in sorted(sources):
            kept.append(_joined(source, junction, (x for x in theirs if x.source == source)))
        for target in sorted(targets):
            kept.append(_joined(junction, target, (x for x in theirs if x.target == target)))
    return made, kept


def _joined(source: int, target: int, links: Iterable[Link]) -> Link:
    some = list(links)
    return Link(
        source,
        target,
        tuple(edge for link in some for edge in link.edges),
        tuple(dict.fromkeys(key for link in some for key in link.keys)),
    )
