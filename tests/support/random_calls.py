"""Calls of the API with any values, good and bad: each follows from its seed."""

from __future__ import annotations

import contextlib
import copy
import itertools
import math
import random
import reprlib
from collections.abc import Iterator
from typing import Any

from gaia_local import Gaia
from gaia_local.errors import shown

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
NAMES = [
    "a",
    "b",
    "c",
    "A",
    "a-b",
    "a b",
    "ä",
    "a:b",
    "d/e",
    "a-1",
    "{{a}}",
    "storage",
    "*",
    "-rf",
    "$HOME",
    "~",
]
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
    *(
        "x" * 256,
        "é" * 200,
        "x/" * 3000,
        "/x" * 3000,
        "x" * 100_000,
        ".gaia-local",
        ".gaia-local-x/y",
        "b:.gaia-local/t",
    ),
    *(
        "a:..",
        "a:../b",
        "a:/etc/passwd",
        ":a",
        "a:",
        "..:a",
        "a/../..:b",
        "~root",
        "{{",
        "}}",
        "{{a}}",
        "{{b}}",
        "{{nothing}}",
    ),
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


def deep(levels: int, kind: type) -> Any:
    value: Any = "end"
    for _ in range(levels):
        value = [value] if kind is list else {"k": value}
    return value


def laughs(levels: int) -> Any:
    value: Any = ["ha"] * 10
    for _ in range(levels):
        value = [value] * 10
    return value


JUNK: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        -1,
        1.5,
        math.nan,
        math.inf,
        -math.inf,
        2**63,
        2**64,
        -(2**200),
        10**5000,
        b"bytes",
        object(),
        int,
    ),
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
        deep(30, list),
        deep(300, dict),
        deep(700, list),
        deep(930, list),
        deep(950, dict),
        deep(5000, list),
        deep(5000, dict),
    ),
    *(
        laughs(3),
        laughs(12),
        list(range(3000)),
        ["a"] * 3000,
        {str(n): n for n in range(3000)},
        "y" * 200_000,
    ),
]


