"""A user of the soaked server, who edits a file each turn, and calls it at random."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from benchmarks.soak.workflows import Workflow, text, workflows
from gaia_local import Gaia

CONFIG = {"runtime": "process", "workers": 2}
PASSING = "soak_passing"
"""A workflow that comes and goes."""
GOOD_SHARE = 0.8
"""The share of edits of which no Step fails."""
QUIET_SECONDS = 120.0
"""A workflow that takes longer to become complete, once nothing is changed any more, hangs."""


class User:
    """Changes three workflows all the time, and knows what they consist of."""

    def __init__(self, url: str, token: str, root: Path, dice: random.Random) -> None:
        self._url, self._root, self._dice = url, root, dice
        self._session = requests.Session()
        self._session.headers["authorization"] = f"Bearer {token}"
        self.workflows = workflows()
        self.calls: collections.Counter[str] = collections.Counter()
        """What was done, and how often."""

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def begin(self) -> None:
        """Upload all three. Their inputs come before."""
        for workflow in self.workflows:
            self._make_good(workflow)
            self._upload(workflow)

    def turn(self) -> None:
        """Edit an input, and maybe make a call, or more."""
        workflow = self._dice.choice(self.workflows)
        self._edit(workflow, self._dice.choice(workflow.inputs))
        chances: list[tuple[float, Callable[[Workflow], None]]] = [
            (0.25, self._run),
            (0.1, self._halt),
            (0.1, self._expire),
            (0.1, self._merge),
            (0.05, self._command),
            (0.05, self._remove),
            (0.05, self._pass_by),
        ]
        for chance, call in chances:
            if self._dice.random() < chance:
                call(self._dice.choice(self.workflows))

    def settle(self) -> list[str]:
        """Make all inputs good, let all workflows end; what differs from a run from scratch.

        Raises `TimeoutError` if a workflow doesn't end.
        """
        for workflow in self.workflows:
            self._make_good(workflow)
        with Gaia({**CONFIG, "root": str(self._root)}) as gaia:
            for workflow in self.workflows:
                gaia.wait(workflow.name, timeout=QUIET_SECONDS)
                # It looks at the files only where nothing runs.
                self._run(workflow)
            problems = _await_complete(gaia, self.workflows)
        return problems or self.differences()

    def differences(self) -> list[str]:
        """Differences of files from those that a root of its own makes of the same inputs."""
        scratch = self._root.parent / "scratch"
        with Gaia({**CONFIG, "root": str(scratch), "watch": False}) as gaia:
            for workflow in self.workflows:
                for key, contents in workflow.contents.items():
                    path = gaia.path(workflow.name, key)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(contents)
                gaia.upload(workflow.name, {}, *_definition(workflow))
            problems = _await_complete(gaia, self.workflows)
        for workflow in self.workflows:
            made, wanted = (
                _files(root / "storage" / workflow.name) for root in (self._root, scratch)
            )
            problems += [
                f"{workflow.name}/{name} is {made.get(name)!r}; from scratch {wanted.get(name)!r}"
                for name in sorted(made.keys() | wanted.keys())
                if made.get(name) != wanted.get(name)
            ]
        shutil.rmtree(scratch)
        return problems

    # ------------------------------------------------------------------------------- its changes

    def _edit(self, workflow: Workflow, key: str) -> None:
        self._write(workflow, key, text(self._dice, self._dice.random() < GOOD_SHARE))

    def _write(self, workflow: Workflow, key: str, contents: str) -> None:
        workflow.contents[key] = contents
        path = self._path(workflow, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        if self._dice.random() < 0.5:
            self.calls["write in place"] += 1
            path.write_text(contents)
        else:
            self.calls["replace"] += 1
            aside = self._root / "edited"
            aside.write_text(contents)
            aside.replace(path)

    def _make_good(self, workflow: Workflow) -> None:
        for key in workflow.inputs:
            self._write(workflow, key, text(self._dice))

    def _remove(self, workflow: Workflow) -> None:
        """Remove an output, as if by mistake."""
        self.calls["remove"] += 1
        path = self._path(workflow, self._dice.choice(workflow.outputs))
        with contextlib.suppress(FileNotFoundError, OSError):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _run(self, workflow: Workflow) -> None:
        self._call("run", workflow=workflow.name)

    def _halt(self, workflow: Workflow) -> None:
        self._call("halt", workflow=workflow.name)

    def _expire(self, workflow: Workflow) -> None:
        keys = [self._dice.choice((*workflow.outputs, *workflow.editable))]
        self._call("expire", workflow=workflow.name, expire=keys)

    def _merge(self, workflow: Workflow) -> None:
        step = workflow.steps[self._dice.choice(workflow.editable)]
        step["vars"] = {**step["vars"], "text": str(self._dice.randrange(4))}
        self._call("merge", workflow=workflow.name, steps=[step])

    def _command(self, workflow: Workflow) -> None:
        named = [each for each in workflow.commands.values() if "command" in each]
        command = self._dice.choice(named)
        *_, script = command["command"]
        changed = f"{script.partition(' #')[0]} #{self._dice.randrange(4)}"
        command["command"] = [*command["command"][:-1], changed]
        self._call("command", workflow=workflow.name, commands=[command])

    def _pass_by(self, workflow: Workflow) -> None:
        """Upload a workflow like this one, or delete it again, by the other way into the server."""
        with Gaia({**CONFIG, "root": str(self._root)}) as gaia:
            if PASSING in gaia.workflows()["workflows"]:
                self.calls["delete"] += 1
                gaia.delete(PASSING, data=True)
            else:
                self.calls["upload"] += 1
                for key in workflow.inputs:
                    path = gaia.path(PASSING, key)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(text(self._dice))
                gaia.upload(PASSING, {}, *_definition(workflow))

    # ----------------------------------------------------------------------------------- its ways

    def _upload(self, workflow: Workflow) -> None:
        commands, steps = _definition(workflow)
        self._call(
            "upload",
            workflow=workflow.name,
            properties={"owner": "soak"},
            commands=commands,
            steps=steps,
        )

    def _call(self, method: str, **body: Any) -> None:
        self.calls[method] += 1
        answer = self._session.post(f"{self._url}{method}", json=body, timeout=60)
        if answer.status_code != 200:
            raise RuntimeError(
                f"{method} was refused: {answer.status_code} {answer.text}; {json.dumps(body)}"
            )

    def _path(self, workflow: Workflow, key: str) -> Path:
        return self._root / "storage" / workflow.name / key.replace(":", "/", 1)


def _definition(workflow: Workflow) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    return list(workflow.commands.values()), list(workflow.steps.values())


def _await_complete(gaia: Gaia, awaited: list[Workflow]) -> list[str]:
    """Wait until all end; those that aren't complete then."""
    problems = []
    for workflow in awaited:
        state = gaia.wait(workflow.name, timeout=QUIET_SECONDS)["state"]
        if state != "complete":
            problems.append(f"{workflow.name} is {state}: {gaia.failures(workflow.name)}")
    return problems


def _files(top: Path) -> dict[str, bytes]:
    """Path → contents of all files of a workflow but the engine's own."""
    found = {}
    for folder, folders, names in os.walk(top):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(folder) / name
            found[str(path.relative_to(top))] = path.read_bytes()
    return found
