"""Watched directory trees: whatever happened, each change is told, and the next one will be."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gaia_local.model.names import OWN
from gaia_local.store.inotify_trees import InotifyTrees
from gaia_local.store.watched_trees import ObservedTrees, Trees
from gaia_local.store.watcher import make_trees

WaitUntil = Callable[..., None]
# On Linux watchdog's own upper layer warns of a new directory that it sees twice; as an error that
# ends its thread.
KINDS = (
    "inotify",
    pytest.param(
        "observer", marks=pytest.mark.filterwarnings("ignore:Callback with id:RuntimeWarning")
    ),
)


class Ears:
    """What was heard; `unsure` keeps the errors."""

    def __init__(self) -> None:
        self.heard: set[str] = set()
        self.unsure: list[OSError | None] = []
        self._lock = threading.Lock()

    def hear(self, path: str) -> None:
        with self._lock:
            self.heard.add(path)

    def heard_of(self, path: Path) -> bool:
        with self._lock:
            return str(path) in self.heard

    def heard_around(self, path: Path) -> bool:
        """Of the path, or of a directory that it lies in."""
        with self._lock:
            return any(str(place) in self.heard for place in (path, *path.parents))

    def clear(self) -> None:
        with self._lock:
            self.heard.clear()


@pytest.fixture
def top(tmp_path: Path) -> Path:
    made = tmp_path / "top"
    made.mkdir()
    return made


@contextlib.contextmanager
def watched(
    *tops: Path, kind: str = "inotify", recursive: bool = True
) -> Iterator[tuple[Ears, Trees]]:
    ears = Ears()
    inotify = kind == "inotify"
    trees: Trees = (
        InotifyTrees(ears.hear, ears.unsure.append, recursive)
        if inotify
        else ObservedTrees(ears.hear, recursive)
    )
    with contextlib.closing(trees):
        for top in tops:
            trees.watch(str(top))
        yield ears, trees


@pytest.mark.parametrize("kind", KINDS)
def test_changes_are_reported(top: Path, wait_until: WaitUntil, kind: str) -> None:
    (top / "old" / "deep").mkdir(parents=True)
    (top / "old" / "deep" / "file").write_text("1")
    with watched(top, kind=kind) as (ears, _):
        (top / "new").write_text("1")
        wait_until(lambda: ears.heard_of(top / "new"))
        with (top / "old" / "deep" / "file").open("a") as writer:
            writer.write("2")
            writer.flush()  # and not closed
            wait_until(lambda: ears.heard_of(top / "old" / "deep" / "file"))
        (top / "a" / "b" / "c").mkdir(parents=True)
        (top / "a" / "b" / "c" / "file").write_text("1")
        wait_until(lambda: ears.heard_of(top / "a" / "b" / "c" / "file"))
        (top / "new").rename(top / "a" / "moved")
        wait_until(lambda: ears.heard_of(top / "a" / "moved"))
        (top / "a" / "b").rename(top / "b")
        wait_until(lambda: ears.heard_of(top / "b"))
        (top / "b" / "c" / "file").unlink()
        wait_until(lambda: ears.heard_of(top / "b" / "c" / "file"))


@pytest.mark.parametrize("kind", KINDS)
def test_existing_files_are_not_reported(top: Path, wait_until: WaitUntil, kind: str) -> None:
    (top / "old" / "deep").mkdir(parents=True)
    (top / "old" / "deep" / "file").write_text("1")
    with watched(top, kind=kind) as (ears, _):
        (top / "new").write_text("1")
        wait_until(lambda: ears.heard_of(top / "new"))
        assert ears.heard == {str(top / "new")}


@pytest.mark.parametrize("kind", KINDS)
def test_the_engines_own_files_are_not_told(top: Path, wait_until: WaitUntil, kind: str) -> None:
    with watched(top, kind=kind) as (ears, _):
        (top / f"{OWN}-x" / "deep").mkdir(parents=True)
        (top / f"{OWN}-x" / "deep" / "file").write_text("1")
        (top / f"{OWN}-x" / "deep" / "file").rename(top / "made")
        wait_until(lambda: ears.heard_of(top / "made"))
        assert not [path for path in ears.heard if OWN in path]


@pytest.mark.parametrize("kind", KINDS)
def test_one_level_only(top: Path, wait_until: WaitUntil, kind: str) -> None:
    (top / "old").mkdir()
    with watched(top, kind=kind, recursive=False) as (ears, _):
        (top / "old" / "file").write_text("1")
        (top / "fresh").mkdir()
        wait_until(lambda: ears.heard_of(top / "fresh"))
        (top / "fresh" / "file").write_text("1")
        (top / "last").write_text("1")
        wait_until(lambda: ears.heard_of(top / "last"))
        assert not ears.heard_of(top / "old" / "file")
        assert not ears.heard_of(top / "fresh" / "file")


@pytest.mark.parametrize("kind", KINDS)
def test_a_tree_in_a_tree_and_one_that_is_let_go(
    top: Path, wait_until: WaitUntil, kind: str
) -> None:
    inner = top / "inner"
    (inner / "deep").mkdir(parents=True)
    with watched(top, inner, kind=kind) as (ears, trees):
        (inner / "deep" / "one").write_text("1")
        wait_until(lambda: ears.heard_of(inner / "deep" / "one"))
        trees.unwatch(str(top))
        trees.unwatch(str(top))
        ears.clear()
        (top / "outside").write_text("1")
        (inner / "deep" / "two").write_text("1")
        wait_until(lambda: ears.heard_of(inner / "deep" / "two"))
        assert not ears.heard_of(top / "outside")


def test_warnings_as_errors_end_nothing(top: Path, wait_until: WaitUntil) -> None:
    with warnings.catch_warnings(), watched(top) as (ears, _):
        warnings.simplefilter("error")
        for number in range(30):
            path = top / str(number) / "a" / "b" / "c"
            path.mkdir(parents=True)
            (path / "file").write_text("1")
            wait_until(lambda path=path: ears.heard_of(path / "file"))


def test_a_link_is_not_followed_but_the_top_may_be_one(
    top: Path, tmp_path: Path, wait_until: WaitUntil
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to(top)
    with watched(tmp_path / "link") as (ears, _):
        (top / "out").symlink_to(tmp_path / "other")
        wait_until(lambda: ears.heard_of(tmp_path / "link" / "out"))
        (tmp_path / "other" / "file").write_text("1")
        (top / "file").write_text("1")
        wait_until(lambda: ears.heard_of(tmp_path / "link" / "file"))
        assert not [path for path in ears.heard if "out/" in path or "other" in path]


def test_on_this_system_it_is_the_lower_layer(caplog: pytest.LogCaptureFixture) -> None:
    with contextlib.closing(make_trees(lambda path: None, lambda error: None, True)) as made:
        assert isinstance(made, InotifyTrees)
    assert caplog.messages == []


FALLBACK = """
import contextlib, sys, threading
from watchdog import observers
if sys.argv[2:]:  # the system's own Observer needs the layer that is changed
    import watchdog.observers.inotify_c as layer
    from watchdog.observers import polling
    observers.Observer = polling.PollingObserver
    exec(sys.argv[2])
