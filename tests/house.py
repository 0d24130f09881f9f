"""Draws the imports between wings, and lists the wings, from the code: ``python -m house``."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path

import networkx

from gaia_local.pictures.boxes import Box, Link, Node
from gaia_local.pictures.layout import place

PACKAGE = Path(__file__).resolve().parent.parent / "gaia_local"
DOCS = PACKAGE.parent / "resources/docs"
FACE = "gaia_local"
"""Stands for the package's `__init__` and the modules beside it that users see through it."""
FACED = {"__init__", "api", "http_errors"}
BASE = "errors, config, forks, installation"
"""Stands for the modules that import no wing."""
WIDTH, HEIGHT, MARGIN = 112.0, 34.0, 24.0
_HEAD = """# The house

What the package is made of; `make house` writes this page and its picture anew. A wing imports
only wings below it. Beside the wings lie `errors`, `config`, `forks` and `installation`, which know
none of them, and the face of the package: `api`, `http_errors` and the package itself.

![The imports between wings](house.svg)

An arrow leads from a wing to one that it imports; where a longer way leads there too, the arrow is
left out, and so are all arrows to `errors`, `config`, `forks` and `installation`.
"""


@dataclass(frozen=True)
class Source:
    """A module: its name without the package's, and its syntax tree."""

    module: str
    tree: ast.Module

    def own(self) -> Iterator[tuple[str, int]]:
        """The modules of this package that it imports anywhere, with the lines."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom):
                path = [*self._above(node.level), *(node.module.split(".") if node.module else [])]
                if path[0] == FACE:
                    yield from ((_found(path[1:], alias.name), node.lineno) for alias in node.names)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    path = alias.name.split(".")
                    if path[0] == FACE:
                        yield _found(path[1:], None), node.lineno

    def _above(self, level: int) -> list[str]:
        """The package from which a relative import starts."""
        return [FACE, *self.module.split(".")][:-level] if level else []

    def libraries(self) -> Iterator[tuple[str, int]]:
        """The libraries that it imports, with the lines."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom) and not node.level and node.module:
                yield node.module.split(".")[0], node.lineno
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    yield alias.name.split(".")[0], node.lineno


@cache
def _is_module(path: tuple[str, ...]) -> bool:
    place = PACKAGE.joinpath(*path)
    return place.with_suffix(".py").exists() or (place / "__init__.py").exists()


def _found(path: list[str], name: str | None) -> str:
    """The module that a name is imported from: the name itself, if that is a module."""
    if name is not None and _is_module((*path, name)):
        path = [*path, name]
    return ".".join(path) or "__init__"