def _command(rng: random.Random) -> dict[str, Any]:  # noqa: PLR0911 one for each kind
    """A good Command of a few fixed names, so that they replace each other."""
    version = rng.choice(["", "1", "2"])
    kind = rng.randrange(8)
    one: dict[str, Any] = {
        "name": rng.choice(["main", "main", "join", "a", "b"]),
        "image": rng.choice(["busybox", "other"]),
        "command": ["sh", "-c", f"echo {version} {{{{a}}}} > {{{{out}}}}"],
        "inputs": {"one": "/in/one"},
        "outputs": {"out": rng.choice(["/out/x", "/out/x", ">", "/{{a}}/y"])},
        "vars": {"a": rng.choice(["1", 2, True, 0.5])},
    }
    if rng.random() < 0.2:
        one["reuse"] = rng.choice([True, False, None])
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
        first = {
            "name": "x",
            "command": "main",
            "inputs": {"one": "one"},
            "outputs": {"out": "between"},
        }
        last = {
            "name": "y",
            "command": rng.choice(["main", "a"]),
            "inputs": {"one": "between"},
            "outputs": {"out": "out"},
        }
        return {
            "name": "outer",
            "inputs": ["one"],
            "outputs": ["out"],
            "vars": {"a": 1},
            "steps": [first, last],
        }
    if kind == 3:  # composite Commands that invoke themselves, or each other
        inner = {
            "name": "x",
            "command": rng.choice(["loop", "outer", "loop"]),
            "inputs": {"one": "one"},
            "outputs": {"out": "out"},
        }
        return {
            "name": rng.choice(["loop", "outer"]),
            "inputs": ["one"],
            "outputs": ["out"],
            "steps": [inner],
        }
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
        ["main"] * 6
        + [
            "join",
            "outer",
            "loop",
            "a",
            "b",
            "laugh",
            "ring",
            "nobody",
            f"level{rng.randrange(1, 9)}",
        ]
    )
    step: dict[str, Any] = {"name": rng.choice(NAMES), "command": command}
    step["inputs"] = {"one": rng.choice(["k:source", rng.choice(KEYS), f"in/{rng.randrange(4)}"])}
    step["outputs"] = {"out": rng.choice([rng.choice(KEYS), f"made/{rng.randrange(9)}"])}
    if command == "join":
        step["inputs"]["two"], step["outputs"]["log"] = rng.choice(KEYS), f"logs/{rng.randrange(9)}"
    if rng.random() < 0.15:
        step["vars"] = {
            "a": [rng.choice(["1", 2, "x", "y z", "1 "]) for _ in range(rng.randrange(4))]
        }
        step["outputs"] = {key: f"{value}/{{{{a}}}}" for key, value in step["outputs"].items()}
    elif rng.random() < 0.1:
        step["vars"] = {
            var: list(range(rng.choice([2, 300, 3000])))
            for var in rng.choice(["ab", "abc", "abcd"])
        }
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
            self.arguments["keys"] = rng.sample(
                known, min(len(known), rng.randrange(3))
            ) + rng.sample(KEYS, rng.randrange(2))
        if rng.random() < 0.05:
            self.arguments["workflow"] = bad = rng.choice([*BAD_WORKFLOWS, *JUNK, *pool])
            self.put_in.append(bad)
        for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
            self._spoil()

    def _bad(self) -> Any:
        rng = self.rng
        bad = rng.choice(
            [rng.choice(TEXTS), rng.choice(TEXTS), rng.choice(JUNK), rng.choice(self.pool)]
        )
        self.put_in.append(bad)
        return bad

    def _spoil(self) -> None:
        """Change one place, at a random depth."""
        rng = self.rng
        place: Any = self.arguments
        key: Any = rng.choice([key for key in place if key != "workflow"])
        for _ in range(rng.choice([0, 1, 2, 2, 3, 3, 4])):
            inner = place[key]
            if not isinstance(inner, dict | list) or not inner or len(inner) > 20:
                break
            place, key = (
                inner,
                rng.choice(list(inner) if isinstance(inner, dict) else range(len(inner))),
            )
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
        """Make the call, with its own errors."""
        getattr(gaia, self.method)(**self.arguments)

    def is_named(self, text: str) -> bool:
        """Whether a refusal's text names a bad value of this call (not only a valid workflow)."""
        return any(word[:60].rstrip("…") in text for word in self._words(text))

    def _words(self, text: str) -> Iterator[str]:
        for bad in self.put_in:
            yield shown(bad)
        yield from map(repr, _strings({**self.arguments, "workflow": None}))
        if " → " in text:  # a loop is told with bare names
            yield from (
                f" {part['name']}"
                for part in _parts(self.arguments)
                if isinstance(part, dict) and "name" in part
            )
        # The Steps that arrays of vars become have longer names.
        for part in _parts(self.arguments):
            if isinstance(part, dict) and isinstance(name := part.get("name"), str):
                yield f"{repr(name)[:-1]}-"
        if text.startswith("workflow already exists: "):
            yield str(self.arguments["workflow"])
        if self.method == "expire" and "it doesn't exist" in text:
            yield repr(self.arguments["workflow"])
        for what in self.arguments.keys() & {"commands", "steps", "keys"}:
            yield f" is a {type(self.arguments[what]).__name__};"
        if any(isinstance(part, dict) and "name" not in part for part in _parts(self.arguments)):
            yield "is None"
        for bad in self.put_in:
            yield from map(shown, _parts(bad))


def _strings(value: Any) -> Iterator[str]:
    return (part for part in _parts(value) if isinstance(part, str))


def _parts(value: Any) -> list[Any]:
    """A value and those in it, as far as a message may name them."""
    parts = [value]
    for part in parts:
        if len(parts) > 200:
            break
        if isinstance(part, dict | list | tuple):
            parts += itertools.islice(
                (*part, *part.values()) if isinstance(part, dict) else part, 40
            )
    return parts