from gaia_local.store import watched_trees, watcher
heard = {name: threading.Event() for name in ("new", "deep")}
def hear(path):
    for name, event in heard.items():
        if path.endswith(f"/{name}"):
            event.set()
with contextlib.closing(watcher.make_trees(hear, print, True)) as trees:
    assert isinstance(trees, watched_trees.ObservedTrees), trees
    trees.watch(sys.argv[1])
    for name in ("new", "old/deep"):
        open(f"{sys.argv[1]}/{name}", "w").close()
    assert all(event.wait(30) for event in heard.values())
"""
"""Changes in a directory are heard though watchdog's lower layer can't be used."""


def run_fallback(top: Path, *change: str, **environment: str) -> str:
    """Run the program above; answers the warnings."""
    (top / "old").mkdir()
    ran = subprocess.run(
        [sys.executable, "-c", FALLBACK, str(top), *change],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.stdout, ran.returncode) == ("", 0), ran.stderr
    return ran.stderr


@pytest.mark.parametrize(
    "change",
    [
        "sys.modules['watchdog.observers.inotify_c'] = None",
        "del layer.InotifyFD",
        "del layer.InotifyFD.add_callback",
        "layer.InotifyFD.__init__ = lambda self, path: None",
        "layer.InotifyFD.add_callback = lambda self, path, mask, callback: 0",
        "layer.InotifyFD.remove_callbacks = lambda self, watch, callback: None",
        "layer.InotifyFD.read_events = lambda self, *, event_buffer_size: []",
    ],
)
def test_another_lower_layer_is_replaced_by_the_observer(change: str, top: Path) -> None:
    assert "pip install 'watchdog>=7.1,<8'" in run_fallback(top, change)


@pytest.mark.registry
@pytest.mark.parametrize("version", ["5.0.3", "6.0.0"])
def test_older_versions_of_watchdog_serve_by_their_observer(
    version: str, top: Path, tmp_path: Path
) -> None:
    older = str(tmp_path / "older")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"),
            *("--target", older, f"watchdog=={version}"),
        ],
        check=True,
    )
    path = os.pathsep.join([older, *filter(None, sys.path)])
    assert "pip install 'watchdog>=7.1,<8'" in run_fallback(top, PYTHONPATH=path)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_reader_that_dies_is_told(
    top: Path, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where events of a newer watchdog lack an attribute."""
    with watched(top) as (ears, trees):
        assert isinstance(trees, InotifyTrees)
        monkeypatch.delattr("watchdog.observers.inotify_c.InotifyEvent.is_ignored")
        (top / "file").write_text("1")
        wait_until(lambda: not trees.inotify.is_alive())
        (error,) = ears.unsure
        assert error is not None
        assert error.strerror == "the thread that reads inotify has died"


