"""What a server's clients were told of workflows, and what is new since."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from gaia_local.errors import InvalidInput
from gaia_local.server.reading import entry

if TYPE_CHECKING:
    from gaia_local import Gaia
    from gaia_local.model.answer_types import (
        FollowedChanges,
        ListedWorkflow,
        ManyChanges,
        StepState,
        WorkflowChanges,
    )


class Follow(NamedTuple):
    """The workflows whose Steps a client follows."""

    names: frozenset[str]
    one: bool
    """Its events are `WorkflowChanges`, about one workflow or none; else they are `ManyChanges`."""


@dataclass
class News:
    """Changes: None stands for a workflow or a Step that is gone. Never changed once it is made.

    Only its texts are added, each made once for all clients that follow the same.
    """

    workflows: Mapping[str, ListedWorkflow | None]
    steps: Mapping[str, Mapping[str, StepState | None]]
    """Followed workflow → Steps."""
    graphs: Mapping[str, str]
    """Followed workflow → the version of its graph."""
    _texts: dict[Follow, str | None] = field(default_factory=dict)

    def then(self, later: News) -> News:
        """Both, in this order."""
        steps = dict(self.steps)
        for name, changed in later.steps.items():
            steps[name] = {**steps.get(name, {}), **changed}
        return News({**self.workflows, **later.workflows}, steps, {**self.graphs, **later.graphs})

    def is_for(self, follow: Follow) -> bool:
        """Whether it has anything that a client doesn't know."""
        told = follow.names & {*self.steps, *self.graphs}
        return bool(self.workflows or told)

    def is_written(self, follow: Follow) -> bool:
        """Whether `text` is at hand."""
        return follow in self._texts

    def text(self, follow: Follow) -> str:
        """The event's JSON for clients that follow the same."""
        text = self._texts.get(follow)
        if text is None:
            text = self._texts[follow] = json.dumps(self.told(follow), separators=(",", ":"))
        return text

    def told(self, follow: Follow) -> WorkflowChanges | ManyChanges:
        """The event's data."""
        told = {name: self._of(name) for name in sorted(follow.names)}
        workflows = dict(self.workflows)
        if follow.one:
            nothing: FollowedChanges = {"steps": {}}
            return {"workflows": workflows, **next(iter(told.values()), nothing)}
        return {
            "workflows": workflows,
            "followed": {
                name: changes
                for name, changes in told.items()
                if changes["steps"] or "graph" in changes
            },
        }

    def _of(self, name: str) -> FollowedChanges:
        changes: FollowedChanges = {"steps": dict(self.steps.get(name, {}))}
        if name in self.graphs:
            changes["graph"] = self.graphs[name]
        return changes


@dataclass
class _Followed:
    """One followed workflow as it was told last."""

    moment: str | None = None
    steps: dict[str, StepState] = field(default_factory=dict)
    version: str | None = None


class Known:
    """The workflows, and the Steps of the followed ones, as `Gaia` last answered. Not thread-safe.

    Invariant: `everything` is what anybody knows who took it at some moment, and took in, in order,
    all that `look` answered since.
    """

    def __init__(self, gaia: Gaia) -> None:
        self._gaia = gaia
        self._workflows: dict[str, ListedWorkflow] | None = None
        """None before the first look."""
        self._followed: dict[str, _Followed] = {}

    def look(self, names: Collection[str], followed: Collection[str]) -> News:
        """What is new in some workflows, and in the Steps of those of them that are followed.

        The first time, and for workflows that weren't followed before, that is everything. A Step
        that ran again is among them even if its state is the same.
        """
        workflows: dict[str, ListedWorkflow | None] = {}
        if self._workflows is None:
            self._workflows, names = {}, [*names, *self._gaia.workflows()["workflows"]]
        for name in dict.fromkeys(names):
            now = entry(self._gaia, name)
            if now != self._workflows.get(name):
                workflows[name] = now
            if now is None:
                self._workflows.pop(name, None)
            else:
                self._workflows[name] = now
        new = [name for name in followed if name not in self._followed]
        kept = {name: self._followed[name] for name in followed if name in self._followed}
        self._followed = kept | {name: _Followed() for name in new}
        steps: dict[str, dict[str, StepState | None]] = {}
        graphs: dict[str, str] = {}
        for name in {*new, *(name for name in names if name in kept)}:
            before = self._followed[name].version
            changed = self._steps(name, self._followed[name])
            if changed:
                steps[name] = changed
            version = self._followed[name].version
            if version is not None and version != before:
                graphs[name] = version
        return News(workflows, steps, graphs)

    def everything(self, follow: Follow) -> News:
        """All that was told of all workflows, and of the Steps that a client follows."""
        followed = {name: self._followed[name] for name in follow.names}
        return News(
            dict(self._workflows or {}),
            {name: dict(each.steps) for name, each in followed.items()},
            {name: each.version for name, each in followed.items() if each.version is not None},
        )

    def _steps(self, name: str, known: _Followed) -> dict[str, StepState | None]:
        """The changes in one workflow's Steps, which are known from now on."""
        try:
            changes = self._gaia.step_changes(name, known.moment)
        except InvalidInput:  # it was deleted
            gone: dict[str, StepState | None] = dict.fromkeys(known.steps)
            known.moment, known.steps, known.version = None, {}, None
            return gone
        steps = changes["steps"]
        changed: dict[str, StepState | None] = {
            step: state for step, state in steps.items() if state != known.steps.get(step)
        }
        if changes["whole"]:
            changed |= {step: None for step in known.steps if step not in steps}
            known.steps = steps
        else:
            known.steps.update(steps)
        known.moment, known.version = changes["now"], changes["version"]
        return changed
