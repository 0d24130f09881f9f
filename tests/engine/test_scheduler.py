"""Decisions that the recordings don't show, with hand-driven Tasks; then the engine under load."""

from __future__ import annotations

import collections
import random
import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

from gaia_local import Gaia
from gaia_local.engine import scheduler as scheduler_module
from gaia_local.engine import waiting
from gaia_local.engine.recovery import recover
from gaia_local.errors import DatabaseError, InvalidInput, StorageError
from gaia_local.model.assignment import Outcome, Output
from gaia_local.model.events import Event, EventKind
from gaia_local.model.tasks import TaskState
from gaia_local.state.database import Database
from gaia_local.store import fingerprints
from gaia_local.store.storage import Storage
from gaia_local.workflow.states import KeyKind
from support.builders import command, step
from support.fakes import NoRuntime
from support.fixtures import WaitUntil
from support.hands import LOGS, ONE, SRC, Hands


@pytest.fixture
def hands(tmp_path: Path) -> Iterator[Hands]:
    made = Hands(tmp_path)
    made.command(SRC, ONE, LOGS)
    yield made
    made.close()


def test_late_outcome_of_a_cancelled_task_changes_nothing(hands: Hands) -> None:
    hands.merge(step("s", "src", "k"))
    task = hands.task("s")
    _, observer = hands.executor.tasks[task.id]
    hands.scheduler.halt("w")
    source = hands.storage.root / "late"
    source.write_text("late")
    from gaia_local.store import fingerprints

    seen = fingerprints.fingerprint(str(source))
    assert seen is not None
    observer.ended(
        task,
        Outcome(
            TaskState.COMPLETE, (Output("k", str(source), hands.storage.path("w", "k"), seen),), 0
        ),
    )
    assert not Path(hands.storage.path("w", "k")).exists()
    assert hands.state == "halted"
    assert [event["event"] for event in hands.scheduler.events("w")] == [
        "step-terminated",
        "flow-halted",
    ]


def test_a_step_whose_only_output_is_its_log_is_failed_when_it_fails(hands: Hands) -> None:
    hands.merge({"name": "s", "command": "logs", "outputs": {"log": "k"}})
    hands.fail("s")
    assert hands.state == "error"
    assert Path(hands.storage.path("w", "k")).exists()
    hands.scheduler.run("w")
    assert hands.reasons() == {"s": "retry after error"}


def test_a_step_without_outputs_never_runs(hands: Hands) -> None:
    hands.command({"name": "none", "image": "i", "command": ["x"]})
    hands.merge({"name": "s", "command": "none"})
    assert (hands.runs, hands.state) == ([], "complete")


def test_directory_keys_wait_for_all_that_is_made_under_them(hands: Hands) -> None:
    hands.merge(
        step("r", "one", "out", "kb/"), step("m1", "src", "kb/1"), step("m2", "src", "kb/2")
    )
    assert hands.runs == ["m1", "m2"]
    hands.complete("m1")
    assert hands.runs == ["m2"]
    hands.complete("m2")
    assert hands.runs == ["r"]


def test_file_keys_wait_for_the_directory_they_lie_in(hands: Hands) -> None:
    hands.merge(
        step("r", "one", "out", "kb/part"),
        step("other", "one", "out2", "kb/not-there"),
        step("m", "src", "kb/"),
    )
    assert hands.runs == ["m"]
    hands.complete("m")
    assert hands.runs == ["r"]
    assert hands.status()["waiting-inputs"] == ["kb/not-there"]
    hands.complete("r")
    assert hands.state == "incomplete"


def test_a_step_that_stops_making_a_key(hands: Hands) -> None:
    hands.merge(step("m", "src", "k"), step("r", "one", "out", "k"))
    hands.complete("m")
    hands.complete("r")
    hands.merge(step("m", "src", "other"))
    hands.complete("m")
    assert hands.status()["waiting-inputs"] == ["k"]
    assert hands.state == "incomplete"
    assert Path(hands.storage.path("w", "k")).exists()


def test_an_array_step_merged_with_fewer_values_loses_the_others(hands: Hands) -> None:
    many = {**step("m", "src", "k{{v}}"), "vars": {"v": [1, 2, 3]}}
    hands.merge(many)
    assert hands.runs == ["m-1", "m-2", "m-3"]
    hands.did()
    hands.merge({**many, "vars": {"v": [1, 3]}})
    assert hands.did() == [("cancel", "m-2")]
    assert hands.runs == ["m-1", "m-3"]


