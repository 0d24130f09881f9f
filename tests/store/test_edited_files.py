"""Random edits of real files, also while Steps run: in the end all is as if run from scratch.

The edits are those that are hard to detect: in place or by rename, with size and time of
modification kept, the same content written again, through links that lead out of the store, entries
of directories that come and go. The programs are real ones, too, and their expected outputs are
computed here from the files as they are at the end.
"""

from __future__ import annotations

import contextlib
import os
import random
import tempfile
import time
from pathlib import Path

import pytest

from gaia_local import Gaia
from gaia_local.errors import GaiaError

HISTORIES = int(os.environ.get("GAIA_LOCAL_EDITS", "300"))
FIRST = int(os.environ.get("GAIA_LOCAL_FIRST_SEED", "0"))

# Prints the path of each file and its content, links followed.
SHOW = 'cd "$0" && for f in $(find -L . -type f | sort); do echo "$f"; cat "$f"; done'
COMMANDS = [
    {
        "name": "list",
        "image": "i",
        "command": [
            "sh",
            "-c",
            f"cat /in/a > /out/x && (sh -c '{SHOW}' /in/d) >> /out/x && ln /out/x /out/y",
        ],
        "inputs": {"a": "/in/a", "d": "/in/d/"},
        "outputs": {"x": "/out/x", "y": "/out/y"},
    },
    {
        "name": "split",
        "image": "i",
        "command": [
            "sh",
            "-c",
            "cp /in/l /parts/one && cat /in/a /in/l > /parts/two && "
            "mkdir /parts/s && date > /parts/s/made",
        ],
        "inputs": {"a": "/in/a", "l": "/in/l"},
        "outputs": {"parts": "/parts/"},
    },
    {
        "name": "join",
        "image": "i",
        "command": ["sh", "-c", "cat /in/x /in/y /in/p/one /in/p/two > /out/z"],
        "inputs": {"x": "/in/x", "y": "/in/y", "p": "/in/p/"},
        "outputs": {"z": "/out/z"},
    },
]
STEPS = [
    {
        "name": "lists",
        "command": "list",
        "inputs": {"a": "in:a", "d": "in:d/"},
        "outputs": {"x": "b:x", "y": "b:y"},
    },
    {
        "name": "splits",
        "command": "split",
        "inputs": {"a": "in:a", "l": "in:l"},
        "outputs": {"parts": "b:parts/"},
    },
    {
        "name": "joins",
        "command": "join",
        "inputs": {"x": "b:x", "y": "b:y", "p": "b:parts/"},
        "outputs": {"z": "b:z"},
    },
]


class Edits:
    """One workflow, and one user who edits its files.

    The pauses wait for nothing: they make the edits fall on any moment of a run.
    """

    def __init__(self, top: Path, dice: random.Random) -> None:
        self.top, self.dice = top, dice
        self.store = top / "root/storage/w"
        self.outside = top / "outside"
        self.mine: dict[str, str] = {}
        """Outputs that the user replaced, with their contents."""
        for directory in (self.store / "in/d/deep", self.outside / "tree"):
            directory.mkdir(parents=True)
        for place in self.places():
            place.write_text(self.content())
        (self.store / "in/d/link").symlink_to(self.outside / "one")
        (self.store / "in/d/linked").symlink_to(self.outside / "tree")
        (self.store / "in/l").symlink_to(self.outside / "two")
        self.gaia = Gaia(
            {"root": top / "root", "runtime": "process", "workers": 2, "watch": dice.random() < 0.5}
        )
        self.gaia.upload("w", {}, COMMANDS, STEPS)

    def places(self) -> list[Path]:
        """The files that no Step makes."""
        store, outside = self.store / "in", self.outside
        return [
            store / "a",
            store / "d/1",
            store / "d/deep/2",
            outside / "one",
            outside / "two",
            outside / "tree/3",
        ]

    def content(self) -> str:
        return self.dice.choice(("red", "sky", "tan")) * 40 + "\n"

    def edit(self) -> None:
        dice = self.dice
        place = dice.choice(self.places())
        doing = dice.randrange(10)
        if doing < 4:
            self.write(place, self.content(), keeps_time=doing % 2 == 0, renames=doing < 2)
        elif doing == 4 and place.exists():  # saved again, in two pieces
            text = place.read_text()
            with place.open("w") as writer:
                writer.write(text[:60])
                writer.flush()
                time.sleep(dice.random() / 200)
                writer.write(text[60:])
        elif doing == 5:
            extra = self.store / "in/d" / dice.choice(("extra", "deep/extra"))
            extra.unlink() if extra.exists() else extra.write_text(self.content())
        elif doing == 6:  # a link is turned
            link = self.store / "in/d/link"
            new = link.with_name("new")
            new.symlink_to(self.outside / dice.choice(("one", "two")))
            new.rename(link)
        elif doing == 7:
            made = (
                self.store
                / "b"
                / dice.choice(("x", "y", "z", "parts/one", "parts/two", "parts/s/made"))
            )
            with contextlib.suppress(FileNotFoundError):
                made.unlink()
        elif doing == 8:
            self.gaia.run("w")
        else:
            time.sleep(dice.random() / 20)

    def write(self, place: Path, text: str, keeps_time: bool, renames: bool) -> None:
        status = place.stat() if place.exists() else None
        target = place.with_name("aside") if renames else place
        target.write_text(text)
        if keeps_time and status is not None:
            os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
        if renames:
            target.rename(place)

    def expected(self) -> dict[str, str]:
        """The outputs of a run from scratch."""
        store = self.store
        a, d = (store / "in/a").read_text(), store / "in/d"
        found = sorted(f"./{path.relative_to(d)}" for path in self.below(d))
        listed = a + "".join(f"{name}\n{(d / name).read_text()}" for name in found)
        linked = (store / "in/l").read_text()
        return {
            "x": listed,
            "y": listed,
            "parts/one": linked,
            "parts/two": a + linked,
            "z": listed + listed + linked + a + linked,
        }

    def below(self, directory: Path) -> list[Path]:
        found: list[Path] = []
        for path in directory.iterdir():
            found += self.below(path) if path.is_dir() else [path]
        return found

    def go(self) -> None:
        for _ in range(self.dice.randint(2, 7)):
            self.edit()
            if self.dice.random() < 0.3:
                self.gaia.wait("w", timeout=30)
        # `run` finds changes that the watcher can't see, once no Step runs.
        for _ in range(2):
            assert self.gaia.wait("w", timeout=30)
            self.gaia.run("w")
        assert self.gaia.wait("w", timeout=30)
        assert self.gaia.status("w")["status"]["state"] == "complete", self.gaia.failures("w")
        for name, text in self.expected().items():
            assert (self.store / "b" / name).read_text() == text, (
                f"b/{name} is complete, and not what its inputs make"
            )
        assert (self.store / "b/parts/s/made").exists()


@pytest.mark.timeout(0 if "GAIA_LOCAL_EDITS" in os.environ else 600)
def test_complete_files_equal_those_of_a_run_from_scratch() -> None:
    for seed in range(FIRST, FIRST + HISTORIES):
        with tempfile.TemporaryDirectory() as top:
            history = Edits(Path(top), random.Random(seed))
            try:
                history.go()
            except (AssertionError, GaiaError) as error:
                raise AssertionError(f"seed {seed}: {error}") from error
            finally:
                history.gaia.close(wait=False)
