"""What hostile input can do: nothing. Calls with any values, links planted by Steps, containers, YAML, modes, secrets.

`GAIA_LOCAL_FUZZ_CALLS` is the number of calls that the fuzzer makes (at least 10,000, which takes some seconds).
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
import math
import os
import random
import reprlib
import sqlite3
import stat
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import MakeGaia, WaitUntil
from gaia_local import Gaia, GaiaError, answers, definitions, docker_files, engine, files, model, templates
from gaia_local.assignment import Outcome, Output
from gaia_local.config import Config
from gaia_local.errors import InvalidInput, shown
from gaia_local.given import MAX_JSON_CHARACTERS, MAX_NESTING, MAX_VALUES
from gaia_local.model import TaskState
from gaia_local.ownership import root_id
from gaia_local.snapshot import Snapshot
from hands import HandExecutor

CALLS = max(10_000, int(os.environ.get("GAIA_LOCAL_FUZZ_CALLS", "0")))
CALLS_AT_ONCE = 250
MANY_STEPS = 60
"""A workflow that grew to this is deleted: what is looked for doesn't need it, and each look costs."""

# ------------------------------------------------------------------------------------------------- values, good and bad

WORKFLOWS = ["w", "v_1", "storage", "logs"]
BAD_WORKFLOWS = [
    "",
    ".",
    "..",
    "a/b",
    "/",
    "/etc",
    "../w",
    "w/..",
    "w/",
    "w\0",
    "w\n",
    "\ud800",
    "x" * 256,
    ".gaia-local",
    "./w",
]
NAMES = ["a", "b", "c", "A", "a-b", "a b", "ä", "a:b", "d/e", "a-1", "{{a}}", "storage", "*", "-rf", "$HOME", "~"]
KEYS = [
    "k:a",
    "k:b",
    "a",
    "b",
    "k/a",
    "d/",
    "d/x",
    "d/x/",
    "k:d/",
    "k:d/x",
    "k:d/x/y",
    "a:b:c",
    "out:a",
    "out:b",
    "A",
    "./a",
    "a//b",
]
"""Some name the same file as others, or lie in others."""
TEXTS = [
    *(
        "",
        ".",
        "..",
        "/",
        "//",
        "/etc/passwd",
        "../x",
        "a/../b",
        "a/..",
        "./.",
        "a\0b",
        "a\nb",
        "\x7f",
        "\u2028",
        "\u202e",
        "\ud800",
    ),
    *("x" * 256, "é" * 200, "x/" * 3000, "/x" * 3000, "x" * 100_000, ".gaia-local", ".gaia-local-x/y", "b:.gaia-local/t"),
    *("a:..", "a:../b", "a:/etc/passwd", ":a", "a:", "..:a", "a/../..:b", "~root", "{{", "}}", "{{a}}", "{{b}}", "{{nothing}}"),
    *(
        "{{a}}" * 50,
        "{{ {{a}} }}",
        "/out/{{a}}",
        "/dev/null",
        "/proc/self/mem",
        "/sys/x",
        "/in/one",
        "/out/../x",
        "/out//x",
        "/",
    ),
    *(">", ">>", "STDOUT", "a\\..\\b", "CON", "k:a", "d/", "a-b", "main", "join", "outer", "loop"),
]


def _deep(levels: int, kind: type) -> Any:
    value: Any = "end"
    for _ in range(levels):
        value = [value] if kind is list else {"k": value}
    return value


def _laughs(levels: int) -> Any:
    value: Any = ["ha"] * 10
    for _ in range(levels):
        value = [value] * 10
    return value


JUNK: list[Any] = [
    *(None, True, False, 0, -1, 1.5, math.nan, math.inf, -math.inf, 2**63, 2**64, -(2**200), 10**5000, b"bytes", object(), int),
    *(
        [],
        {},
        (),
        [[]],
        [None],
        {"a": None},
        {1: 2},
        {None: 1},
        {"": 1},
        {"\ud800": 1},
        {("a", "b"): 1},
        {"name": "a"},
        set(),
        {"a"},
    ),
    *(
        _deep(30, list),
        _deep(300, dict),
        _deep(700, list),
        _deep(930, list),
        _deep(950, dict),
        _deep(5000, list),
        _deep(5000, dict),
    ),
    *(_laughs(3), _laughs(12), list(range(3000)), ["a"] * 3000, {str(n): n for n in range(3000)}, "y" * 200_000),
]


