"""A user who changes a workflow all the time: ``python -m support.restless ROOT SEED``.

Remembers the answers; as a program, it prints them, too.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gaia_local import Gaia
from support.builders import step

CONFIG = {"runtime": "process", "workers": 2, "watch": False}
WIDE = 3
"""Steps of a layer."""
JOIN = {
    "name": "join",
    "image": "i",
    "command": [
        "sh",
        "-c",
        "cat /in/a /in/b | sort -u > /out/x; echo {{text}} >> /out/x; "
        "mkdir /out/d/sub; cp /out/x /out/d/sub/x",
    ],
    "inputs": {"a": "/in/a", "b": "/in/b"},
    "outputs": {"x": "/out/x", "d": "/out/d/"},
}


def join(name: str, a: str, b: str, text: str) -> dict[str, Any]:
    outputs = {"x": f"x:{name}", "d": f"d:{name}/"}
    return step(name, "join", None, a, b, outputs=outputs, vars={"text": text})


def layer(number: int, text: str = "first") -> list[dict[str, Any]]:
    """Steps that join two of the layer above."""
    above = "x:0-" if number else "s:"
    return [
        join(f"{number}-{n}", f"{above}{n}", f"{above}{(n + 1) % WIDE}", text) for n in range(WIDE)
    ]


@dataclass
class User:
    """A user who makes changes all the time, and remembers the answers."""

    gaia: Gaia
    dice: random.Random
    said: list[tuple[str, str]] = field(default_factory=list)
    """Call and workflow, or Step and text: with '?' if asked for only, without once answered."""
    turns: int = 0
    tell: Callable[[str, str], object] = lambda what, which: None
    """Called with each entry of `said`, as it is added."""

    def turn(self) -> None:
        self.turns += 1
        actions = [self.edit, self.edit, self.redefine, self.redefine, self.expire, self.renew]
        if self.turns == 1:
            self.upload("w")
        else:
            self.dice.choice(actions)()
        if self.dice.random() < 0.5:
            self.gaia.wait("w")

    def put(self, workflow: str, number: int) -> None:
        path = self.gaia.path(workflow, f"s:{number}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"turn {self.turns}\n")

    def edit(self) -> None:
        self.put("w", self.dice.randrange(WIDE))
        self.gaia.run("w")

    def redefine(self) -> None:
        again = self.dice.choice(layer(self.dice.randrange(2), f"turn-{self.turns}"))
        self.call(again["name"], again["vars"]["text"], lambda: self.gaia.merge("w", [again]))

    def expire(self) -> None:
        self.gaia.expire("w", [f"0-{self.dice.randrange(WIDE)}"])

    def renew(self) -> None:
        """Another workflow goes, or comes with Steps of the same names that make other things."""
        if "v" in self.gaia.workflows()["workflows"]:
            data = self.dice.random() < 0.5
            self.call("purge" if data else "delete", "v", lambda: self.gaia.delete("v", data=data))
        else:
            self.upload("v")

    def upload(self, workflow: str) -> None:
        for number in range(WIDE):
            self.put(workflow, number)
        self.call(
            "upload", workflow, lambda: self.gaia.upload(workflow, {}, [JOIN], layer(0) + layer(1))
        )

    def call(self, what: str, which: str, make: Callable[[], object]) -> None:
        self.say(f"{what}?", which)
        make()
        self.say(what, which)

    def say(self, what: str, which: str) -> None:
        self.said.append((what, which))
        self.tell(what, which)


def problems(gaia: Gaia, said: list[tuple[str, str]]) -> list[str]:
    """The complete outputs that are wrong, and the answers that don't hold any more."""
    found, last = [], dict[str, str]()
    for what, which in said:
        last[which if what.strip("?") in ("upload", "delete", "purge") else what.strip("?")] = (
            f"{what} {which}"
        )
    present = gaia.workflows()["workflows"]
    for workflow in ("w", "v"):
        call = last.get(workflow, "?").split()[0]
        if "?" not in call and (call == "upload") is not (workflow in present):
            found.append(f"lost: {call} {workflow}")
        files = [path for path in gaia.path(workflow, "x").parent.rglob("x/*") if path.is_file()]
        if call == "purge" and files:
            found.append(f"lost: {call} {workflow}, there is {files[0]}")
        if call == "delete":  # a new upload of the same name finds these
            found += [
                f"{path} is torn" for path in files if not path.read_bytes().endswith(b"first\n")
            ]
    for workflow in present:
        gaia.run(workflow)
        # An input may be gone.
        assert gaia.wait(workflow, timeout=60)["state"] in ("complete", "incomplete")
        if gaia.status(workflow)["state"] == "complete":
            found += wrong(gaia, workflow)
    if "w" in present:
        for name, text in texts_of(gaia).items():
            told = last.get(name, "")
            if told and "?" not in told and told != f"{name} {text}":
                found.append(f"lost: {told}, there is {text}")
    return found


def texts_of(gaia: Gaia) -> dict[str, str]:
    """The texts of the Steps of ``w``, as they are now."""
    tasks = gaia.status("w", debug=True)["status"]["tasks"]
    return {
        name: task["command"][2].partition("echo ")[2].split()[0] for name, task in tasks.items()
    }


def wrong(gaia: Gaia, workflow: str) -> list[str]:
    """The outputs that differ from a run of their Step on its present inputs."""
    found = []
    for name, task in gaia.status(workflow, debug=True)["status"]["tasks"].items():
        inputs = [gaia.path(workflow, key) for key, _ in task["inputs"]]
        if not all(map(Path.is_file, inputs)):  # the user's file is lost: its results stay
            continue
        read = b"".join(map(Path.read_bytes, inputs))
        lines = sorted(set(read.removesuffix(b"\n").split(b"\n"))) if read else []
        text = task["command"][2].partition("echo ")[2].split()[0]
        expected = b"".join(line + b"\n" for line in [*lines, text.encode()])
        for place in (gaia.path(workflow, f"x:{name}"), gaia.path(workflow, f"d:{name}/sub/x")):
            made = place.read_bytes() if place.is_file() else None
            if made != expected:
                found.append(
                    f"{workflow}: {place.parent.name}/{place.name} is {made!r} "
                    f"instead of {expected!r}"
                )
    return found


def main(root: str, seed: str) -> None:
    """Go on for ever."""

    def tell(what: str, which: str) -> None:
        sys.stdout.write(f"{what} {which}\n")
        sys.stdout.flush()

    with Gaia({"root": root, **CONFIG}) as gaia:
        user = User(gaia, random.Random(int(seed)), tell=tell)
        while True:
            user.turn()


if __name__ == "__main__":
    main(*sys.argv[1:])
