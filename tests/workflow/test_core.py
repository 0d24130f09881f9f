"""The core alone, without files, threads and a database: random histories against an oracle.

`GAIA_LOCAL_HISTORIES=100000` plays so many; a failure prints the seed and the history.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest

from gaia_local.workflow import graph as graph_module
from gaia_local.workflow import verdicts
from gaia_local.workflow.contents import Contents
from gaia_local.workflow.graph import Graph
from gaia_local.workflow.nodes import READY, StepNode
from gaia_local.workflow.states import VerdictKind
from support.histories import History

HISTORIES = int(os.environ.get("GAIA_LOCAL_HISTORIES", "1500"))
LENGTH = 20


def play(seed: int) -> None:
    history = History(random.Random(seed))
    try:
        history.go(LENGTH)
    except AssertionError as error:
        raise AssertionError(f"seed {seed}, {', '.join(history.said)}: {error}") from error


def test_random_histories() -> None:
    for seed in range(HISTORIES):
        play(seed)


# -- that the oracle sees something: the rules of the core, broken one by one ----------------------


def let_readers_start(patch: pytest.MonkeyPatch) -> None:
    """A key whose Step is going to run may be read."""
    patch.setattr(graph_module, "PENDING", READY)


def forget_what_was_read(patch: pytest.MonkeyPatch) -> None:
    """Let a done Step stay done after any change of its inputs."""
    for module in (graph_module, verdicts):
        patch.setattr(module, "difference", lambda *_: None)


def let_parts_count(patch: pytest.MonkeyPatch) -> None:
    """Let outputs that were stored only in part count."""
    patch.setattr(Contents, "unpublished", lambda *_: None)


def hold_nobody(patch: pytest.MonkeyPatch) -> None:
    """A Step that waits is not going to run."""
    judge = Graph._judge

    def judged(graph: Graph, node: StepNode) -> VerdictKind:
        kind = judge(graph, node)
        return VerdictKind.BLOCKED if kind is VerdictKind.WAIT else kind

    patch.setattr(Graph, "_judge", judged)


@pytest.mark.parametrize(
    "broken",
    [let_readers_start, forget_what_was_read, let_parts_count, hold_nobody],
)
def test_each_broken_rule_is_seen(
    broken: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch)
    with pytest.raises(AssertionError):
        for seed in range(500):
            play(seed)
