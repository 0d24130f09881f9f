"""The layers of the house, read from the imports: who may know whom, and which library is behind
which module.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import networkx
import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "gaia_local"

LAYERS = {
    "words": "controls errors given paths keys durations forks resources model states assignment config runtime",
    "core": "key_paths templates graph submitted origins decision workflow",
    "parts": """files staging storage leases state_file database buckets names ownership watched_trees watcher
                docker_engine docker_files docker_runtime pipes environment strays supervisor supervision tokens
                process_runtime auto_runtime runtimes""",
    "hands": "worker executor dask_session dask_worker dask_keys dask_cluster dask_survey dask_executor",
    "head": "looking remembering answers flushing recovery scheduler snapshot calls local_socket",
    "face": "pictures timeline engine face api __init__",
    "doors": "definitions leftovers demo doctor output progress waves cli __main__ server testing pytest_plugin compat",
}
"""From the top down: a module imports from its own layer and from those above it."""
LAYER = {module: layer for layer, modules in LAYERS.items() for module in modules.split()}
DOORS = set(LAYERS["doors"].split())

LIBRARIES = {
    "networkx": {"graph"},
    "sqlite3": {"state_file", "database", "names"},
    "sqlite_utils": {"state_file"},
    "docker": {"docker_engine", "docker_files", "docker_runtime"},
    "urllib3": {"docker_engine"},
    "requests": {"face", "docker_engine"},
    "watchdog": {"watched_trees"},
    "subprocess": {"process_runtime", "supervision", "supervisor"},
    "multiprocessing": set(),
    "socket": {"local_socket", "docker_engine", "server", "supervision"},
    "distributed": {"dask_cluster", "dask_worker"},
    "dask": {"dask_cluster", "dask_worker"},
    "cryptography": {"dask_keys"},
    "yaml": {"definitions", "compat"},
    "graphlay": {"pictures"},
    "resvg_py": {"pictures"},
    "font_roboto": {"pictures"},
    "starlette": {"server"},
    "uvicorn": {"server"},
    "typer": DOORS,
    "click": DOORS,
    "rich": DOORS,
}
"""Library → the modules that may import it."""
BEARERS = {"executor", "dask_executor", "watcher", "local_socket", "server"}
"""Where threads are born."""
BIRTHS = {"Thread", "Timer", "ThreadPoolExecutor", "start_new_thread"}

PURE = ("graph", "submitted", "origins", "decision", "workflow")
"""The modules that decide: they know no file, no database, no thread and no program."""
WORLD = {"storage", "files", "database", "executor", "worker", "scheduler", "looking"}
"""What these must not come to by any way."""
OUTSIDE = {"os", "pathlib", "shutil", "tempfile", "sqlite3", "threading", "subprocess", "socket"}
"""Nor do they import these themselves."""

BORROWED = {"templates": {"check_internal_template", "check_places"}}
"""Private names that a module uses all the same: let there be no more."""


@dataclass(frozen=True)
class Source:
    """A module's imports and births of threads."""

    module: str
    tree: ast.Module

    def own(self) -> Iterator[tuple[str, int]]:
        """The modules of this package that it imports, wherever in it, and where."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom):
                path = [] if node.level else (node.module or "").split(".")
                if node.level:
                    path = ["gaia_local", *(node.module.split(".") if node.module else [])]
                if path[0] != "gaia_local":
                    continue
                if len(path) > 1:
                    yield path[1], node.lineno
                else:
                    for alias in node.names:
                        yield (
                            alias.name if alias.name in LAYER or exists(alias.name) else "__init__",
                            node.lineno,
                        )
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    path = alias.name.split(".")
                    if path[0] == "gaia_local":
                        yield path[1] if len(path) > 1 else "__init__", node.lineno

    def libraries(self) -> Iterator[tuple[str, int]]:
        """The libraries that it imports, and where."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom) and not node.level and node.module:
                yield node.module.split(".")[0], node.lineno
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    yield alias.name.split(".")[0], node.lineno

    def births(self) -> Iterator[int]:
        """Where it makes threads."""
        for node in ast.walk(self.tree):
            if not isinstance(node, ast.Call | ast.ClassDef):
                continue
            for each in [node.func] if isinstance(node, ast.Call) else node.bases:
                if (
                    each.attr if isinstance(each, ast.Attribute) else getattr(each, "id", None)
                ) in BIRTHS:
                    yield node.lineno


def exists(module: str) -> bool:
    return (PACKAGE / f"{module}.py").exists() or (PACKAGE / module / "__init__.py").exists()


def sources() -> list[Source]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found.append(Source(parts[0], ast.parse(path.read_text(encoding="utf-8"))))
    return found


def misplaced(source: Source) -> list[str]:
    """What a module imports and may not."""
    order = list(LAYERS)
    problems = []
    for other, line in source.own():
        if order.index(LAYER[other]) > order.index(LAYER[source.module]):
            problems.append(
                f"{source.module}:{line} imports {other}: {LAYER[source.module]} must not know {LAYER[other]}; "
                f"the layers are {' < '.join(order)}"
            )
    for library, line in source.libraries():
        allowed = LIBRARIES.get(library)
        if allowed is not None and source.module not in allowed:
            problems.append(
                f"{source.module}:{line} imports {library}, which is the business of {', '.join(sorted(allowed))}"
            )
    if source.module not in BEARERS:
        problems += [
            f"{source.module}:{line} makes a thread: only {', '.join(sorted(BEARERS))} do"
            for line in source.births()
        ]
    return problems


