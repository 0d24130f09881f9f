"""The layers, read from the imports: the modules and libraries that each wing may import."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

import networkx
import pytest

import house
from house import PACKAGE, Source, between_wings, packages, sources

EVERYWHERE = "errors forks installation interrupts monotonic terminal_text"
"""The modules that any module may import."""
BELOW = "config http_errors model workflow store state runtimes executors engine pictures"
DOORS = f"{BELOW} __init__ demo compat doctor server"
FOR_RUNTIMES = (
    "runtimes.contract runtimes.lines runtimes.process_tree runtimes.sampling "
    "runtimes.start_failures runtimes.step_scripts"
)

MAY_IMPORT = {
    "errors": "",
    "forks": "",
    "installation": "",
    "interrupts": "forks",
    "monotonic": "",
    "terminal_text": "",
    "logger": "",
    "config": "",
    "http_errors": "",
    "model": "",
    "workflow": "model",
    "store": "model",
    "state": "config model workflow store",
    "runtimes.contract": "model",
    "runtimes.lines": "",
    "runtimes.process_tree": "",
    "runtimes.sampling": "",
    "runtimes.start_failures": "",
    "runtimes.step_scripts": "model",
    "runtimes": "config model runtimes",
    "runtimes.docker": f"config model store {FOR_RUNTIMES}",
    "runtimes.process": f"model {FOR_RUNTIMES}",
    "executors.contract": "model",
    "executors": "model store runtimes.contract executors.contract",
    "executors.dask": "config model store runtimes executors",
    "engine": "config model workflow store state runtimes executors",
    "pictures": "model store.logs",
    "api": "config http_errors logger model store engine pictures",
    "__init__": "api",
    "demo": "",
    "doctor": "config model store state runtimes executors",
    "compat": "config http_errors model __init__",
    "server": "config model engine pictures.grouping store.opening __init__",
    "cli": DOORS,
    "testing": DOORS,
    "__main__": "cli",
}
"""Place of a module → the places it may import, beside its own. The most exact place counts: a
module of `runtimes.docker` is none of `runtimes`."""

LIBRARIES = {
    "networkx": "api workflow.traversal",
    "sqlite3": "state.schema state.state_file state.connection state.names",
    "sqlite_utils": "state.schema",
    "docker": "runtimes.docker",
    "urllib3": "runtimes.docker.responses",
    "requests": "http_errors runtimes.docker",
    "watchdog": "store.watched_trees store.inotify_trees",
    "subprocess": "runtimes.process",
    "multiprocessing": "",
    "socket": (
        "engine.local_socket engine.owner_connection runtimes.docker.connection "
        "runtimes.process.supervision server"
    ),
    "distributed": "executors.dask",
    "dask": "executors.dask",
    "cryptography": "executors.dask.keys",
    "yaml": "model.definition_files compat",
    "igraph": "pictures",
    "resvg_py": "pictures",
    "font_roboto": "pictures",
    "starlette": "server",
    "uvicorn": "server",
    "typer": "cli",
    "click": "cli",
    "rich": "cli",
    "pytest": "testing",
}
"""Library → the places that may import it."""
BEARERS = (
    "interrupts executors.clock executors.threads executors.thread_pool executors.dask.mailbox "
    "runtimes.sampling store.watcher engine.local_socket server"
)
"""The modules that may make threads."""
BIRTHS = {"Thread", "Timer", "ThreadPoolExecutor", "start_new_thread"}

PURE = "workflow"
"""The wing that decides: it comes to nothing else than `model` by any way."""
OUTSIDE = {
    *("os", "pathlib", "shutil", "tempfile", "sqlite3", "threading", "subprocess", "socket"),
    *("asyncio", "random"),
}
"""Nor does it import these itself: no file, database, thread or program."""

ADDRESSES = "workflow.reports"
"""The module of it that writes a path as an address, and uses `pathlib` for that alone."""


def place(module: str, places: Iterable[str] = MAY_IMPORT) -> str | None:
    """The most exact of `places` that a module lies in."""
    inside = [outer for outer in places if f"{module}.".startswith(f"{outer}.")]
    return max(inside, key=len, default=None)


def births(source: Source) -> Iterator[int]:
    """The lines in which a module makes threads."""
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call | ast.ClassDef):
            continue
        for made in [node.func] if isinstance(node, ast.Call) else node.bases:
            name = made.attr if isinstance(made, ast.Attribute) else getattr(made, "id", None)
            if name in BIRTHS:
                yield node.lineno


def misplaced(source: Source) -> list[str]:
    """The forbidden imports of a module."""
    own = place(source.module)
    assert own is not None, f"{source.module} lies nowhere: put its place into MAY_IMPORT"
    allowed = [*EVERYWHERE.split(), *MAY_IMPORT[own].split()]
    problems = []
    for imported, line in source.own():
        if place(imported) != own and place(imported, allowed) is None:
            problems.append(
                f"{source.module}:{line} imports {imported}: "
                f"{own} must not know {place(imported)}; "
                f"it may import {MAY_IMPORT[own] or 'nothing'}"
            )
    for library, line in source.libraries():
        behind = LIBRARIES.get(library)
        if behind is not None and place(source.module, behind.split()) is None:
            told = behind or "nobody"
            problems.append(f"{source.module}:{line} imports {library}, the business of {told}")
    if place(source.module, BEARERS.split()) is None:
        problems += [
            f"{source.module}:{line} makes a thread: only {BEARERS} do" for line in births(source)
        ]
    return problems


def between_modules(found: Iterable[Source]) -> networkx.DiGraph[str]:
    return networkx.DiGraph(
        (source.module, imported)
        for source in found
        for imported, _ in source.own()
        if imported != source.module
    )


def cycles(graph: networkx.DiGraph[str]) -> list[list[str]]:
    return [sorted(one) for one in networkx.strongly_connected_components(graph) if len(one) > 1]


def test_each_module_has_a_place() -> None:
    homeless = sorted(source.module for source in sources() if place(source.module) is None)
    assert not homeless, f"{', '.join(homeless)}: put the wing into MAY_IMPORT in {__file__}"
    modules = [source.module for source in sources()]
    named = " ".join(
        [EVERYWHERE, *MAY_IMPORT, *MAY_IMPORT.values(), *LIBRARIES.values(), BEARERS]
    ).split()
    gone = sorted(
        name for name in set(named) if not any(place(module, [name]) for module in modules)
    )
    assert not gone, f"{', '.join(gone)}: in a table here, but not in {PACKAGE}; take them out"


@pytest.mark.parametrize("source", sources(), ids=lambda source: source.module)
def test_modules_know_only_what_is_below_them(source: Source) -> None:
    problems = misplaced(source)
    assert not problems, "\n".join(problems)


def test_there_are_no_cycles_between_modules() -> None:
    assert cycles(between_modules(sources())) == []


def test_there_are_no_cycles_between_wings() -> None:
    assert cycles(between_wings(sources())) == []


def test_the_wing_that_decides_does_not_know_the_world() -> None:
    mine = [source for source in sources() if place(source.module, [PURE])]
    graph = between_modules(sources())
    for source in mine:
        reached = networkx.descendants(graph, source.module) if source.module in graph else set()
        assert {place(module) for module in reached} <= {PURE, "model", *EVERYWHERE.split()}
        own = {"pathlib"} if source.module == ADDRESSES else set()
        assert {library for library, _ in source.libraries()} & OUTSIDE == own


@pytest.mark.parametrize("source", sources(), ids=lambda source: source.module)
def test_each_module_says_what_it_is_for(source: Source) -> None:
    first = (ast.get_docstring(source.tree) or "").split("\n\n")[0]
    assert first.endswith((".", ":")) or source.module == "__main__", "begin it with a sentence"


@pytest.mark.parametrize("package", packages())
def test_each_wing_says_what_it_promises_and_what_is_never_in_it(package: str) -> None:
    assert all(house.purpose(package)), (
        "the docstring says what it is for, then 'Promises …', then 'Never in it: …'"
    )


def test_one_module_hears_of_forks() -> None:
    hooks = [source.module for source in sources() if "register_at_fork" in ast.dump(source.tree)]
    assert hooks == ["forks"]


def test_modules_use_of_each_other_what_is_public() -> None:
    problems = [
        f"{source.module}:{node.lineno} imports {alias.name} from {node.module}"
        for source in sources()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gaia_local")
        for alias in node.names
        if alias.name.startswith("_")
    ]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    ("module", "code", "words"),
    [
        ("model.tasks", "from gaia_local.store.storage import Storage", "must not know store"),
        ("workflow.graph", "from gaia_local.engine import scheduler", "must not know engine"),
        ("workflow.graph", "from gaia_local.state.names import x", "must not know state"),
        ("store.storage", "import gaia_local.executors.worker", "must not know executors"),
        ("store.storage", "from ..executors import worker", "must not know executors"),
        ("runtimes.contract", "from . import auto", "must not know runtimes"),
        ("runtimes.docker.runtime", "from gaia_local.runtimes import auto", "not know runtimes"),
        ("executors.threads", "from .dask import keys", "must not know executors.dask"),
        (
            "executors.threads",
            "def f():\n    from gaia_local.engine.scheduler import Scheduler",
            "executors.threads:2 imports engine.scheduler",
        ),
        ("engine.scheduler", "from gaia_local import Gaia", "must not know __init__"),
        ("server.app", "from gaia_local.cli import output", "must not know cli"),
        ("engine.scheduler", "import networkx", "the business of api workflow.traversal"),
        ("state.names", "from sqlite_utils.db import Table", "the business of state.schema"),
        ("executors.worker", "import docker.errors", "the business of runtimes.docker"),
        ("api", "from rich.console import Console", "the business of cli"),
        ("executors.worker", "import threading\nthreading.Thread(target=f)", ":2 makes a thread"),
        ("executors.worker", "from threading import Timer\nTimer(1, f)", ":2 makes a thread"),
        ("executors.worker", "class Mine(threading.Thread):\n    pass", ":1 makes a thread"),
        (
            "executors.worker",
            "from concurrent import futures\nfutures.ThreadPoolExecutor()",
            ":2 makes a thread",
        ),
    ],
)
def test_trespasses_are_seen(module: str, code: str, words: str) -> None:
    (problem,) = misplaced(Source(module, ast.parse(code)))
    assert words in problem


def test_cycles_are_seen() -> None:
    one = Source("store.copying", ast.parse("from gaia_local.store import storage"))
    two = Source("store.storage", ast.parse("import gaia_local.store.copying"))
    assert cycles(between_modules([one, two])) == [["store.copying", "store.storage"]]
    three = Source("store.copying", ast.parse("from gaia_local.state import database"))
    four = Source("state.names", ast.parse("from gaia_local.store import storage"))
    assert cycles(between_modules([three, four])) == []
    assert cycles(between_wings([three, four])) == [["state", "store"]]


def test_the_picture_of_the_house_is_up_to_date() -> None:
    """What it shows; where that lies may change with the library that lays it out."""
    kept = (house.DOCS / "house.svg").read_text(encoding="utf-8")
    assert house.drawn(kept) == house.drawn(house.picture()), "the imports have changed: make house"


def test_the_page_on_the_house_is_up_to_date() -> None:
    kept = (house.DOCS / "house.md").read_text(encoding="utf-8")
    assert kept == house.page(), "the imports or a docstring of a wing have changed: make house"
