"""Links that many boxes have in common, gathered at points: n + m of them for n × m."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gaia_local.pictures.boxes import Box, Link

JUNCTION = Box("junction", (), (), "", 8.0, 8.0)


def gathered(boxes: Sequence[Box], links: Sequence[Link]) -> tuple[list[Box], list[Link]]:
    """The same, with a junction where several boxes lead to the same several others.

    First boxes that the same ones lead to share one: joins of the same inputs.
    """
    made = list(boxes)
    return made, _alike(made, _alike(made, links, by_target=True), by_target=False)


def _alike(made: list[Box], links: Sequence[Link], by_target: bool) -> list[Link]:
    """Links with junctions, which are added to `made`, for ends whose other ends are the same."""
    kept: list[Link] = []
    ends: dict[int, list[Link]] = {}
    for link in links:
        if link.source == link.target:
            kept.append(link)
        else:
            ends.setdefault(link.target if by_target else link.source, []).append(link)
    alike: dict[frozenset[int], list[Link]] = {}
    for theirs in ends.values():
        others = frozenset(link.source if by_target else link.target for link in theirs)
        alike.setdefault(others, []).extend(theirs)
    for theirs in alike.values():
        sources = sorted({link.source for link in theirs})
        targets = sorted({link.target for link in theirs})
        if len(theirs) <= len(sources) + len(targets) + 1:
            kept += theirs
            continue
        junction = len(made)
        made.append(JUNCTION)
        for source in sources:
            kept.append(_joined(source, junction, (x for x in theirs if x.source == source)))
        for target in targets:
            kept.append(_joined(junction, target, (x for x in theirs if x.target == target)))
    return kept


def _joined(source: int, target: int, links: Iterable[Link]) -> Link:
    some = list(links)
    return Link(
        source,
        target,
        tuple(edge for link in some for edge in link.edges),
        tuple(dict.fromkeys(key for link in some for key in link.keys)),
    )