def test_a_new_composite_definition_replaces_its_inner_steps(hands: Hands) -> None:
    inner = {"name": "i", "command": "src", "outputs": {"x": "Y"}}
    hands.command({"name": "c", "inputs": [], "outputs": ["Y"], "steps": [inner]})
    hands.merge({"name": "o", "command": "c", "outputs": {"Y": "k"}})
    assert hands.runs == ["o:i"]
    hands.complete("o:i")
    hands.command({"name": "c", "inputs": [], "outputs": ["Y"], "steps": [{**inner, "name": "j"}]})
    assert hands.runs == ["o:j"]


def test_expired_steps_stay_expired_through_halt_and_reopening(hands: Hands) -> None:
    hands.merge(step("m", "src", "k"), step("r", "one", "out", "k"))
    hands.complete("m")
    hands.complete("r")
    hands.scheduler.expire("w", ["m"])
    hands.scheduler.halt("w")
    again = hands.reopened()
    assert again.state == "halted"
    again.scheduler.run("w")
    assert again.reasons() == {"m": "expired"}
    again.complete("m")
    assert again.reasons() == {"r": "upstream m ran again"}
    again.complete("r")
    assert again.state == "complete"
    again.close()


def test_reopening_starts_nothing_and_remembers_failures(hands: Hands) -> None:
    hands.merge(step("m", "src", "k"), step("f", "src", "f"))
    hands.complete("m")
    hands.fail("f")
    again = hands.reopened()
    assert (again.state, again.runs) == ("error", [])
    again.merge(step("n", "src", "n"))
    assert again.runs == ["n"]  # merge doesn't retry failed Steps
    again.close()


def test_files_that_appear_while_nothing_looks_are_found_by_run(hands: Hands) -> None:
    hands.merge(step("r", "one", "out", "outside"))
    assert hands.state == "incomplete"
    hands.put("outside")
    assert hands.runs == []
    hands.scheduler.run("w")
    assert hands.runs == ["r"]


# -- the engine as a whole -------------------------------------------------------------------------


def test_eight_steps_of_which_some_fail(tmp_path: Path) -> None:
    """The others finish, the state is `error`, failed Steps left logs only, nothing waits on."""
    commands = [
        command("good", "echo good > /out/x", x="/out/x", log=">>"),
        command("bad", "echo half > /out/x; exit 1", x="/out/x", log=">>"),
        command("slow", "echo half > /out/x; sleep 60", x="/out/x", log=">>"),
        command("lazy", "true", x="/out/x", log=">>"),
        command("read", "cat /in/a > /out/x", "a", x="/out/x", log=">>"),
    ]

    def one(name: str, command: str, read: str | None = None) -> dict[str, Any]:
        return {
            "name": name,
            "command": command,
            "inputs": {"a": read} if read else {},
            "outputs": {"x": f"d:{name}", "log": f"l:{name}"},
            "timeout": 1,
        }

    steps = [
        one("good", "good"),
        one("after-good", "read", "d:good"),
        one("bad", "bad"),
        one("after-bad", "read", "d:bad"),
        one("slow", "slow"),
        one("lazy", "lazy"),
        one("lacks", "read", "d:nobody"),
        one("good-2", "good"),
    ]
    with Gaia({"root": tmp_path, "runtime": "process", "workers": 4}) as gaia:
        gaia.upload("w", {}, commands, steps)
        assert gaia.wait("w", 30)["state"] == "error"
        status = gaia.status("w", debug=True)["status"]
        assert {name: task["state"] for name, task in status["tasks"].items()} == {
            "good": "complete",
            "after-good": "complete",
            "good-2": "complete",
            "bad": "error",
            "slow": "error",
            "lazy": "error",
        }
        assert status["waiting-inputs"] == ["d:bad", "d:nobody"]
        store = {
            str(path.relative_to(tmp_path / "storage/w"))
            for path in (tmp_path / "storage/w").rglob("*")
            if path.is_file()
        }
        made = {"d/good", "d/after-good", "d/good-2", "l/good", "l/after-good", "l/good-2"}
        assert store == made | {"l/bad", "l/slow", "l/lazy"}
        messages = {failure["step"]: failure["message"] or "" for failure in gaia.failures("w")}
        assert messages["bad"] == "exit code 1"
        assert messages["slow"] == "it exceeded its timeout of 1 s"
        assert "'d:lazy' was not made" in messages["lazy"]
        assert gaia.progress("w") == {
            "state": "error",
            "steps": 8,
            "done": 3,
            "running": 0,
            "failed": 3,
            "waiting": 2,
        }
        ended = [
            event["reason"] for event in gaia.events("w") if event["event"] == "step-terminated"
        ]
        assert ended == ["terminated-by-timeout"]