def _command(rng: random.Random) -> dict[str, Any]:  # noqa: PLR0911 one for each kind
    """A good Command of a few fixed names, so that they replace each other."""
    version = rng.choice(["", "1", "2"])
    kind = rng.randrange(8)
    one = {
        "name": rng.choice(["main", "main", "join", "a", "b"]),
        "image": rng.choice(["busybox", "other"]),
        "command": ["sh", "-c", f"echo {version} {{{{a}}}} > {{{{out}}}}"],
        "inputs": {"one": "/in/one"},
        "outputs": {"out": rng.choice(["/out/x", "/out/x", ">", "/{{a}}/y"])},
        "vars": {"a": rng.choice(["1", 2, True, 0.5])},
    }
    if kind == 0:
        return {**one, "inputs": {}}
    if kind == 1:
        return {
            **one,
            "name": "join",
            "inputs": {"one": "/in/one", "two": "/in/two/"},
            "outputs": {"out": "/out/", "log": ">>"},
        }
    if kind == 2:
        first = {"name": "x", "command": "main", "inputs": {"one": "one"}, "outputs": {"out": "between"}}
        last = {"name": "y", "command": rng.choice(["main", "a"]), "inputs": {"one": "between"}, "outputs": {"out": "out"}}
        return {"name": "outer", "inputs": ["one"], "outputs": ["out"], "vars": {"a": 1}, "steps": [first, last]}
    if kind == 3:  # composite Commands that invoke themselves, or each other
        inner = {
            "name": "x",
            "command": rng.choice(["loop", "outer", "loop"]),
            "inputs": {"one": "one"},
            "outputs": {"out": "out"},
        }
        return {"name": rng.choice(["loop", "outer"]), "inputs": ["one"], "outputs": ["out"], "steps": [inner]}
    if kind == 4:  # each level is ten of the one below
        level = rng.randrange(1, 9)
        tenfold = [
            {
                "name": f"s{n}",
                "command": f"level{level - 1}" if level > 1 else "main",
                "inputs": {"one": "one"},
                "outputs": {"out": f"o{n}"},
            }
            for n in range(10)
        ]
        return {"name": f"level{level}", "inputs": ["one"], "outputs": ["o0"], "steps": tenfold}
    if kind == 5:  # text that grows tenfold at each level
        grown = {f"v{n}": f"{{{{v{n - 1}}}}}" * 10 for n in range(1, 12)}
        return {**one, "name": "laugh", "vars": {"a": "{{v11}}", "v0": "ha", **grown}}
    if kind == 6:  # vars that use each other
        return {**one, "name": "ring", "vars": {"a": "{{b}}", "b": "{{c}}", "c": "{{a}}"}}
    return one


def _step(rng: random.Random) -> dict[str, Any]:
    command = rng.choice(
        ["main"] * 6 + ["join", "outer", "loop", "a", "b", "laugh", "ring", "nobody", f"level{rng.randrange(1, 9)}"]
    )
    step: dict[str, Any] = {"name": rng.choice(NAMES), "command": command}
    step["inputs"] = {"one": rng.choice(["k:source", rng.choice(KEYS), f"in/{rng.randrange(4)}"])}
    step["outputs"] = {"out": rng.choice([rng.choice(KEYS), f"made/{rng.randrange(9)}"])}
    if command == "join":
        step["inputs"]["two"], step["outputs"]["log"] = rng.choice(KEYS), f"logs/{rng.randrange(9)}"
    if rng.random() < 0.15:
        step["vars"] = {"a": [rng.choice(["1", 2, "x", "y z", "1 "]) for _ in range(rng.randrange(4))]}
        step["outputs"] = {key: f"{value}/{{{{a}}}}" for key, value in step["outputs"].items()}
    elif rng.random() < 0.1:
        step["vars"] = {var: list(range(rng.choice([2, 300, 3000]))) for var in rng.choice(["ab", "abc", "abcd"])}
    elif rng.random() < 0.2:
        step["vars"] = {"a": rng.choice(["1", "{{b}}", "{{a}}", 7])}
    if rng.random() < 0.1:
        step["timeout"] = rng.choice([1, 0.5, 1e300, -1, "1"])
    return step


class Call:
    """One generated call: its method, its arguments, and the bad values that were put in."""

    def __init__(self, seed: str, pool: list[Any], known: list[str]) -> None:
        rng = random.Random(seed)
        self.rng, self.pool = rng, pool
        self.method = rng.choice(["upload", "merge", "merge", "command", "command", "expire"])
        self.put_in: list[Any] = []
        self.arguments: dict[str, Any] = {"workflow": rng.choice(WORKFLOWS)}
        if self.method == "upload":
            self.arguments["properties"] = {"owner": "me"}
        if self.method in ("upload", "command"):
            self.arguments["commands"] = [_command(rng) for _ in range(rng.randrange(1, 4))]
        if self.method in ("upload", "merge"):
            self.arguments["steps"] = [_step(rng) for _ in range(rng.randrange(1, 4))]
        if self.method == "expire":
            self.arguments["keys"] = rng.sample(known, min(len(known), rng.randrange(3))) + rng.sample(KEYS, rng.randrange(2))
        if rng.random() < 0.05:
            self.arguments["workflow"] = bad = rng.choice([*BAD_WORKFLOWS, *JUNK, *pool])
            self.put_in.append(bad)
        for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
            self._spoil()

    def _bad(self) -> Any:
        rng = self.rng
        bad = rng.choice([rng.choice(TEXTS), rng.choice(TEXTS), rng.choice(JUNK), rng.choice(self.pool)])
        self.put_in.append(bad)
        return bad

    def _spoil(self) -> None:
        """Change one place, at whatever depth."""
        rng = self.rng
        place: Any = self.arguments
        key: Any = rng.choice([key for key in place if key != "workflow"])
        for _ in range(rng.choice([0, 1, 2, 2, 3, 3, 4])):
            inner = place[key]
            if not isinstance(inner, dict | list) or not inner or len(inner) > 20:
                break
            place, key = inner, rng.choice(list(inner) if isinstance(inner, dict) else range(len(inner)))
        what = rng.randrange(10)
        if what == 0 and place is not self.arguments:
            del place[key]
        elif what == 1 and isinstance(place, list):
            place.append(copy.copy(place[key]))
        elif what == 2 and isinstance(place, dict) and place is not self.arguments:
            bad = self._bad()
            with contextlib.suppress(TypeError):
                place[bad] = place[key]
        else:
            place[key] = self._bad()

    def __repr__(self) -> str:
        brief = reprlib.Repr()
        brief.maxlevel, brief.maxdict, brief.maxlist, brief.maxstring = 6, 8, 4, 60
        return f"{self.method}({brief.repr(self.arguments)}) with {list(map(shown, self.put_in))}"

    def make(self, gaia: Gaia) -> None:
        """Make it; whatever it raises goes through."""
        getattr(gaia, self.method)(**self.arguments)

    def is_named(self, text: str) -> bool:
        """Whether the text of a refusal names something of this call (beside a workflow that is in order)."""
        return any(word[:60].rstrip("…") in text for word in self._words(text))

    def _words(self, text: str) -> Iterator[str]:
        for bad in self.put_in:
            yield shown(bad)
        yield from map(repr, _strings({**self.arguments, "workflow": None}))
        if " → " in text:  # a loop is told with bare names
            yield from (f" {each['name']}" for each in _parts(self.arguments) if isinstance(each, dict) and "name" in each)
        if text.startswith("workflow already exists: "):
            yield str(self.arguments["workflow"])
        if self.method == "expire" and "there is none of this name" in text:
            yield repr(self.arguments["workflow"])
        for what in self.arguments.keys() & {"commands", "steps", "keys"}:
            yield f" is a {type(self.arguments[what]).__name__};"
        if any(isinstance(each, dict) and "name" not in each for each in _parts(self.arguments)):
            yield "is None"
        for bad in self.put_in:
            yield from map(shown, _parts(bad))


