"""Imported packages are declared, and declared ones are listed with their licences."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import distribution, packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from test_layers import place

import licences
from house import PACKAGE, Source, sources

REPO = PACKAGE.parent
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
BY_EXTRA = {"pictures": "pictures", "server": "server", "dask": "executors.dask"}
"""Extra → the wing whose libraries are imported only if it is installed."""
BROUGHT = {"testing": {"pytest"}, "compat": {"gaia"}}
"""Wing → packages that import it, or that are there already when it imports them."""

FILES = {"font-roboto"}
"""Of these only files are read."""


def declared(extra: str | None) -> set[str]:
    """The distributions that are installed with the package (and an extra)."""
    given = [*PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] if extra else [])]
    return {canonicalize_name(Requirement(requirement).name) for requirement in given}


def undeclared(source: Source) -> Iterator[str]:
    """The libraries that a module imports without a declaration in the project or its extra."""
    extra = next((one for one, where in BY_EXTRA.items() if place(source.module, [where])), None)
    known = declared(extra) | BROUGHT.get(place(source.module, BROUGHT) or "", set())
    for library, line in source.libraries():
        if library in sys.stdlib_module_names or library == "gaia_local":
            continue
        names = {
            canonicalize_name(package)
            for package in packages_distributions().get(library, [library])
        }
        if known.isdisjoint(names):
            where = f"the extra {extra!r}" if extra else "the dependencies"
            yield (
                f"{source.module}:{line} imports {library}, "
                f"which is not among {where} of pyproject.toml"
            )


@pytest.mark.parametrize("source", sources(), ids=lambda source: source.module)
def test_imported_libraries_are_declared(source: Source) -> None:
    assert list(undeclared(source)) == []


def test_undeclared_imports_are_detected() -> None:
    (told,) = undeclared(Source("engine", ast.parse("def f():\n    import starlette.routing")))
    assert (
        told == "engine:2 imports starlette, which is not among the dependencies of pyproject.toml"
    )
    assert list(undeclared(Source("server", ast.parse("import starlette, json, yaml")))) == []


def test_declared_dependencies_are_used() -> None:
    imported = {library for source in sources() for library, _ in source.libraries()}
    used = {
        canonicalize_name(name)
        for library in imported
        for name in packages_distributions().get(library, [library])
    }
    assert set().union(*(declared(extra) for extra in (None, *BY_EXTRA))) - used == FILES


# ----------------------------------------------------------------------------------------- licences


def listed() -> dict[str, tuple[str, str]]:
    """The page's table: package → its licence and its extras."""
    page = (REPO / "resources/docs/licences.md").read_text()
    found = re.findall(r"^\| \*?([a-z0-9-]+)\*? \| (.+) \| (.+) \|$", page, flags=re.MULTILINE)
    return {name: (licence, extras) for name, licence, extras in found if name != "package"}


def test_the_page_of_licences_has_what_is_declared() -> None:
    """Indirect dependencies may change with versions: `make licences` updates the page."""
    page = listed()
    for extra in (None, *PROJECT["optional-dependencies"]):
        for name in declared(extra) - {licences.PACKAGE}:
            assert name in page, f"{name} is missing in resources/docs/licences.md: make licences"
            now = licences.licence(distribution(name))
            assert page[name][0] == now, (
                f"{name} has another licence than the page says, {now}: make licences"
            )
    assert {licence for licence, _ in page.values()} & {licences.UNKNOWN, ""} == set()