def test_three_hundred_steps_each_once_and_never_early(tmp_path: Path) -> None:
    """Must show 4: checked from the recorded events."""
    order = random.Random(4)
    commands = [command(f"c{n}", "echo x > /out/x", *"abcdefghi"[:n]) for n in range(9)]
    steps: list[dict[str, Any]] = []
    for number in range(300):
        earlier = order.sample(range(number), min(number, order.randint(2, 6)))
        reads = [f"d:{number}" for number in earlier]
        steps.append(step(f"s{number}", f"c{len(reads)}", f"d:{number}", *reads))
    assert sum(len(step["inputs"]) for step in steps) >= 1150
    shuffled = steps[:]
    order.shuffle(shuffled)
    with Gaia({"root": tmp_path, "runtime": "process", "workers": 4}) as gaia:
        gaia.upload("w", {}, commands, shuffled)
        assert gaia.wait("w", 100)["state"] == "complete"
        reads_of = {step["name"]: set(step["inputs"].values()) for step in steps}
        complete: set[str] = set()
        starts: collections.Counter[str] = collections.Counter()
        for event in gaia.events("w"):
            if event["event"] == "step-start":
                starts[event["task"]] += 1
                assert reads_of[event["task"]] <= complete, (
                    f"{event['task']} started before its inputs were complete"
                )
            elif event["event"] == "data-complete":
                complete.add(event["key"])
        assert starts == collections.Counter(f"s{n}" for n in range(300))


