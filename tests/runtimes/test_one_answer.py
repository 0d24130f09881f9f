"""One script, one answer: as a process or in a container, with copies or mounts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from gaia_local import Gaia
from support.containers import derived

Answer = tuple[str, str]
"""The state, and the output's text or the failure's message, without the tree's own path."""


class Way(NamedTuple):
    """A way to run a Step."""

    runtime: str
    inputs: str = "copy"
    out: str = "/out"

    def __str__(self) -> str:
        return f"{self.runtime}, {self.inputs}, {self.out}"


CONTAINERS = [
    Way("docker", inputs, out) for inputs in ("copy", "mount") for out in ("/out", "/full")
]
WAYS = [Way("process"), *CONTAINERS]


@pytest.fixture(scope="module")
def image(docker_image: str) -> Iterator[str]:
    """An image with a world-writable `/full` that holds a file."""
    with derived(docker_image, "mkdir /full; echo image > /full/own; chmod 777 /full") as image:
        yield image


class Trial:
    """Runs scripts in a root of its own; `put` and `link` make inputs before."""

    def __init__(self, root: Path, image: str, way: Way) -> None:
        self.image, self.way = image, way
        self.gaia = Gaia(
            {
                "root": root,
                "runtime": way.runtime,
                "watch": False,
                "docker": {"inputs": way.inputs, "network": "none"},
            }
        )
        self.name = "w"

    def path(self, key: str) -> Path:
        path = self.gaia.path(self.name, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def run(
        self, script: str, inputs: Mapping[str, str], outputs: Mapping[str, str] | None = None
    ) -> Answer:
        """OUT in a script is the outputs' directory; `outputs`, `inputs` map names."""
        made = outputs or {"x": "OUT/x"}
        command = {
            "name": "c",
            "image": self.image,
            "command": ["sh", "-ec", script.replace("OUT", self.way.out)],
            "inputs": {
                name: INTERNAL.get(name, f"/in/{name}").replace("OUT", self.way.out)
                for name in inputs
            },
            "outputs": {name: path.replace("OUT", self.way.out) for name, path in made.items()},
        }
        keys = {
            name: f"o:{name}/" if path.endswith("/") else f"o:{name}" for name, path in made.items()
        }
        step = {"name": "s", "command": "c", "inputs": dict(inputs), "outputs": keys}
        self.gaia.upload(self.name, {}, [command], [step])
        state = self.gaia.wait(self.name, 60)["state"]
        if state != "complete":
            (failure,) = self.gaia.failures(self.name)
            tree = str(
                self.gaia._config.root
                / "staging"
                / str(self.gaia.attempt(self.name, "s")["task"])
                / "tree"
            )
            return state, str(failure["message"]).replace(tree, "").replace(self.way.out, "OUT")
        path = self.gaia.path(self.name, keys["x"])
        assert not path.is_symlink()
        return state, path.read_text() if path.is_file() else ",".join(sorted(os.listdir(path)))


INTERNAL = {"d": "/in/d/", "inner": "/in/d/a", "nested": "/made/y/in", "beside": "OUT/in"}


@pytest.fixture(params=WAYS, ids=str)
def trial(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Trial]:
    image = request.getfixturevalue("image") if request.param.runtime == "docker" else "none"
    trial = Trial(tmp_path / "root", image, request.param)
    yield trial
    trial.gaia.close(wait=False)


# ---------------------------------------------------------------------------------- links in inputs

LINK = "-> "
LINKS = {
    "none": {"l": "far"},
    "inside": {"sub/real": "far", "l": "-> sub/real"},
    "up and inside": {"l": "far", "sub/l": "-> ../l"},
    "out": {"l": "-> ../far/x"},
    "deep out": {"l": "far", "sub/l": "-> ../../far/x"},
    "absolute": {"l": "-> FAR/x"},
    "absolute, inside": {"sub/real": "far", "l": "-> TOP/sub/real"},
    "to a directory": {"l": "far", "far": "-> ../far"},
    "chain": {"l": "-> sub/l", "sub/l": "-> FAR/x"},
    "odd name": {"l": "far", "a\n -é": "-> ../far/x"},
    "loop": {"l": "far", "a": "-> b", "b": "-> a"},
    "dangling": {"l": "far", "no": "-> /nowhere"},
}
"""The entries of an input directory beside a directory `far`: contents, or targets of links."""


def sow(top: Path, far: Path, entries: Mapping[str, str]) -> None:
    for name, content in entries.items():
        place = top / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if content.startswith(LINK):
            place.symlink_to(
                content.removeprefix(LINK).replace("FAR", str(far)).replace("TOP", str(top))
            )
        elif name.endswith("/"):
            place.mkdir()
        else:
            place.write_text(content)


def far_and_top(trial: Trial) -> tuple[Path, Path]:
    far, top = trial.path("b:far"), trial.path("b:d/")
    (far / "sub").mkdir(parents=True)
    (far / "x").write_text("far")
    return far, top


IN_MOUNTED_OUT = pytest.mark.parametrize(
    "trial", [way for way in WAYS if way.out == "/out"], ids=str, indirect=True
)


@IN_MOUNTED_OUT
@pytest.mark.parametrize(
    ("links", "at_a_link"),
    [*((links, False) for links in LINKS), ("inside", True), ("out", True), ("deep out", True)],
)
def test_links_in_an_input_directory(trial: Trial, links: str, at_a_link: bool) -> None:
    """Their targets are there, in each runtime; also if the key itself is a link."""
    far, top = far_and_top(trial)
    if at_a_link:
        top.symlink_to("real")
        top = trial.path("b:real")
    sow(top, far, LINKS[links])
    script = (
        "find -L /in/d -type f -exec printf x ';' 2> /dev/null | wc -c > OUT/x; "
        "cat /in/d/l >> OUT/x"
    )
    count = sum(path.is_file() for path in top.rglob("*")) + links.startswith("to a")
    assert trial.run(script, {"d": "b:d/"}) == ("complete", f"{count}\nfar")


NESTED = {
    "a file": ({"a": "own"}, ""),
    "a file that a link leads to": ({"a": "own", "real": "-> a"}, "own"),
    "a link": ({"real": "own", "a": "-> real"}, "own"),
    "a link out": ({"a": "-> ../far/x"}, ""),
    "a directory": ({"a/": ""}, ""),
    "nothing": ({}, ""),
    "a file beside a link out": ({"a": "own", "real": "-> ../far/x"}, "far"),
}
"""The entries at another input's place, and the content of `real` then."""


@IN_MOUNTED_OUT
@pytest.mark.parametrize("there", NESTED)
def test_an_input_in_another(trial: Trial, there: str) -> None:
    """It replaces the entries at its place, and nothing else."""
    entries, real = NESTED[there]
    far, top = far_and_top(trial)
    sow(top, far, {"z": "z ", **entries})
    trial.path("b:inner").write_text("inner ")
    script = "cat /in/d/a /in/d/z > OUT/x; ! test -e /in/d/real || cat /in/d/real >> OUT/x"
    assert trial.run(script, {"d": "b:d/", "inner": "b:inner"}) == ("complete", f"inner z {real}")


# ----------------------------------------------------------------------------- outputs of all kinds

NOT_MADE = "output 'o:x' was not made: there is "
OUTPUTS: dict[str, tuple[str, Answer]] = {
    "a file": ("echo 1 > x", ("complete", "1\n")),
    "nothing": ("true", ("error", NOT_MADE + "nothing at OUT/x")),
    "a directory": (
        "mkdir x; echo 1 > x/y",
        (
            "error",
            "output 'o:x' was not made: OUT/x is a directory; "
            "end key and path with '/' to store one",
        ),
    ),
    "a FIFO": (
        "mkfifo x",
        (
            "error",
            "OUT/x is a FIFO, which can't be stored; remove it, or leave it out of the output",
        ),
    ),
    "a device": (
        "mknod x c 1 3",
        (
            "error",
            "OUT/x is a device, which can't be stored; remove it, or leave it out of the output",
        ),
    ),
    "a link to a file": ("echo 1 > y; ln -s y x", ("complete", "1\n")),
    "an absolute link": ("echo 1 > y; ln -s $PWD/y x", ("complete", "1\n")),
    "a chain": ("echo 1 > y; ln -s y z; ln -s ./z x", ("complete", "1\n")),
    "a link through a link": (
        "mkdir -p v/w; echo 1 > v/y; echo 2 > y; ln -s v/w d; ln -s d/../y x",
        ("complete", "1\n"),
    ),
    "a link out and back": ("echo 1 > y; ln -s ../${PWD##*/}/y x", ("complete", "1\n")),
    "a link with an odd name": ("echo 1 > ' é\n'; ln -s ' é\n' x", ("complete", "1\n")),
    "a link to a FIFO": (
        "mkfifo y; ln -s y x",
        (
            "error",
            "OUT/y is a FIFO, which can't be stored; remove it, or leave it out of the output",
        ),
    ),
    "a link to a directory": (
        "mkdir y; ln -s y x",
        (
            "error",
            "output 'o:x' was not made: OUT/x is a directory; "
            "end key and path with '/' to store one",
        ),
    ),
    "a dangling link": (
        "ln -s y x",
        ("error", NOT_MADE + "a link to y, where the Task made nothing, at OUT/x"),
    ),
    "a link into a file": (
        "echo 1 > y; ln -s y/z x",
        ("error", NOT_MADE + "a link to y/z, where the Task made nothing, at OUT/x"),
    ),
    "a link elsewhere": (
        "ln -s /etc/passwd x",
        ("error", NOT_MADE + "a link to /etc/passwd, where the Task made nothing, at OUT/x"),
    ),
    "a link to itself": ("ln -s x x", ("error", "OUT/x can't be stored: it is a loop of links")),
    "a loop": ("ln -s y x; ln -s x y", ("error", "OUT/x can't be stored: it is a loop of links")),
    "a link to an input": ("ln -s /in/a x", ("complete", "in a")),
    "a chain to an input": ("ln -s /in/a y; ln -s y x", ("complete", "in a")),
    "a link to a file of an input": ("ln -s /in/d/f x", ("complete", "in d")),
    "a link to a link of an input": ("ln -s /in/d/l x", ("complete", "in d")),
    "a link to an input's directory": (
        "ln -s /in/d x",
        (
            "error",
            "output 'o:x' was not made: OUT/x is a directory; "
            "end key and path with '/' to store one",
        ),
    ),
    "a link to what an input hasn't": (
        "ln -s /in/d/no x",
        ("error", NOT_MADE + "a link to /in/d/no, where the Task made nothing, at OUT/x"),
    ),
}


def fill(trial: Trial) -> dict[str, str]:
    """Makes two inputs, a file and a directory, and answers their keys."""
    trial.path("b:a").write_text("in a")
    top = trial.path("b:d/")
    (top / "sub/deep").mkdir(parents=True)
    (top / "f").write_text("in d")
    (top / "sub/f").write_text("in sub")
    (top / "l").symlink_to("f")
    (top / "deep").symlink_to("sub/deep")
    return {"a": "b:a", "d": "b:d/"}


@pytest.mark.parametrize("left", OUTPUTS)
def test_outputs_of_any_kind_have_the_same_answer(trial: Trial, left: str) -> None:
    script, answer = OUTPUTS[left]
    # Of which the engine tells nothing.
    if (left, trial.way.out) == (
        "a link into a file",
        "/full",
    ):
        answer = "error", NOT_MADE + "nothing at OUT/x"
    inputs = fill(trial)
    assert trial.run(f"x=OUT/x; cd ${{x%/x}}; {script}", inputs) == answer
    assert trial.path("b:a").read_text() == "in a"


@pytest.mark.parametrize("way", ["/in/d/deep/../f", "/in/d/sub/../f"])
def test_a_link_into_an_input_leads_to_what_the_program_saw_there(trial: Trial, way: str) -> None:
    outputs = {"x": "OUT/x", "said": ">"}
    state, text = trial.run(f"ln -s {way} OUT/x; cat OUT/x", fill(trial), outputs)
    assert (state, text) == ("complete", trial.path("o:said").read_text())


@pytest.mark.parametrize("trial", CONTAINERS, ids=str, indirect=True)
def test_a_key_that_is_an_input_twice(trial: Trial) -> None:
    """Once in an output directory, in which it is copied, and once in another input."""
    far, top = far_and_top(trial)
    sow(top, far, {"a": "own"})
    trial.path("b:twice").write_text("twice ")
    inputs = {"d": "b:d/", "inner": "b:twice", "nested": "b:twice"}
    script = "cat /in/d/a /made/y/in > OUT/x"
    assert trial.run(script, inputs, {"x": "OUT/x", "y": "/made/y/"}) == (
        "complete",
        "twice twice ",
    )


def test_a_link_to_an_input_that_lies_beside_it(trial: Trial) -> None:
    """If both are in a mounted directory, the input's own mount is at an empty file."""
    fill(trial)
    assert trial.run("ln -s in OUT/x", {"beside": "b:a"}) == ("complete", "in a")


# Two outputs each: OUT/x, and one in the directory that is always mounted.
BOTH = {
    "a link to the other": (
        "echo 1 > /made/y; ln -s /made/y OUT/x",
        "/made/y",
        ("complete", "1\n"),
    ),
    "links to one file": (
        "echo 1 > OUT/z; ln -s z OUT/x; ln -s OUT/z /made/y",
        "/made/y",
        ("complete", "1\n"),
    ),
    "from a mount and back": (
        "echo 1 > OUT/z; ln -s OUT/z /made/l; ln -s /made/l OUT/x; echo 2 > /made/y",
        "/made/y",
        ("complete", "1\n"),
    ),
    "a directory that is a link to an input": (
        "rmdir /made/y; ln -s /in/d /made/y; echo 1 > OUT/x",
        "/made/y/",
        ("complete", "1\n"),
    ),
}


@pytest.mark.parametrize("trial", CONTAINERS, ids=str, indirect=True)
@pytest.mark.parametrize("left", BOTH)
def test_outputs_that_lead_to_each_other(trial: Trial, left: str) -> None:
    script, other, answer = BOTH[left]
    assert trial.run(script, fill(trial), {"x": "OUT/x", "other": other}) == answer
    if other.endswith("/"):
        made = trial.path("o:other/")
        assert (made / "sub/f").read_text() == "in sub"
        assert (made / "l").read_text() == "in d"


@pytest.mark.parametrize("trial", CONTAINERS, ids=str, indirect=True)
def test_an_output_that_is_a_link_to_the_directory_of_inputs(trial: Trial) -> None:
    """Of which one is copied in any case, so that the other one's mount lies on an empty file."""
    far, top = far_and_top(trial)
    sow(top, far, LINKS["out"])
    trial.path("b:a").write_text("in a")
    script = "rmdir /made/y; ln -s /in /made/y; echo 1 > OUT/x"
    said = trial.run(script, {"a": "b:a", "d": "b:d/"}, {"x": "OUT/x", "y": "/made/y/"})
    assert said == ("complete", "1\n")
    made = trial.path("o:y/")
    assert ((made / "a").read_text(), (made / "d/l").read_text()) == ("in a", "far")


@pytest.mark.parametrize(
    "trial", [way for way in CONTAINERS if way.out == "/full"], ids=str, indirect=True
)
def test_a_directory_of_the_container_is_no_output(trial: Trial) -> None:
    """Not even the part of it that another output has led to."""
    script = (
        "mkdir OUT/d; echo 1 > OUT/d/f; echo 2 > OUT/d/g; "
        "rmdir /made/y; ln -s OUT/d /made/y; ln -s d/f OUT/x"
    )
    said = (
        "error",
        "output 'o:y/' was not made: "
        "there is a link to OUT/d, where the Task made nothing, at /made/y/",
    )
    state, message = trial.run(script, {}, {"x": "OUT/x", "y": "/made/y/"})
    assert (state, message.split("; ")[-1]) == said
