"""The words that decisions are made of: reasons come back from text as they were, and states follow
from attempts.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaia_local.model.tasks import TaskState
from gaia_local.workflow.states import (
    ABSENT,
    EXPIRED,
    INTERRUPTED,
    NEW,
    RETRY,
    UNMADE,
    Attempt,
    KeyKind,
    KeyState,
    Reason,
    ReasonKind,
    StepState,
    VerdictKind,
)
from support.builders import task

ABOUT = [kind for kind in ReasonKind if "{}" in kind.value]
"""Those that are about a Step or a key."""
NASTY = [
    "a", "", " ", "{}", "{0}", "new", "expired", "upstream", " ran again", "x ran again",
    "upstream x ran again", "upstream  ran again ran again", "input changed: k",
    "output missing: ", "ключ:z", "\u2028", "it's \"q\" 'x' \\ \n\t", "a:b/c d", "\0", "%s", "🦊",
]  # fmt: skip


# ------------------------------------------------------------------------------------------ reasons


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (NEW, "new"),
        (EXPIRED, "expired"),
        (RETRY, "retry after error"),
        (INTERRUPTED, "interrupted"),
        (UNMADE, "no Step makes it any more"),
        (Reason(ReasonKind.STEP_CHANGED), "step changed"),
        (Reason(ReasonKind.COMMAND_CHANGED), "command changed"),
        (Reason(ReasonKind.IMAGE_CHANGED), "image changed"),
        (Reason(ReasonKind.INPUT_CHANGED, "b:x"), "input changed: b:x"),
        (Reason(ReasonKind.UPSTREAM, "make it"), "upstream make it ran again"),
        (Reason(ReasonKind.MISSING, "b:x"), "output missing: b:x"),
    ],
)
def test_reasons_are_told_so_and_read_back(reason: Reason, words: str) -> None:
    assert str(reason) == words
    assert Reason.parse(words) == reason


def test_all_kinds_of_reasons_are_read_back() -> None:
    assert [Reason.parse(str(Reason(kind))) for kind in ReasonKind] == [
        Reason(kind) for kind in ReasonKind
    ]
    assert len({str(Reason(kind, "x")) for kind in ReasonKind}) == len(ReasonKind)


@pytest.mark.parametrize("kind", ABOUT)
@pytest.mark.parametrize("subject", NASTY)
def test_reasons_with_any_name_are_read_back(kind: ReasonKind, subject: str) -> None:
    assert Reason.parse(str(Reason(kind, subject))) == Reason(kind, subject)


words = st.text() | st.lists(
    st.sampled_from([*NASTY, *(kind.value for kind in ReasonKind)]), max_size=3
).map("".join)


@given(st.sampled_from(ABOUT), words)
def test_any_subject_is_read_back(kind: ReasonKind, subject: str) -> None:
    assert Reason.parse(str(Reason(kind, subject))) == Reason(kind, subject)


@given(words)
def test_parsed_reasons_print_unchanged(text: str) -> None:
    try:
        reason = Reason.parse(text)
    except ValueError:
        return
    assert str(reason) == text


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "New", "new ", " new", "newer", "expired: x", "strange", "input changed",
        "input changed:b:x", "upstream", "upstream x", "x ran again", "upstream ran again",
        "upstream x ran again.", "output missing", "retry after error: x",
        "no Step makes it any more, too", "input changed: {}".upper(), "image changed: i", "{}",
    ],
)  # fmt: skip
def test_invalid_reasons_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no reason to run") as caught:
        Reason.parse(text)
    assert repr(text) in str(caught.value)


# ------------------------------------------------------------------------------------------- states


@pytest.mark.parametrize(
    ("state", "started", "superseded", "expected"),
    [
        (TaskState.RUNNING, None, False, StepState.QUEUED),
        (TaskState.RUNNING, 2.0, False, StepState.RUNNING),
        (TaskState.COMPLETE, 2.0, False, StepState.DONE),
        (TaskState.ERROR, 2.0, False, StepState.FAILED),
        (TaskState.EXCEPTION, 2.0, False, StepState.FAILED),
        (TaskState.EXCEPTION, None, False, StepState.FAILED),
        (TaskState.CANCELLED, 2.0, False, StepState.CANCELLED),
        (TaskState.CANCELLED, None, False, StepState.CANCELLED),
        (TaskState.INTERRUPTED, 2.0, False, StepState.INTERRUPTED),
        (TaskState.INTERRUPTED, None, False, StepState.INTERRUPTED),
        *((state, started, True, StepState.NEW) for state in TaskState for started in (None, 2.0)),
    ],
)
def test_the_state_of_a_step_follows_from_its_last_task(
    state: TaskState, started: float | None, superseded: bool, expected: StepState
) -> None:
    assert Attempt(task(), state, 1.0, started, superseded=superseded).step_state is expected


@pytest.mark.parametrize("state", TaskState)
def test_each_state_of_a_task_has_one(state: TaskState) -> None:
    assert isinstance(Attempt(task(), state, 1.0, 2.0).step_state, StepState)


def test_a_step_is_alive_while_its_task_may_still_end() -> None:
    assert {state for state in StepState if state.alive} == {StepState.QUEUED, StepState.RUNNING}


def test_verdicts_that_lead_to_a_run_are_active() -> None:
    active = {VerdictKind.RUN, VerdictKind.WAIT, VerdictKind.RUNNING}
    assert {kind for kind in VerdictKind if kind.active} == active


def test_present_and_unsure_keys_are_usable() -> None:
    assert {kind for kind in KeyKind if KeyState(kind).usable} == {KeyKind.THERE, KeyKind.UNSURE}
    assert not ABSENT.usable