def test_halt_and_run_from_many_threads(tmp_path: Path) -> None:
    """With any order of calls, it ends, all last Tasks are complete, and the files are right."""
    again = "cat /in/a > /out/x; echo 1 >> /out/x"
    commands = [command("c0", "echo 1 > /out/x"), command("c1", again, "a")]
    steps = [step("s0", "c0", "d:0")]
    steps += [step(f"s{n}", "c1", f"d:{n}", f"d:{n - 1}") for n in range(1, 12)]
    with Gaia({"root": tmp_path, "runtime": "process", "workers": 3}) as gaia:
        gaia.upload("w", {}, commands, steps)

        def meddle(seed: int) -> None:
            dice = random.Random(seed)
            for _ in range(15):
                call = dice.randrange(3)
                if call == 0:
                    gaia.halt("w")
                elif call == 1:
                    gaia.run("w")
                else:
                    gaia.expire("w", [f"s{dice.randrange(12)}"])
                if dice.random() < 0.1:
                    gaia.wait("w")

        threads = [threading.Thread(target=meddle, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        gaia.run("w")
        assert gaia.wait("w", 60)["state"] == "complete"
        assert gaia.path("w", "d:11").read_text() == "1\n" * 12
        tasks = gaia.status("w", debug=True)["status"]["tasks"]
        assert {task["state"] for task in tasks.values()} == {"complete"}
    assert list((tmp_path / "staging").iterdir()) == []


def test_subscribers_are_told_after_each_change_and_without_the_lock(hands: Hands) -> None:
    told: list[str] = []

    def tell(names: Collection[str]) -> None:
        def look() -> None:
            told.extend(f"{name} {hands.state}" for name in names)

        # The lock can be entered again by the thread that holds it.
        other = threading.Thread(target=look)
        other.start()
        other.join(10)
        assert not other.is_alive()

    unsubscribe = hands.scheduler.subscribe(tell)

    def news(change: Callable[[], object]) -> set[str]:
        told.clear()
        change()
        return set(told)

    assert news(lambda: hands.merge(step("s", "src", "k"))) >= {"w running"}
    assert news(lambda: hands.start("s")) == {"w running"}
    assert news(lambda: hands.complete("s")) == {"w complete"}
    assert news(lambda: hands.scheduler.expire("w", ["s"])) >= {"w running"}
    assert news(lambda: hands.scheduler.halt("w")) == {"w halted"}
    assert news(lambda: hands.scheduler.view("w", lambda workflow: workflow.state)) == set()
    unsubscribe()
    unsubscribe()
    assert news(lambda: hands.scheduler.run("w")) == set()


def test_a_subscriber_is_told_of_a_workflow_that_is_deleted(hands: Hands) -> None:
    told: list[tuple[set[str], bool]] = []
    hands.merge(step("s", "src", "k"))
    hands.scheduler.subscribe(
        lambda names: told.append((set(names), "w" in hands.scheduler.workflows()))
    )
    hands.scheduler.delete("w", data=False)
    assert told == [({"w"}, False)]


def test_a_subscriber_is_told_of_a_workflow_that_could_not_be_deleted(
    hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[set[str], str]] = []
    hands.merge(step("s", "src", "k"))
    hands.scheduler.subscribe(lambda names: told.append((set(names), hands.state)))

    def refuse(*_: object) -> None:
        raise StorageError("not today")

    monkeypatch.setattr(Storage, "delete", refuse)
    with pytest.raises(StorageError):
        hands.scheduler.delete("w", data=True)
    assert told == [({"w"}, "halted")]


def test_the_runtime_gets_ready_for_tasks_alone(
    hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks: list[Collection[str]] = []
    monkeypatch.setattr(NoRuntime, "check", lambda runtime, images: checks.append(images))
    hands.merge(step("s", "src", "k"))
    hands.complete("s")
    assert len(checks) == 1
    hands.scheduler.run("w")
    assert len(checks) == 1
    hands.scheduler.expire("w", ["s"])
    assert len(checks) == 2
    hands.fail("s")
    hands.scheduler.run("w")
    assert len(checks) == 3


@pytest.mark.parametrize("kind", [RuntimeError, SystemExit])
def test_a_subscriber_that_fails_costs_nothing_but_a_line_in_the_log(
    hands: Hands, caplog: pytest.LogCaptureFixture, kind: type[BaseException]
) -> None:
    def tell(names: Collection[str]) -> None:
        raise kind("not my day")

    told: list[Collection[str]] = []
    hands.scheduler.subscribe(tell)
    hands.scheduler.subscribe(told.append)
    hands.merge(step("s", "src", "k"))
    hands.complete("s")
    assert hands.state == "complete"
    assert told
    assert "not my day" in caplog.text


def test_an_orderly_end_says_why_it_halted(hands: Hands) -> None:
    hands.merge(step("s", "src", "k"))
    hands.scheduler.stop()
    last = hands.scheduler.events("w")[-1]
    assert (last["event"], last["reason"], last["message"]) == (
        "flow-halted",
        "closed",
        "the engine was closed",
    )


def test_a_directory_that_changed_meanwhile_is_noticed_by_run_not_by_opening(hands: Hands) -> None:
    """Else the workflow would seem to run, and `run` leave it alone for that."""
    hands.merge(
        step("one", "src", "d/x"), step("two", "src", "d/y"), step("all", "one", "out", "d/")
    )
    for name in ("one", "two", "all"):
        hands.complete(name)
    assert hands.state == "complete"
    Path(hands.storage.path("w", "d/x")).unlink()
    again = hands.reopened()
    try:
        assert (again.state, again.runs) == ("complete", [])
        again.scheduler.run("w")
        assert again.runs == ["one"]
        again.complete("one", "another")
        assert again.reasons() == {"all": "upstream one ran again"}
        again.complete("all")
        assert again.state == "complete"
    finally:
        again.close()


def test_halt_with_four_containers(
    tmp_path: Path, docker_image: str, wait_until: WaitUntil
) -> None:
    """All gone within 5 s, `halted`; `run` finishes the workflow and repeats nothing complete."""
    nap = command("nap", "sleep {{seconds}}; echo done > /out/x", image=docker_image)
    nap["vars"] = {"seconds": 3}
    steps: list[dict[str, Any]] = [
        {
            "name": f"s{n}",
            "command": "nap",
            "outputs": {"x": f"d:{n}"},
            "vars": {"seconds": 3 if n else 0},
        }
        for n in range(5)
    ]
    with Gaia({"root": tmp_path, "runtime": "docker", "workers": 4}) as gaia:
        gaia.upload("w", {}, [nap], steps)

        def begun() -> list[str]:
            return sorted(
                event["task"] for event in gaia.events("w") if event["event"] == "execution-start"
            )

        wait_until(lambda: len(begun()) == 5 and gaia.progress("w")["done"] == 1, 30)
        began = time.monotonic()
        gaia.halt("w")
        assert gaia.wait("w")["state"] == "halted"  # quiet: no container is left
        assert time.monotonic() - began < 5
        gaia.run("w")
        assert gaia.wait("w", 60)["state"] == "complete"
        assert begun() == sorted(["s0", *(f"s{n}" for n in range(1, 5) for _ in range(2))])


# -- defects found by a review of the code ---------------------------------------------------------


class Left(Hands):
    """An engine that finds the runs of a dead one."""

    def __init__(self, root: Path, left: Collection[str]) -> None:
        super().__init__(root)
        self.scheduler._runtime.resumable_tasks = lambda: left  # type: ignore[method-assign]


def test_a_run_is_taken_up_whose_input_nobody_had_read_whole(hands: Hands) -> None:
    hands.put("src")
    hands.scheduler._runtime.outlives_engine = True
    hands.merge(step("s", "one", "out", "src"))
    task = hands.task("s")
    seen = fingerprints.fingerprint(hands.storage.path("w", "src"))
    assert seen is not None
    facts = {"id": task.id, "task": "s", "inputs": {"src": seen.digest}}
    hands.scheduler.loop.started(task, Event(EventKind.STEP_START, "w", time.time(), facts))
    hands.database.close()
    database = Database(hands.storage.root / "gaia.db")
    recover(database, hands.storage)
    database.close()
    again = Left(hands.storage.root, [task.id])
    again.scheduler.run("w")
    assert again.task("s").id == task.id
    again.close()
    hands._closed = True


def test_a_dry_run_changes_nothing_of_what_runs(hands: Hands) -> None:
    hands.merge(step("m", "src", "k"), step("r", "one", "out", "k"))
    hands.complete("m")
    hands.start("r")  # which is not written yet
    before = hands.status()
    trial = hands.scheduler.scratch("w")
    trial.invalidate(["m"])
    assert [step["step"] for step in trial.plan()] == ["m", "r"]
    assert hands.status() == before
    hands.complete("r")
    assert hands.state == "complete"


def test_the_end_of_a_block_waits_for_looks_too(
    hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory's last part is made, and its reader has yet to start: nobody may close now."""
    hands.merge(step("m", "src", "d/1"), step("r", "one", "out", "d/"))
    look, quiet = Storage.quick_fingerprint, []

    def looking(storage: Storage, key: str, path: str, *rest: Any) -> str | None:
        if key == "d/":
            quiet.append(hands.scheduler.wait(None, 0))
        return look(storage, key, path, *rest)

    monkeypatch.setattr(Storage, "quick_fingerprint", looking)
    hands.complete("m")
    assert quiet == [False]
    assert hands.runs == ["r"]


def test_no_step_starts_after_close(hands: Hands) -> None:
    hands.merge(step("r", "one", "out", "outside"))
    hands.scheduler.close()
    path = hands.put("outside")
    hands.scheduler.loop.files_changed({str(path)})
    assert hands.runs == []


@pytest.mark.parametrize("call", ["expire", "merge"])
def test_calls_after_a_look_that_failed_look_again(
    hands: Hands, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands.merge(step("m", "src", "d/1"), step("r", "one", "out", "d/"), step("o", "src", "other"))
    hands.complete("o")
    look = Storage.quick_fingerprint

    def broken(storage: Storage, key: str, path: str, *rest: Any) -> str | None:
        if key == "d/":
            raise StorageError("d/: can't be examined")
        return look(storage, key, path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "quick_fingerprint", broken)
        hands.complete("m")
        assert hands.state == "halted"
    if call == "expire":
        hands.scheduler.expire("w", ["o"])
        hands.complete("o")
    else:
        hands.merge(step("n", "src", "another"))
        hands.complete("n")
    assert hands.runs == ["r"]


def test_an_output_made_while_its_reader_is_merged_is_seen(
    hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands.merge(step("m", "src", "t/"))
    look = Storage.quick_fingerprint
    ended: list[str] = []

    def looking(storage: Storage, key: str, path: str, *rest: Any) -> str | None:
        found = look(storage, key, path, *rest)
        if key == "t/part" and not ended:
            ended.append(key)
            hands.complete("m")
        return found

    monkeypatch.setattr(Storage, "quick_fingerprint", looking)
    hands.merge(step("r", "one", "out", "t/part"))
    assert hands.runs == ["r"]


def test_a_file_that_comes_while_a_call_is_prepared_is_seen(
    hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watcher may have told of it before the key was known."""
    monkeypatch.setattr(scheduler_module, "STALE_AFTER_SECONDS", -1)
    look = Storage.quick_fingerprint
    put: list[Path] = []

    def looking(storage: Storage, key: str, path: str, *rest: Any) -> str | None:
        found = look(storage, key, path, *rest)
        if key == "outside" and not put:
            put.append(hands.put("outside"))
        return found

    monkeypatch.setattr(Storage, "quick_fingerprint", looking)
    hands.merge(step("r", "one", "out", "outside"))
    assert hands.runs == ["r"]


def test_a_file_that_vanishes_in_a_directory_takes_nothing_but_itself(
    hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands.put("d/")
    hands.merge(step("r", "one", "out", "d/"))
    hands.complete("r")
    fingerprint, times = Storage.fingerprint, []

    def fading(storage: Storage, key: str, path: str, *rest: Any) -> Any:
        times.append(key)
        return None if len(times) < 3 else fingerprint(storage, key, path, *rest)

    monkeypatch.setattr(Storage, "fingerprint", fading)
    (hands.put("d/").parent / "new").write_text("x")
    hands.scheduler.loop.files_changed({hands.storage.path("w", "d/")})
    assert hands.reasons() == {"r": "input changed: d/"}


def test_a_workflow_being_deleted_takes_no_calls(hands: Hands) -> None:
    hands.merge(step("s", "src", "k"))
    refused: list[str] = []
    cancel = hands.executor.cancel

    def slow(task_id: str) -> None:
        with pytest.raises(InvalidInput, match="it is being deleted") as refusal:
            hands.scheduler.run("w")
        refused.append(str(refusal.value))
        with pytest.raises(InvalidInput, match="it is being deleted") as refusal:
            hands.merge(step("t", "src", "t"))
        refused.append(str(refusal.value))
        cancel(task_id)

    hands.executor.cancel = slow  # type: ignore[method-assign]
    hands.scheduler.delete("w", data=True)
    assert len(refused) == 2
    assert hands.scheduler.workflows() == {}
    with pytest.raises(InvalidInput, match="it doesn't exist"):
        hands.scheduler.run("w")


def test_unwritten_changes_of_a_deleted_workflow_are_forgotten(
    hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands.put("outside", "1")
    hands.merge(step("r", "one", "out", "outside"), step("s", "src", "k"))
    save, wait = Database.save, waiting.wait_until_quiet

    def full(*_: object) -> None:
        raise DatabaseError("the disk is full")

    def told_of_a_file(*arguments: Any) -> bool:
        monkeypatch.setattr(Database, "save", full)
        hands.scheduler.loop.files_changed({str(hands.put("outside", "2, longer"))})
        return wait(*arguments)

    monkeypatch.setattr("gaia_local.engine.scheduler.wait_until_quiet", told_of_a_file)
    hands.scheduler.delete("w", data=True)
    monkeypatch.setattr(Database, "save", save)
    hands.command(SRC)
    hands.merge(step("s", "src", "k"))
    assert list(hands.database.keys("w")) == []
    assert [event["event"] for event in hands.scheduler.events("w")] == []


def test_files_are_looked_at_even_when_the_decision_cannot_be_written(
    hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands.merge(step("a", "src", "d/a"), step("c", "src", "other"), step("r", "one", "out", "d/"))

    def full(*_: object) -> None:
        raise DatabaseError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Database, "save", full)
        hands.complete("a")
    assert hands.runs == ["c"]
    hands.complete("c")  # this can be written, and the earlier ends with it
    assert hands.runs == ["r"]


def test_a_call_whose_look_failed_leaves_the_files_watched(
    hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands.put("src", "1")
    hands.merge(step("r", "one", "out", "src"))
    hands.complete("r")

    def broken(*_: object) -> str:
        raise StorageError("src: can't be examined")

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "quick_fingerprint", broken)
        with pytest.raises(StorageError):
            hands.scheduler.expire("w", [])
    hands.scheduler.loop.files_changed({str(hands.put("src", "2, longer"))})
    assert hands.reasons() == {"r": "input changed: src"}


def test_an_output_that_cannot_be_looked_at_keeps_nobody_from_a_dead_engines_root(
    hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands.merge(step("s", "src", "k"))
    hands.database.close()

    def broken(*_: object) -> str:
        raise StorageError("k: can't be examined")

    database = Database(hands.storage.root / "gaia.db")
    with monkeypatch.context() as patch:
        patch.setattr(Storage, "quick_fingerprint", broken)
        recover(database, hands.storage)
    assert database.keys("w")["k"].kind is KeyKind.EXPIRED
    database.close()
    hands._closed = True
