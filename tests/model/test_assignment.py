"""The data of one run of a Task: the defaults, and pickling for another machine."""

from __future__ import annotations

import dataclasses
import pickle

import pytest

from gaia_local.model.assignment import Assignment
from gaia_local.model.tasks import Fingerprint
from support.builders import task

TASK = task(inputs={"/in/x": "b:x"})


def test_a_task_alone_begins_anew_and_first_with_nothing_known() -> None:
    made = Assignment(TASK)
    assert (made.rank, dict(made.known), made.adopted) == ((0, 0), {}, False)


def test_an_assignment_is_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Assignment(TASK).adopted = True  # type: ignore[misc]


def test_an_assignment_survives_pickling() -> None:
    known = {"b:x": Fingerprint("quick", "digest")}
    sent = Assignment(TASK, (2, 5), known, adopted=True)
    arrived = pickle.loads(pickle.dumps(sent))
    assert (arrived, arrived.known) == (sent, known)