def _strings(value: Any) -> Iterator[str]:
    return (each for each in _parts(value) if isinstance(each, str))


def _parts(value: Any) -> list[Any]:
    """A value and those in it, as far as a message may name them."""
    parts = [value]
    for part in parts:
        if len(parts) > 200:
            break
        if isinstance(part, dict | list | tuple):
            parts += itertools.islice((*part, *part.values()) if isinstance(part, dict) else part, 40)
    return parts


# ------------------------------------------------------------------------------------------------------------- fuzzing


class Surroundings:
    """What lies beside a root: it must stay as it was."""

    def __init__(self, top: Path) -> None:
        self.root = top / "root"
        self._top = top
        self.canary = top / "canary"
        self.canary.write_text("alive")
        (top / "beside").mkdir()
        (top / "beside" / "file").write_text("alive")
        self._before = self._look()

    def check(self) -> None:
        """Nothing outside the root was made, changed or removed."""
        assert self._look() == self._before

    def _look(self) -> list[tuple[str, int, int, int]]:
        found = []
        for directory, _, names in os.walk(self._top):
            if directory == str(self._top):
                names.append("beside")
            elif directory.startswith(str(self.root)):
                continue
            for name in names:
                status = os.lstat(f"{directory}/{name}")
                found.append((f"{directory}/{name}", status.st_mode, status.st_size, status.st_mtime_ns))
        return sorted(found)


class Fuzzed:
    """A `Gaia` whose Tasks end by hand, and all that can be seen of it."""

    def __init__(self, top: Path) -> None:
        self.around = Surroundings(top)
        self.root = self.around.root
        self.gaia = Gaia({"root": self.root, "runtime": "process", "watch": False})
        self.gaia.command("w", [])
        self.refused = self.taken = 0
        self.gaia.upload("w", {}, [{"name": "main", "image": "i", "command": ["true"]}], [])
        own = self.gaia._engine
        assert own is not None
        self.storage = own.storage
        executor: object = own.scheduler._executor
        assert isinstance(executor, HandExecutor)
        self.executor = executor
        self.snapshot = Snapshot(self.root / "gaia.db", self.storage)
        self._reader = sqlite3.connect(f"file:{self.root}/gaia.db?mode=ro", uri=True)
        self._version = -1
        self._rows: Any = None
        self._store: Any = None

    def close(self) -> None:
        self._reader.close()
        self.gaia.close(wait=False)

    def rows(self) -> Any:
        """All rows of the database, which are read again only when some were committed."""
        (version,) = self._reader.execute("pragma data_version").fetchone()
        if version != self._version:
            tables = ("workflows", "commands", "steps", "tasks", "data", "events")
            self._rows = [self._reader.execute(f"select * from {table} order by 1, 2").fetchall() for table in tables]
            self._version = version
        return self._rows

    def store(self) -> list[str]:
        """All that lies in the root, apart from the database."""
        found = []
        for directory, below, names in os.walk(self.root):
            found += [f"{directory}/{name}" for name in (*below, *names) if not name.startswith("gaia.db")]
        return sorted(found)

    def statuses(self) -> Any:
        """What the API says of all workflows, as JSON: so it is no view of something that changes."""
        names = self.gaia.workflows()["workflows"]
        return {name: json.dumps(self.gaia.status(name, debug=True), sort_keys=True) for name in names}, names

    def known(self) -> list[str]:
        """Names of Steps and keys that can be expired."""
        status = self.gaia.status("w", debug=True)["status"]
        return [*status["flow"], *status["data"]]

    def end_some(self, rng: random.Random) -> None:
        """Some of the Tasks that run come to an end."""
        for task_id in list(self.executor.tasks)[:3]:
            task, observer = self.executor.tasks.pop(task_id)
            outputs = []
            for key, internal in task.outputs if rng.random() < 0.8 else ():
                made = self.root / "staging" / uuid.uuid4().hex
                if key.endswith("/") or (internal.endswith("/") and internal != ">>"):
                    made.mkdir()
                else:
                    made.write_text(key)
                seen = files.fingerprint(str(made))
                assert seen is not None
                outputs.append(Output(key, str(made), self.storage.path(task.workflow, key), seen))
            state = TaskState.COMPLETE if len(outputs) == len(task.outputs) else TaskState.ERROR
            observer.ended(task, Outcome(state, tuple(outputs) if state is TaskState.COMPLETE else (), 0))

    def call(self, call: Call) -> None:
        """Make one call, and check all that must hold after it."""
        before = self.rows(), self.statuses()
        did = len(self.executor.did)
        try:
            call.make(self.gaia)
        except GaiaError as error:
            self.refused += 1
            assert call.is_named(str(error)), f"{call!r}\n names nothing of it: {error}"
            assert (self.rows(), self.statuses()) == before, f"{call!r}\n was refused and changed something: {error}"
            assert len(self.executor.did) == did, f"{call!r}\n was refused and started something"
            return
        except BaseException as error:
            error.add_note(repr(call)) if hasattr(error, "add_note") else None
            raise
        self.taken += 1
        self.check_reopened([call.arguments["workflow"]])

    def check_reopened(self, names: Iterable[str]) -> None:
        """Whoever reads the database sees what the engine has in memory."""
        known = self.gaia.workflows()["workflows"].keys()
        for name in names:
            theirs = self.snapshot.view(name, lambda found: answers.status(found, debug=True))
            if theirs is None:  # a call without content makes no workflow
                assert name not in known
                continue
            ours = self.gaia.status(name, debug=True)["status"]
            assert json.dumps(theirs, sort_keys=True) == json.dumps(ours, sort_keys=True)

    def prune(self) -> None:
        """Delete what grew large."""
        for name, about in self.gaia.workflows()["workflows"].items():
            if about["step-count"] > MANY_STEPS:
                self.gaia.delete(name, data=True)