def cycles(found: list[Source]) -> list[list[str]]:
    graph: networkx.DiGraph[str] = networkx.DiGraph(
        (source.module, other)
        for source in found
        for other, _ in source.own()
        if other != source.module
    )
    return [sorted(each) for each in networkx.strongly_connected_components(graph) if len(each) > 1]


def test_each_module_has_a_layer() -> None:
    modules = {source.module for source in sources()}
    homeless = sorted(modules - LAYER.keys())
    assert not homeless, (
        f"{', '.join(homeless)}: in no layer; put each into LAYERS in {__file__}, where it belongs"
    )
    gone = sorted(LAYER.keys() - modules)
    assert not gone, f"{', '.join(gone)}: in LAYERS, but not in {PACKAGE}; take them out"
    assert len(LAYER) == sum(len(modules.split()) for modules in LAYERS.values()), (
        "a module is in two layers"
    )


@pytest.mark.parametrize("source", sources(), ids=lambda source: source.module)
def test_modules_know_only_what_is_above_them(source: Source) -> None:
    problems = misplaced(source) if source.module in LAYER else ["it is in no layer"]
    assert not problems, "\n".join(problems)


def reached(module: str, found: list[Source]) -> set[str]:
    """All modules that come along when one is imported."""
    imports: dict[str, set[str]] = {}
    for source in found:
        imports.setdefault(source.module, set()).update(other for other, _ in source.own())
    seen: set[str] = set()
    queue = [module]
    for each in queue:
        news = imports.get(each, set()) - seen
        seen |= news
        queue.extend(news)
    return seen


@pytest.mark.parametrize("module", PURE)
def test_the_deciding_modules_reach_no_io(module: str) -> None:
    found = sources()
    assert reached(module, found) & WORLD == set()
    (source,) = [each for each in found if each.module == module]
    assert {library for library, _ in source.libraries()} & OUTSIDE == set()


def test_there_are_no_cycles() -> None:
    assert cycles(sources()) == []


def test_one_module_hears_of_forks() -> None:
    hooks = [source.module for source in sources() if "register_at_fork" in ast.dump(source.tree)]
    assert hooks == ["forks"]


def test_modules_use_of_each_other_what_is_public() -> None:
    problems = []
    for source in sources():
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ImportFrom) and (
                node.level or (node.module or "").split(".")[0] == "gaia_local"
            ):
                names = {
                    alias.name for alias in node.names if alias.name.startswith("_")
                } - BORROWED.get(source.module, set())
                problems += [
                    f"{source.module}:{node.lineno} imports {name} from {node.module}"
                    for name in sorted(names)
                ]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    ("module", "code", "words"),
    [
        ("model", "from gaia_local.store.storage import Storage", "words must not know parts"),
        ("graph", "from gaia_local.engine import scheduler", "core must not know head"),
        ("workflow", "from gaia_local.state.database import Database", "core must not know parts"),
        ("storage", "import gaia_local.executors.worker", "parts must not know hands"),
        ("storage", "from . import worker", "parts must not know hands"),
        ("storage", "from .worker import Worker", "parts must not know hands"),
        (
            "executor",
            "def f():\n    from gaia_local.engine.scheduler import Scheduler",
            "executor:2 imports scheduler",
        ),
        ("scheduler", "from gaia_local import Gaia", "head must not know face"),
        ("scheduler", "import networkx", "the business of graph"),
        ("workflow", "from sqlite_utils.db import Table", "the business of state_file"),
        ("worker", "import docker.errors", "the business of docker_engine"),
        ("api", "from rich.console import Console", "the business of"),
        ("scheduler", "import threading\nthreading.Thread(target=f)", "scheduler:2 makes a thread"),
        ("scheduler", "from threading import Timer\nTimer(1, f)", "scheduler:2 makes a thread"),
        ("scheduler", "class Mine(threading.Thread):\n    pass", "scheduler:1 makes a thread"),
        (
            "scheduler",
            "from concurrent import futures\nfutures.ThreadPoolExecutor()",
            "scheduler:2 makes a thread",
        ),
    ],
)
def test_trespasses_are_seen(module: str, code: str, words: str) -> None:
    (problem,) = misplaced(Source(module, ast.parse(code)))
    assert words in problem


def test_ways_through_others_are_seen() -> None:
    one, two = (
        Source("graph", ast.parse("import gaia_local.model.names")),
        Source("model", ast.parse("from . import storage")),
    )
    assert reached("graph", [one, two]) == {"model", "storage"}


def test_cycles_are_seen() -> None:
    one = Source("files", ast.parse("from gaia_local.store import storage"))
    two = Source("storage", ast.parse("import gaia_local.store.files"))
    assert cycles([one, two]) == [["files", "storage"]]
