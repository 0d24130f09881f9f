"""The queue of Tasks: its invariants, held against a list that is searched for each turn."""

from __future__ import annotations

import random

import pytest

from gaia_local.executors.fair_queue import FairQueue, QueuedTask
from gaia_local.model.assignment import Assignment
from support.executors import ReportingObserver, task_named


def queued(name: str, workflow: str, rank: tuple[int, int] = (0, 0)) -> QueuedTask:
    made = task_named(name, workflow=workflow)
    return QueuedTask(Assignment(made, rank), ReportingObserver(lambda of, what: None))


def name_of(item: QueuedTask | None) -> str | None:
    return None if item is None else item.assignment.task.name


class Model:
    """The same by brute force."""

    def __init__(self) -> None:
        self.waiting: list[tuple[QueuedTask, bool]] = []
        self.running: list[QueuedTask] = []

    def count(self, workflow: str) -> int:
        return sum(item.assignment.task.workflow == workflow for item in self.running)

    def allowed(self, requests: bool) -> list[str]:
        """Workflows whose turn it may be: those with the fewest running Tasks."""
        waiting = {
            item.assignment.task.workflow
            for item, request in self.waiting
            if requests or not request
        }
        fewest = min(map(self.count, waiting), default=0)
        return [name for name in waiting if self.count(name) == fewest]

    def first(self, workflow: str, requests: bool) -> QueuedTask:
        """The first of a workflow; of equal ranks the one that came first."""
        mine = [
            item
            for item, request in self.waiting
            if item.assignment.task.workflow == workflow and (requests or not request)
        ]
        return min(mine, key=lambda item: item.assignment.rank)


@pytest.mark.parametrize("seed", range(100))
def test_the_invariants_hold_whatever_happens(seed: int) -> None:
    chance, queue, model = random.Random(seed), FairQueue[QueuedTask](), Model()
    workflows = [f"w{number}" for number in range(chance.randint(1, 6))]
    for number in range(300):
        act = chance.choice(("put", "put", "take", "take", "end", "forget"))
        if act == "put":
            rank = (-chance.randint(0, 3), chance.randint(0, 5))
            item, request = (
                queued(str(number), chance.choice(workflows), rank),
                chance.random() < 0.3,
            )
            queue.put(item, request)
            model.waiting.append((item, request))
        elif act == "take":
            requests = chance.random() < 0.7
            allowed = model.allowed(requests)
            taken = queue.take(requests)
            assert (taken is None) == (not allowed)
            if taken is not None:
                workflow = taken.assignment.task.workflow
                assert workflow in allowed
                assert taken is model.first(workflow, requests)
                model.waiting = [pair for pair in model.waiting if pair[0] is not taken]
                model.running.append(taken)
        elif act == "end" and model.running:
            item = model.running.pop(chance.randrange(len(model.running)))
            queue.forget(item)
            queue.forget(item)
        elif act == "forget" and model.waiting:
            item, _ = model.waiting.pop(chance.randrange(len(model.waiting)))
            queue.forget(item)
            queue.forget(item)
        assert len(queue) == len(model.waiting)
    for item, _ in model.waiting:
        queue.forget(item)
    for item in model.running:
        queue.forget(item)
    assert not vars(queue)["_shares"]
    assert not vars(queue)["_turns"]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_workflow_waits_for_no_more_tasks_than_there_are_others(workers: int) -> None:
    """From the moment on when it has none running: every other one goes first at most once."""
    queue, crowd = FairQueue[QueuedTask](), 5
    for workflow in range(crowd):
        for number in range(50):
            queue.put(queued(f"{workflow}-{number}", str(workflow), (-9, number)))
    running = [queue.take() for _ in range(workers)]

    def end_the_oldest() -> None:
        ended = running.pop(0)
        assert ended is not None
        queue.forget(ended)
        running.append(queue.take())

    for number in range(20):
        queue.put(queued(f"small{number}", "small"))
        waited = 0
        while name_of(running[-1]) != f"small{number}":
            end_the_oldest()
            waited += 1
        assert waited <= crowd
        while f"small{number}" in map(name_of, running):
            end_the_oldest()