NASTY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=5), inner, max_size=4),
    max_leaves=8,
)


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """No Task runs: the test ends them."""
    monkeypatch.setattr(engine, "ThreadExecutor", lambda *_: HandExecutor())


def test_a_call_makes_only_so_many_steps(make_gaia: MakeGaia, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are counted before they are made; what is there already doesn't count."""
    gaia = make_gaia(max_steps=5)
    echo = {"name": "echo", "image": "i", "command": ["sh", "-c", "echo > /out/r"], "outputs": {"r": "/out/r"}}
    inner = {"name": "i", "command": "echo", "outputs": {"r": "{{a}}"}, "vars": {"a": ["1", "2", "3"]}}
    many = {"name": "many", "command": "echo", "outputs": {"r": "d:{{a}}"}}

    def step(number: int, name: str = "many") -> dict[str, Any]:
        return {**many, "name": name, "outputs": {"r": f"{name}:{{{{a}}}}"}, "vars": {"a": list(range(number))}}

    gaia.upload("w", {}, [echo], [step(5)])
    assert gaia.wait("w", 30)["state"] == "complete"
    monkeypatch.setattr(templates, "expand", lambda *_: pytest.fail("they were made"))
    says = r"workflow 'w', Step 'x': up to it the call makes .* Steps, and max_steps is 5; use shorter arrays, several calls"
    thousand = list(range(1000))
    for steps in (
        [step(6, "x")],
        [step(3, "y"), step(3, "x")],
        [{**step(1, "x"), "vars": {"a": thousand, "b": thousand, "c": thousand}}],
        [{**many, "name": name, "outputs": {"r": name}} for name in "abcdex"],
    ):
        with pytest.raises(GaiaError, match=says):
            gaia.merge("w", steps)
    monkeypatch.undo()
    assert gaia.workflows()["workflows"]["w"]["step-count"] == 5
    gaia.merge("w", [step(5, "other")])
    gaia.command("w", [{**echo, "command": ["sh", "-c", "echo 2 > /out/r"]}])  # which ten Steps use
    assert gaia.wait("w", 30)["state"] == "complete"
    assert gaia.progress("w")["steps"] == 10
    gaia.command("w", [{"name": "group", "outputs": [], "steps": [{**inner, "vars": {"a": ["1"]}}]}])
    gaia.merge("w", [{"name": "x", "command": "group"}, {"name": "z", "command": "group"}])
    gaia.wait("w", 30)
    with pytest.raises(GaiaError, match=r"'[xz]': up to it the call makes 6 Steps"):
        gaia.command("w", [{"name": "group", "outputs": [], "steps": [{**inner, "vars": {"a": ["1", "2", "3", "4"]}}]}])
    assert gaia.progress("w")["steps"] == 12


@pytest.mark.timeout(600)
def test_fuzz(by_hand: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any call is taken or refused by name; refused ones change nothing, and no call reaches outside the root."""
    made = refused = 0
    monkeypatch.setattr(templates, "MAX_STEPS", 300)  # the same limit, reached at less expense

    @settings(
        max_examples=math.ceil(CALLS / CALLS_AT_ONCE),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        seeds=st.lists(st.integers(0, 2**64 - 1), min_size=CALLS_AT_ONCE, max_size=CALLS_AT_ONCE),
        pool=st.lists(NASTY, min_size=5, max_size=20),
    )
    def fuzz(seeds: list[int], pool: list[Any]) -> None:
        nonlocal made, refused
        top = tmp_path / uuid.uuid4().hex
        (top / "cwd").mkdir(parents=True)
        monkeypatch.chdir(top / "cwd")
        with contextlib.closing(Fuzzed(top)) as fuzzed:
            for number, seed in enumerate(seeds):
                call = Call(f"{number} {seed}", pool, fuzzed.known())
                fuzzed.call(call)
                made += 1
                if number % 10 == 9:
                    fuzzed.around.check()
                    fuzzed.end_some(call.rng)
                    fuzzed.check_reopened(fuzzed.gaia.workflows()["workflows"])
                    fuzzed.prune()
            for name in fuzzed.gaia.workflows()["workflows"]:
                fuzzed.gaia.halt(name)
            statuses = fuzzed.statuses()
            refused += fuzzed.refused
            assert fuzzed.refused and fuzzed.taken
            assert {path.name for path in fuzzed.root.iterdir()} <= {
                *("storage", "staging", "logs", "owner", "id", "engine.sock", "spare", "gaia.db", "gaia.db-wal", "gaia.db-shm")
            }
            assert {path.name for path in (fuzzed.root / "storage").iterdir()} <= {*WORKFLOWS}
        with Gaia({"root": fuzzed.root, "runtime": "process", "watch": False}) as again:
            names = again.workflows()["workflows"]
            assert ({name: json.dumps(again.status(name, debug=True), sort_keys=True) for name in names}, names) == statuses
        fuzzed.around.check()

    fuzz()
    assert made >= CALLS
    assert made * 0.2 < refused < made * 0.95, "the values are too good, or too bad"


def test_limits_are_named() -> None:
    """What could grow without end is refused before it does, and the message says how much is allowed."""
    base = {"name": "s", "command": "c"}
    for extra, words in (
        (_deep(200, list), f"nested over {MAX_NESTING} levels"),
        (_laughs(12), f"over {MAX_VALUES:,} values"),
        (["x" * 1_000_000] * 200, f"over {MAX_JSON_CHARACTERS:,} characters"),
    ):
        with pytest.raises(InvalidInput, match=f"Step 's'.*{words}"):
            model.Step.parse("w", {**base, "extra": extra})
        with pytest.raises(InvalidInput, match=f"'p'.*{words}"):
            model.check_properties("w", {"p": extra})
    with pytest.raises(InvalidInput, match=f"'o'.*over {model.MAX_PATH_BYTES:,} bytes"):
        model.Step.parse("w", {**base, "outputs": {"o": "x/" * 2000}})
    assert model.Step.parse("w", {**base, "extra": _deep(90, list)}).definition["extra"] == _deep(90, list)
    assert shown(_laughs(12)) == "of type list"


@pytest.mark.parametrize("junk", JUNK, ids=lambda junk: type(junk).__name__)
def test_names_that_are_no_names_are_refused(make_gaia: MakeGaia, junk: Any) -> None:
    gaia = make_gaia()
    gaia.upload("w", {}, [{"name": "main", "image": "i", "command": ["true"]}], [])
    calls: list[Callable[[str, Any], object]] = [gaia.logs, gaia.explain, gaia.pull_inputs, gaia.path]
    for call in calls:
        with pytest.raises(GaiaError) as refused:
            call("w", junk)
        assert shown(junk).rstrip("…") in str(refused.value)
    with pytest.raises(GaiaError):
        gaia.status(junk)


# --------------------------------------------------------------------------------------------------------------- links

PLANT = {
    "name": "plant",
    "image": "busybox",
    "command": ["sh", "-c", "{{code}}"],
    "inputs": {},
    "outputs": {"tree": "/out/tree/"},
    "vars": ["code"],
}
READ = {
    "name": "read",
    "image": "busybox",
    "command": ["sh", "-c", "cat /in/it > /out/it"],
    "inputs": {"it": "/in/it"},
    "outputs": {"it": "/out/it"},
}


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A directory beside the root; it must not change."""
    around = Surroundings(tmp_path)
    yield tmp_path / "beside"
    around.check()


@pytest.fixture
def let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Links that lead out get into the store, as if they had come past the check: what follows must hold without it."""
    monkeypatch.setattr(files, "enclose", lambda *_: None)


def planted(outside: Path) -> str:
    """Shell code that makes links of all kinds in the output directory."""
    up = "/".join([".."] * 40)
    return f"""cd /out/tree; echo inner > own; mkdir dir; echo deep > dir/file
        ln -s {outside}/file file; ln -s {outside} there; ln -s .. up; ln -s {up}{outside}/file relative
        ln -s loop loop; ln -s ping pong; ln -s pong ping; ln -s own own1; ln -s own1 own2; ln -s file chain
        ln -s /nowhere dangling"""


def plant(gaia: Gaia, code: str, **more: Any) -> None:
    step = {"name": "plant", "command": "plant", "outputs": {"tree": "tree/"}, "vars": {"code": code}}
    gaia.upload("w", {}, [PLANT, READ, *more.get("commands", [])], [step, *more.get("steps", [])])
    gaia.wait("w", 60)


def reader(name: str) -> dict[str, Any]:
    return {"name": name, "command": "read", "inputs": {"it": f"tree/{name}"}, "outputs": {"it": f"read/{name}"}}


@pytest.mark.usefixtures("let_in")
def test_planted_links_are_kept_and_not_followed(
    make_gaia: MakeGaia, outside: Path, gaia_root: Path, wait_until: WaitUntil
) -> None:
    """Were they published: refused as inputs where they lead out, resolved where they don't."""
    gaia = make_gaia()
    out = ["file", "relative", "chain"]
    plant(gaia, planted(outside), steps=[reader(name) for name in (*out, "own2")])
    tree = gaia.path("w", "tree/")
    assert os.readlink(tree / "file") == f"{outside}/file" and (tree / "loop").is_symlink()
    tasks = gaia.status("w", debug=True)["status"]["tasks"]
    assert {name: tasks[name]["state"] for name in tasks} == {
        **dict.fromkeys(("plant", "own2"), "complete"),
        **dict.fromkeys(out, "exception"),
    }
    told = {each["step"]: each["message"] or "" for each in gaia.failures("w")}
    assert all(f"'tree/{name}' leads out of the store" in told[name] for name in out)
    assert gaia.path("w", "read/own2").read_text() == "inner\n"
    wait_until(lambda: not list(gaia_root.glob("staging/*")))


TRAP = {
    "directory": "ln -s {outside} /out/tree/trap",
    "in a directory": "mkdir /out/tree/trap; ln -s {outside}/file /out/tree/trap/file",
    "up": "ln -s {up}{outside} /out/tree/trap",
    "chain": "cd /out/tree; mkdir -p a/b/c; ln -s ../../../t a/b/c/s; mkdir t; ln -s a/b/c/s/{up}{outside} trap",
}


@pytest.mark.parametrize("trap", TRAP)
@pytest.mark.parametrize("way", ["shared bucket", "delete", "merge"])
def test_no_planted_link_is_ever_taken_for_the_users(make_gaia: MakeGaia, outside: Path, trap: str, way: str) -> None:
    """The key below the link becomes one that no Step makes, but the link was refused."""
    gaia = make_gaia(buckets={"shared": outside.parent / "shared"})
    key = "shared:tree/" if way == "shared bucket" else "tree/"
    code = TRAP[trap].format(outside=outside, up="/".join([".."] * 40))
    sow = {"name": "sow", "command": "plant", "outputs": {"tree": key}, "vars": {"code": code}}
    reap = {"name": "reap", "command": "read", "inputs": {"it": f"{key}trap/file"}, "outputs": {"it": "stolen"}}
    gaia.upload("w", {}, [PLANT, READ], [sow])
    gaia.wait("w", 30)
    (failure,) = gaia.failures("w")
    assert failure["state"] == "error"
    assert f"output {key!r} can't be stored: its link 'trap" in (failure["message"] or "")
    assert "copy the file instead, or leave the link out" in (failure["message"] or "")
    assert not gaia.path("w", key).exists()
    last = "w"
    if way == "merge":
        moved = {**sow, "outputs": {"tree": "elsewhere/"}, "vars": {"code": "true"}}
        gaia.merge("w", [moved, reap])
        gaia.run("w")
    else:
        if way == "delete":
            gaia.delete("w")
        else:
            last = "v"
        gaia.upload(last, {}, [READ], [reap])
    status = gaia.wait(last, 30)
    assert status["state"] == "incomplete" and f"{key}trap/file" in json.dumps(status), status
    assert not gaia.path(last, "stolen").exists()
    gaia.close()  # until then staging directories come and go
    for path in (*outside.parent.joinpath("root").rglob("*"), *outside.parent.joinpath("shared").rglob("*")):
        assert not path.is_symlink() and (not path.is_file() or b"alive" not in path.read_bytes()), path


def test_a_fingerprint_of_a_tree_says_nothing_of_what_its_links_lead_to(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "secret").write_text("one")
    for name, target in (("file", "../secret"), ("dir", ".."), ("loop", "loop")):
        (tmp_path / "tree" / name).symlink_to(target)
    before = files.fingerprint(str(tmp_path / "tree"))
    (tmp_path / "secret").write_text("another")
    assert before is not None and files.fingerprint(str(tmp_path / "tree")) == before
    assert [relative for relative, _, _ in files.walk(str(tmp_path / "tree"))] == ["dir", "file", "loop"]


@pytest.mark.parametrize("target", ["{outside}/file", "{outside}", "../../../../../../../../etc"])
def test_an_output_that_is_a_link_to_elsewhere_was_not_made(make_gaia: MakeGaia, outside: Path, target: str) -> None:
    gaia = make_gaia()
    plant(gaia, f"rmdir /out/tree; ln -s {target.format(outside=outside)} /out/tree")
    assert gaia.status("w")["state"] == "error"
    (failure,) = gaia.failures("w")
    assert failure["state"] == "error" and "'tree/'" in (failure["message"] or "")
    assert not gaia.path("w", "tree/").exists()


@pytest.mark.usefixtures("let_in")
def test_stdout_is_not_written_through_a_planted_link(make_gaia: MakeGaia, outside: Path) -> None:
    """The engine opens that file itself, in a copy of what another Step made."""
    say = {
        **READ,
        "name": "say",
        "command": ["echo", "overwritten"],
        "inputs": {"it": "/in/"},
        "stdout": "/in/file",
        "outputs": {"it": "/in/file"},
    }
    step = {"name": "say", "command": "say", "inputs": {"it": "tree/"}, "outputs": {"it": "said"}}
    gaia = make_gaia()
    plant(gaia, planted(outside), commands=[say], steps=[step])
    assert gaia.status("w")["state"] == "complete", gaia.failures("w")
    assert gaia.path("w", "said").read_text() == "overwritten\n"
    assert (outside / "file").read_text() == "alive"


def test_stdout_may_not_become_an_input(make_gaia: MakeGaia) -> None:
    """Not by way of a var, either."""
    command = {**READ, "stdout": "/in/{{name}}", "vars": {"name": "it"}}
    step = {"name": "s", "command": "read", "inputs": {"it": "a"}, "outputs": {"it": "b"}}
    with pytest.raises(InvalidInput, match=r"'s'.*'/in/it'"):
        make_gaia().upload("w", {}, [command], [step])


@pytest.mark.usefixtures("let_in")
def test_outputs_are_not_stored_through_a_planted_link(make_gaia: MakeGaia, outside: Path) -> None:
    """A link that an earlier definition left in the store leads no later output out."""
    gaia = make_gaia()
    plant(gaia, planted(outside))
    gaia.delete("w")
    again = {"name": "again", "command": "read", "inputs": {"it": "a"}, "outputs": {"it": "tree/there/file"}}
    gaia.upload("w", {}, [READ], [again])
    gaia.path("w", "a").write_text("overwritten")
    gaia.run("w")
    # `file` is there already, so it is made anew only when it is expired.
    gaia.expire("w", ["again"])
    gaia.wait("w", 30)
    (failure,) = gaia.failures("w")
    assert "leads out of the store" in (failure["message"] or "")


@pytest.mark.usefixtures("let_in")
def test_pull_inputs_follows_no_planted_link(
    make_gaia: MakeGaia, outside: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = {**READ, "name": "whole", "command": ["true"], "inputs": {"it": "/in/sub/"}, "outputs": {"it": ">"}}
    step = {"name": "whole", "command": "whole", "inputs": {"it": "tree/"}, "outputs": {"it": "log"}}
    gaia = make_gaia()
    plant(gaia, planted(outside), commands=[whole], steps=[step, reader("file")])
    here = tmp_path_factory.mktemp("here")
    for _ in range(2):  # over what lies there
        gaia.pull_inputs("w", "whole", str(here))
    assert os.readlink(here / "sub" / "file") == f"{outside}/file" and (here / "sub" / "there").is_symlink()
    assert (here / "sub" / "dir" / "file").read_text() == "deep\n"
    with pytest.raises(GaiaError, match="'tree/file' leads out of the store"):
        gaia.pull_inputs("w", "file", str(here))
    with pytest.raises(GaiaError, match="leads out of"):
        gaia.pull_inputs("w", "whole", str(here), path_fn=lambda _: "sub/there/x")
    assert sorted(path.name for path in here.iterdir()) == ["sub"]


def test_pull_inputs_stays_below_its_root(make_gaia: MakeGaia, outside: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Two slashes in an internal path make no absolute one."""
    here = tmp_path_factory.mktemp("here")
    command = {**READ, "inputs": {"it": f"/in/{outside}/new"}}
    gaia = make_gaia()
    gaia.upload("w", {}, [command], [{"name": "s", "command": "read", "inputs": {"it": "a"}, "outputs": {"it": "b"}}])
    gaia.path("w", "a").parent.mkdir(parents=True, exist_ok=True)
    gaia.path("w", "a").write_text("pulled")
    gaia.pull_inputs("w", "s", str(here))
    assert (here / str(outside).lstrip("/") / "new").read_text() == "pulled"


@pytest.mark.usefixtures("let_in")
def test_delete_removes_links_and_not_what_they_lead_to(make_gaia: MakeGaia, outside: Path, gaia_root: Path) -> None:
    gaia = make_gaia()
    plant(gaia, planted(outside))
    gaia.delete("w", data=True)
    assert (outside / "file").read_text() == "alive"
    assert not (gaia_root / "storage" / "w").exists() and not (gaia_root / "logs" / "w").exists()


@pytest.mark.usefixtures("let_in")
@pytest.mark.skipif(not Path("/proc/self/fdinfo").exists(), reason="the system doesn't tell what is watched")
def test_watching_follows_no_planted_link(make_gaia: MakeGaia, outside: Path, wait_until: WaitUntil) -> None:
    gaia = make_gaia()
    plant(gaia, planted(outside))
    inner = gaia.path("w", "tree/dir")
    wait_until(lambda: inner.stat().st_ino in _watched())
    assert outside.stat().st_ino not in _watched()
    assert outside.parent.stat().st_ino not in _watched()


def _watched() -> set[int]:
    """The inodes that this process watches."""
    found = set()
    for info in Path("/proc/self/fdinfo").iterdir():
        with contextlib.suppress(FileNotFoundError):
            for line in info.read_text().splitlines():
                if line.startswith("inotify"):
                    found.add(int(line.split("ino:")[1].split()[0], 16))
    return found


# ---------------------------------------------------------------------------------------------------------- containers


@pytest.mark.parametrize("inputs", ["copy", "mount"])
def test_what_a_container_may(docker_image: str, gaia_root: Path, inputs: str, wait_until: WaitUntil) -> None:
    """No new privileges, no capabilities beyond the engine's own, and nothing of the host but its own Task's files."""
    import docker
    from docker.utils import kwargs_from_env

    secret = "s3cret-" + uuid.uuid4().hex
    image = {"image": docker_image}
    commands = [
        {
            **READ,
            **image,
            "name": "wait",
            "command": ["sh", "-c", 'test -n "$TOKEN"; cat /in/it > /out/it; until test -e /in/go; do sleep 0.05; done; false'],
        },
    ]
    steps = [{"name": f"s{n}", "command": "wait", "inputs": {"it": "b:in"}, "outputs": {"it": f"out{n}"}} for n in range(2)]
    config = {"root": gaia_root, "runtime": "docker", "workers": 2, "docker": {"inputs": inputs, "env": {"TOKEN": secret}}}
    client = docker.APIClient(version="auto", **kwargs_from_env())
    with contextlib.closing(client), Gaia(config) as gaia:
        assert secret not in repr(gaia) + repr(gaia._config)
        gaia.path("w", "b:in").parent.mkdir(parents=True)
        gaia.path("w", "b:in").write_text("in")
        gaia.upload("w", {}, commands, steps)
        label = f"gaia-local.root={root_id(gaia_root)}"

        def running() -> list[dict[str, Any]]:
            return list(client.containers(filters={"label": label, "status": "running"}))

        try:
            wait_until(lambda: len(running()) == 2, 60)
            for each in running():
                task = each["Labels"]["gaia-local.task"]
                about = client.inspect_container(each["Id"])
                host = about["HostConfig"]
                assert host["SecurityOpt"] == ["no-new-privileges"]
                assert not host["CapAdd"] and not host["Privileged"] and not host["Devices"] and not host["Binds"]
                assert not any(host[mode] == "host" for mode in ("PidMode", "IpcMode", "UTSMode", "UsernsMode", "NetworkMode"))
                assert about["Config"]["User"] == f"{os.getuid()}:{os.getgid()}"
                own = str(gaia_root / "staging" / task / "tree") + "/"
                mounts = {mount["Destination"]: mount for mount in about["Mounts"]}
                assert mounts
                for mount in mounts.values():
                    if mount["Source"] == str(gaia.path("w", "b:in")):
                        assert inputs == "mount" and not mount["RW"] and mount["Destination"] == "/in/it"
                    else:
                        assert mount["Source"].startswith(own)
                assert not any("docker.sock" in mount["Source"] for mount in mounts.values())
                assert secret not in json.dumps(each["Labels"])
        finally:
            gaia.halt("w")
        told = [
            gaia.status("w", debug=True),
            gaia.events("w"),
            gaia.failures("w"),
            gaia.logs("w", "s0"),
            gaia.explain("w", "s0"),
        ]
        assert secret not in json.dumps(told)
        assert gaia.wait("w", 30)["state"] == "halted"
    for directory, _, names in os.walk(gaia_root):
        for name in names:
            assert secret.encode() not in Path(directory, name).read_bytes(), f"{directory}/{name}"


@pytest.mark.parametrize("name", ["file", "there/new", "dangling"])
def test_no_place_for_a_mount_is_made_through_a_planted_link(tmp_path: Path, outside: Path, name: str) -> None:
    """An input that is mounted into the copy of another one, in which a Step planted links."""
    tree = tmp_path / "root" / "tree"
    (tree / "in").mkdir(parents=True)
    (tree / "in" / "file").symlink_to(outside / "file")
    (tree / "in" / "there").symlink_to(outside)
    (tree / "in" / "dangling").symlink_to(outside / "new")
    with pytest.raises(GaiaError, match=f"/in/{name}"):
        docker_files._make_mount_point(f"/in/{name}", outside / "file", {"/in"}, {}, tree)
    docker_files._make_mount_point("/in/own/new", outside / "file", {"/in"}, {}, tree)
    assert (tree / "in" / "own" / "new").is_file()


# ----------------------------------------------------------------------------------------------- YAML, JSON, and modes

ALIASES = "a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 13)
)
MERGES = "m0: &m0 {k: v}\n" + "".join(f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 10)}]}}\n" for n in range(1, 13))


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("x.yaml", "!!python/object/apply:os.system ['touch {canary}']", "python/object"),
        ("x.yaml", "- !!python/name:os.system", "python/name"),
        ("x.yaml", "!!python/object:object {}", "python/object"),
        ("x.yaml", ALIASES, "over 2,000,000 values"),
        ("x.yaml", MERGES, "over 2,000,000 values"),
        ("x.yml", "a: &a [*a]", "an alias stands for what it is in"),
        ("x.yaml", "[" * 20_000, "nested too deeply"),
        ("x.yaml", "2001-99-99", "no YAML"),
        ("x.yaml", "9" * 5000, "no YAML"),
        ("x.json", "9" * 5000, "x.json"),
        ("x.json", "[" * 200_000, "nested too deeply"),
    ],
    ids=lambda value: None if len(str(value)) > 30 else str(value),
)
def test_hostile_files_are_refused(tmp_path: Path, name: str, text: str, words: str) -> None:
    path = tmp_path / name
    path.write_text(text.replace("{canary}", str(tmp_path / "canary")))
    began = time.monotonic()
    with pytest.raises(InvalidInput) as refused:
        definitions.read(path)
    assert words in str(refused.value) and name in str(refused.value)
    assert time.monotonic() - began < 20
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_aliases_are_allowed(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("- &a {k: [1, 2]}\n- *a\n- {<<: *a, l: 3}")
    assert definitions.read(tmp_path / "x.yaml") == [{"k": [1, 2]}, {"k": [1, 2]}, {"k": [1, 2], "l": 3}]
    (tmp_path / "empty.yaml").write_text("")
    assert definitions.read(tmp_path / "empty.yaml") is None


@pytest.fixture
def no_mask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def test_files_are_for_the_owner_only(make_gaia: MakeGaia, gaia_root: Path, no_mask: None) -> None:
    """Whatever the umask, and in a root that was open to all before."""
    gaia_root.mkdir(mode=0o755)
    gaia = make_gaia()
    plant(gaia, "echo out; echo made > /out/tree/file", steps=[reader("file")])
    names = {path.name: path for path in gaia_root.iterdir()}
    assert names.keys() >= {"storage", "staging", "logs", "gaia.db", "gaia.db-wal", "owner"}
    for path in names.values():
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert stat.S_IMODE((gaia_root / "logs" / "w").stat().st_mode) == 0o700
    assert gaia.path("w", "read/file").read_text() == "made\n"


def test_a_new_root_is_for_the_owner_only(make_gaia: MakeGaia, gaia_root: Path, no_mask: None) -> None:
    make_gaia().upload("w", {}, [PLANT], [])
    assert stat.S_IMODE(gaia_root.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "docker",
    [
        {"env": {"TOKEN": "s3cret\0"}},
        {"env": {"A=B": "s3cret"}},
        {"env": {"": "s3cret"}},
        {"env": {"TOKEN": ["s3cret"]}},
        {"env": ["TOKEN=s3cret"]},
        [{"env": {"TOKEN": "s3cret"}}],
        {"env": {"TOKEN": "s3cret"}, "cpus": -1},
        {"env": {"TOKEN": "s3cret"}, "enf": 1},
    ],
)
def test_a_refused_configuration_tells_no_secrets(tmp_path: Path, docker: Any) -> None:
    with pytest.raises(GaiaError, match="docker") as refused:
        Gaia({"root": tmp_path / "root", "docker": docker})
    assert "s3cret" not in str(refused.value) and "s3cret" not in repr(refused.value)


def test_another_configuration_of_an_open_root_tells_no_secrets(tmp_path: Path) -> None:
    given = {"root": tmp_path / "root", "docker": {"env": {"TOKEN": "s3cret"}}}
    with Gaia(given) as gaia:
        with pytest.raises(GaiaError, match="docker") as refused:
            Gaia({**given, "docker": {"env": {"TOKEN": "other s3cret"}}})
        assert "s3cret" not in f"{refused.value} {gaia!r} {Config.parse(given)!r}"