def test_a_deep_tree(top: Path, wait_until: WaitUntil) -> None:
    deep, built = Path(*["d"] * 1500), top.parent / "built"
    built.mkdir()
    where = os.open(built, os.O_RDONLY)
    for name in deep.parts:  # its path is longer than one call may name
        os.mkdir(name, dir_fd=where)
        where, before = os.open(name, os.O_RDONLY, dir_fd=where), where
        os.close(before)
    os.close(where)
    with watched(top) as (ears, _):
        (built / "d").rename(top / "d")
        wait_until(lambda: ears.heard_of(top / "d" / "d"), 30)
        (top / "d" / "d" / "file").write_text("1")
        wait_until(lambda: ears.heard_of(top / "d" / "d" / "file"), 30)
        # Python's own removal is a recursion.
        subprocess.run(["rm", "-rf", str(top / "d" / "d")], check=True)
        (top / "last").write_text("1")
        wait_until(lambda: ears.heard_of(top / "last"), 30)


def test_a_lost_event_is_told(top: Path, wait_until: WaitUntil) -> None:
    """The kernel's queue is overrun while its reader is held up by the first event."""
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    held, first = threading.Event(), threading.Event()
    unsure = threading.Event()
    heard: set[str] = set()

    def hear(path: str) -> None:
        heard.add(path)
        first.set()
        held.wait()

    trees = InotifyTrees(hear, lambda error: unsure.set(), True)
    with contextlib.closing(trees):
        trees.watch(str(top))
        (top / "first").write_text("1")
        first.wait()
        for number in range(limit // 3 + 100):  # made, written, closed
            (top / str(number % 7)).write_text("1")
            (top / str(number % 7)).unlink()
        (top / "made meanwhile").mkdir()
        held.set()
        assert unsure.wait(30)
        (top / "made meanwhile" / "file").write_text("1")
        wait_until(lambda: str(top / "made meanwhile" / "file") in heard)


def test_a_top_that_cannot_be_watched(top: Path) -> None:
    with watched() as (_, trees):
        with pytest.raises(FileNotFoundError):
            trees.watch(str(top / "missing"))
        (top / "file").write_text("1")
        with pytest.raises(NotADirectoryError):
            trees.watch(str(top / "file"))


@pytest.mark.parametrize("seed", range(20))
def test_random_histories(top: Path, tmp_path: Path, wait_until: WaitUntil, seed: int) -> None:
    """All that differs at the end is told, or a directory around it; watching ended nowhere."""
    chance = random.Random(seed)
    away = tmp_path / "away"
    away.mkdir()

    def places() -> list[Path]:
        return [top, *(path for path in sorted(top.rglob("*")) if path.is_dir())]

    def happen() -> None:
        place = chance.choice(places())
        name = chance.choice("abcd")
        match chance.randrange(6):
            case 0:
                (place / name / chance.choice("abcd")).mkdir(parents=True, exist_ok=True)
            case 1:
                (place / f"{name}.file").write_text(str(chance.random()))
            case 2 if place != top:
                shutil.rmtree(place)
            case 3 if place != top:
                with contextlib.suppress(OSError):  # into itself, or upon a full one
                    place.rename(chance.choice(places()) / name)
            case 4 if place != top:
                place.rename(away / str(chance.random()))
            case 5:
                for entry in away.iterdir():
                    with contextlib.suppress(OSError):
                        entry.rename(place / name)
                    break

    for _ in range(20):
        happen()
    before = seen(top)
    with watched(top) as (ears, _):
        for _ in range(60):
            happen()
        after = seen(top)
        changed = {
            path for path in before.keys() | after.keys() if before.get(path) != after.get(path)
        }
        wait_until(lambda: all(ears.heard_around(path) for path in changed))
        probes = [place / "probe" for place in places()]
        for probe in probes:
            probe.write_text("1")
        wait_until(lambda: all(ears.heard_of(probe) for probe in probes))
        assert ears.unsure == []


def seen(top: Path) -> dict[Path, str]:
    """All that lies there."""
    return {path: path.read_text() if path.is_file() else "directory" for path in top.rglob("*")}