@cache
def sources() -> tuple[Source, ...]:
    """All modules; a wing's `__init__` bears the wing's name."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)
        found.append(Source(name, ast.parse(path.read_text(encoding="utf-8"))))
    return tuple(found)


def packages() -> list[str]:
    """The wings, and the packages inside them."""
    folders = (path.parent.relative_to(PACKAGE).parts for path in PACKAGE.rglob("__init__.py"))
    return sorted(".".join(folder) for folder in folders if folder)


def wing(module: str) -> str:
    """The wing that a module lies in, or the module of the package itself."""
    return module.partition(".")[0]


def box(name: str) -> str:
    """The box in which a wing, or a module of the package itself, is drawn."""
    if name == "__main__":
        return "cli"
    if name in FACED:
        return FACE
    return name if name in packages() else BASE


def between_wings(found: Iterable[Source]) -> networkx.DiGraph[str]:
    """Wing → each wing that it imports."""
    graph: networkx.DiGraph[str] = networkx.DiGraph()
    for source in found:
        graph.add_node(wing(source.module))
        others = {wing(imported) for imported, _ in source.own()} - {wing(source.module)}
        graph.add_edges_from((wing(source.module), imported) for imported in others)
    return graph


# ----------------------------------------------------------------------------------- picture


def _boxes() -> networkx.DiGraph[str]:
    """The boxes and arrows drawn, without arrows that a longer way makes redundant."""
    graph: networkx.DiGraph[str] = networkx.DiGraph()
    for importer, imported in between_wings(sources()).edges:
        pair = box(importer), box(imported)
        if pair[0] != pair[1] and BASE not in pair:
            graph.add_edge(*pair)
    graph.add_nodes_from({box(name) for name in between_wings(sources())} - {BASE})
    return networkx.transitive_reduction(graph)


def _arrows() -> list[tuple[str, str]]:
    return sorted(_boxes().edges)


def picture() -> str:
    """The picture as SVG."""
    names = sorted(_boxes())
    boxes = [Box("step", (Node(name, name, ""),), (name,), "", WIDTH, HEIGHT) for name in names]
    links = [
        Link(names.index(importer), names.index(imported), (), ())
        for importer, imported in _arrows()
    ]
    layout = place(boxes, links)
    width, height = layout.width + 2 * MARGIN, layout.height + 2 * MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{-MARGIN:g} {-MARGIN:g} {width:.0f}'
        f' {height:.0f}" font-family="sans-serif" font-size="14" text-anchor="middle">',
        f'<rect x="{-MARGIN:g}" y="{-MARGIN:g}" width="100%" height="100%" fill="#fff"/>',
        '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8"'
        ' markerHeight="8" orient="auto"><path d="M0 0L8 4L0 8z" fill="#666"/></marker></defs>',
    ]
    for (importer, imported), way in zip(_arrows(), layout.ways, strict=True):
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in way)
        lines.append(
            f'<polyline points="{points}" fill="none" stroke="#666" marker-end="url(#head)">'
            f"<title>{importer} imports {imported}</title></polyline>"
        )
    for name, (x, y) in zip(names, layout.corners, strict=True):
        fill = "#fdf1d6" if name == FACE else "#e8f0fb"
        lines += [
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{WIDTH:g}" height="{HEIGHT:g}" rx="5"'
            f' fill="{fill}" stroke="#446"/>',
            f'<text x="{x + WIDTH / 2:.1f}" y="{y + 22:.1f}" fill="#112">{escape(name)}</text>',
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"


def drawn(svg: str) -> tuple[set[str], set[str]]:
    """The contents of a picture, without their places: its arrows, and its boxes."""
    arrows = re.findall(r"<title>(.*?)</title>", svg)
    return set(arrows), set(re.findall(r"<text[^>]*>(.*?)</text>", svg))


# -------------------------------------------------------------------------------------- page


def purpose(package: str) -> tuple[str, str, str]:
    """The three parts of a wing's docstring: its purpose, its promises, and its exclusions."""
    (source,) = [source for source in sources() if source.module == package]
    text = ast.get_docstring(source.tree) or ""
    _, _, rest = text.partition("\nPromises ")
    promise, _, never = rest.partition("\nNever in it: ")
    first, promise, never = (
        " ".join(part.split()) for part in (*text.split("\n\n")[:1], promise, never)
    )
    return first, promise, never


def page() -> str:
    """The page as Markdown: the wings from the top down."""
    graph = between_wings(sources())
    order = networkx.lexicographical_topological_sort(graph)
    rows = []
    for name in order:
        if name not in packages():
            continue
        for package in [name, *(inner for inner in packages() if inner.startswith(f"{name}."))]:
            first, promise, never = purpose(package)
            below = ", ".join(sorted(graph.successors(name))) if package == name else ""
            rows.append(
                f"| `{package.replace('.', '/')}/` | {first} | {promise} | {never} | {below} |"
            )
    head = (
        "| wing | what it is for | it promises | never in it | it imports |\n|---|---|---|---|---|"
    )
    return "\n".join([_HEAD, head, *rows]) + "\n"


def write(folder: Path) -> None:
    """Write both."""
    (folder / "house.svg").write_text(picture(), encoding="utf-8")
    (folder / "house.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS)
