"""`gaia-local shell`, in both runtimes, with a terminal and without; nothing of it is left."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gaia_local import Gaia
from gaia_local.runtimes.docker.address import find_address
from gaia_local.runtimes.docker.connection import connect
from gaia_local.store.ownership import owner
from support.command_line import on_a_terminal
from support.containers import full_image
from support.pages import document
from support.terminals import Terminal, converse
from support.waiting import wait_until

__all__ = ["full_image"]  # a fixture

JOIN: dict[str, Any] = {
    "name": "join",
    "image": "i",
    "command": ["sh", "-c", 'cat /in/one /in/dir/x; printf more >> /in/one; echo "$0"', "it's"],
    "inputs": {"one": "/in/one", "dir": "/in/dir/"},
    "outputs": {"out": "/out/made/joined", "tree": "/out/tree/"},
    "stdout": "/out/made/joined",
}
KEYS = {
    "inputs": {"one": "data:a", "dir": "data:tree/"},
    "outputs": {"out": "made:joined", "tree": "made:tree/"},
}
NESTED: dict[str, Any] = {
    "name": "nested",
    "image": "i",
    "command": ["sh", "-c", "cat /x/dir/one /x/dir/sub/two; echo made > /x/dir/out/made"],
    "inputs": {"dir": "/x/dir/", "one": "/x/dir/one", "two": "/x/dir/sub/two"},
    "outputs": {"out": "/x/dir/out/"},
}


@dataclass
class Place:
    """A root with a workflow, and calls of the program on it."""

    root: Path
    runtime: str
    image: str

    def gaia(self, **config: Any) -> Gaia:
        return Gaia({"root": self.root, "runtime": self.runtime, **config})

    def upload(self, *steps: dict[str, Any], **config: Any) -> None:
        """Upload a workflow of these Steps, with its inputs there, and wait for its end."""
        store = self.root / "storage" / "w" / "data"
        (store / "tree" / "sub").mkdir(parents=True)
        for name, text in {"a": "one\n", "tree/x": "x\n", "tree/one": "old\n"}.items():
            (store / name).write_text(text)
        commands = [{**JOIN, "image": self.image}, {**NESTED, "image": self.image}]
        with self.gaia(**config) as gaia:
            gaia.upload("w", {}, commands, list(steps))

    def words(self, *arguments: str) -> list[str]:
        return ["--root", str(self.root), "--runtime", self.runtime, "shell", "w", *arguments]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "gaia_local", *self.words(*arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self, step: str, command: str, *options: str, status: int = 0, given: str = ""
    ) -> tuple[str, str]:
        """Run a command in a Step; answers its stdout and stderr."""
        process = self.start(step, "--command", command, *options)
        out, err = process.communicate(given, timeout=60)
        assert process.returncode == status, out + err
        return out, err

    @property
    def script(self) -> str:
        """The script, as a command finds it."""
        return "/gaia-local/run-step.sh" if self.runtime == "docker" else "./run-step.sh"

    def inner(self, path: str) -> str:
        """An internal path, as a command finds it."""
        return path if self.runtime == "docker" else f"../tree{path}"

    def state(self) -> dict[str, Any]:
        """All files of the root, and all rows."""
        files = {
            str(path.relative_to(self.root)): path.read_bytes() if path.is_file() else None
            for path in sorted(self.root.rglob("*"))
            if not path.name.startswith("gaia.db") and not path.is_socket()
        }
        with contextlib.closing(sqlite3.connect(self.root / "gaia.db")) as database:
            return {**files, "rows": list(database.iterdump())}

    def processes(self) -> list[int]:
        """The processes that have this root in their environment."""
        found = []
        for directory in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"{self.root}/shells".encode() in (directory / "environ").read_bytes():
                    found.append(int(directory.name))
        return found

    def containers(self) -> list[str]:
        if self.runtime != "docker":
            return []
        with contextlib.closing(connect(find_address())) as client:
            found = client.containers(all=True, filters={"label": f"gaia-local.root={self.root}"})
        return [container["Id"] for container in found]


@pytest.fixture(params=["process", "docker"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A `Place`; fails the test that leaves a container or a process."""
    image = request.getfixturevalue("docker_image") if request.param == "docker" else "i"
    place = Place(tmp_path / "root", request.param, image)
    yield place
    left = place.containers(), place.processes(), list(place.root.glob("shells/*"))
    for container in left[0]:
        with contextlib.closing(connect(find_address())) as client:
            client.remove_container(container, force=True)
    for pid in left[1]:
        os.kill(pid, signal.SIGKILL)
    assert left == ([], [], [])


STEP = {"name": "join it", "command": "join", **KEYS}


def test_a_command_sees_what_the_step_sees_and_nothing_remains(place: Place) -> None:
    place.upload(STEP)
    before = place.state()
    out, err = place.run(
        "join it",
        f"{place.script} && cat {place.inner('/out/made/joined')} {place.inner('/in/one')}"
        f" && test -d {place.inner('/out/tree')} && echo >&2 told; cat; exit 7",
        given="typed",
        status=7,
    )
    assert out == "one\nx\nit's\none\nmoretyped"
    assert err == "told\n"
    assert place.state() == before


def test_inputs_are_private_copies_even_where_they_are_mounted(
    tmp_path: Path, docker_image: str
) -> None:
    place = Place(tmp_path / "root", "docker", docker_image)
    place.upload(STEP, docker={"inputs": "mount"})
    before = place.state()
    with place.gaia(docker={"inputs": "mount"}):
        place.run("join it", "echo mine > /in/one; rm -r /in/dir")
    assert place.state() == before


def test_nested_paths(place: Place) -> None:
    inputs = {"dir": "data:tree/", "one": "data:a", "two": "data:tree/x"}
    place.upload({"name": "n", "command": "nested", "inputs": inputs, "outputs": {"out": "o:o/"}})
    made = place.inner("/x/dir/out/made")
    out, _ = place.run("n", f"{place.script}; cat {made} {place.inner('/x/dir/x')}")
    assert out == "one\nx\nmade\nx\n"


def test_composite_and_array_steps_have_names_of_their_own(place: Place) -> None:
    array = {
        **STEP,
        "name": "many",
        "vars": {"N": ["a", "b"]},
        "outputs": {"out": "many:{{N}}", "tree": "many:tree-{{N}}/"},
    }
    place.upload(array)
    _, err = place.run("many", "true", status=2)
    assert "'many-a', 'many-b'" in err
    _, err = place.run("manyb", "true", status=2)
    assert "did you mean 'many-b'" in err
    assert place.run("many-b", f"cat {place.inner('/in/one')}")[0] == "one\n"


def test_missing_inputs_and_others_in_their_place(place: Place, tmp_path: Path) -> None:
    absent = {**STEP, "inputs": {**KEYS["inputs"], "one": "data:absent"}}
    place.upload(absent)
    _, err = place.run("join it", "true", status=2)
    assert "'data:absent'" in err and str(place.root / "storage/w/data/absent") in err
    (tmp_path / "other").write_text("other\n")
    other = f"data:absent={tmp_path}/other"
    assert place.run("join it", f"cat {place.inner('/in/one')}", "--input", other)[0] == "other\n"


def test_kept_files_stay_in_a_directory_of_the_users(place: Place, tmp_path: Path) -> None:
    place.upload(STEP)
    keep = tmp_path / "kept"
    place.run("join it", f"{place.script}; exit 3", "--keep", str(keep), status=3)
    assert (keep / "tree/out/made/joined").read_text() == "one\nx\nit's\n"
    assert (keep / "work/run-step.sh").exists()
    _, err = place.run("join it", "true", "--keep", str(keep), status=2)
    assert "isn't empty" in err
    _, err = place.run("nothing", "true", "--keep", str(tmp_path / "b"), status=2)
    assert not (tmp_path / "b").exists()


TORN: dict[str, Any] = {
    "name": "torn",
    "image": "i",
    "command": [
        "sh",
        "-c",
        "printf more >> /in/one; printf half > /out/made; mkfifo fifo; ln -s /in/one link; exit 3",
    ],
    "inputs": {"one": "/in/one"},
    "outputs": {"made": "/out/made"},
}


@pytest.mark.parametrize("inputs", ["copy", "mount"])
def test_the_files_that_the_last_failed_attempt_left(place: Place, inputs: str) -> None:
    place.upload(docker={"inputs": inputs})
    step = {"name": "s", "command": "torn", "inputs": {"one": "data:a"}, "outputs": {"made": "m"}}
    with place.gaia(docker={"inputs": inputs}, keep_failed=1) as gaia:
        gaia.command("w", [{**TORN, "image": place.image}])
        gaia.merge("w", [step])
        gaia.wait("w")
        wait_until(lambda: "kept" in gaia.failures("w")[0])
        (failure,) = gaia.failures("w")
    assert failure["exit_code"] == 3
    kept = Path(failure["kept"][0]["path"])
    before = place.state()
    (place.root / "storage/w/data/a").write_text("new\n")
    read, made = place.inner("/in/one"), place.inner("/out/made")
    words = f"cat {read} {made}; ls; rm {made}"
    mounted = place.runtime == "docker" and inputs == "mount"
    old = "new\nhalf" if mounted else "one\nmorehalf"
    assert place.run("s", words, "--as-left")[0] == f"{old}link\nrun-step.sh\n"
    other = place.root.with_name("other")
    other.write_text("other\n")
    given = ("--as-left", "--input", f"data:a={other}")
    assert place.run("s", f"cat {read}", *given)[0] == "other\n"
    assert place.run("s", f"cat {read}")[0] == "new\n"
    assert (kept / "tree/out/made").read_text() == "half"
    (place.root / "storage/w/data/a").write_text("one\n")
    assert place.state() == before


@pytest.mark.parametrize("link", ["../tree/in", "run-step.sh", "../kept.json"])
def test_links_that_an_attempt_left_lead_nowhere(tmp_path: Path, link: str) -> None:
    """What is staged over its files would else remove, and write, files of the user's."""
    place = Place(tmp_path / "root", "process", "i")
    place.upload()
    users = tmp_path / "users"
    users.mkdir()
    for name in ("one", "file"):
        (users / name).write_text("the user's")
    target = users if link.endswith("in") else users / "file"
    script = f"rm -rf {link}; ln -s {target} {link}; exit 3"
    command = {**TORN, "command": ["sh", "-c", f"cat /in/one; {script}"]}
    step = {"name": "s", "command": "torn", "inputs": {"one": "data:a"}, "outputs": {"made": "m"}}
    with place.gaia(keep_failed=1) as gaia:
        gaia.command("w", [command])
        gaia.merge("w", [step])
        gaia.wait("w")
        wait_until(lambda: "kept" in gaia.failures("w")[0])
    other = tmp_path / "other"
    other.write_text("other\n")
    refused = link.endswith("in")
    given = ("--as-left", "--input", f"data:a={other}")
    _, err = place.run("s", "true", *given, status=2 if refused else 0)
    assert ("a link" in err) == refused
    assert {path.name: path.read_text() for path in users.iterdir()} == dict.fromkeys(
        ("one", "file"), "the user's"
    )
    assert not (place.root / "shells").exists()


def test_a_step_whose_failed_attempts_are_not_kept(place: Place) -> None:
    place.upload(STEP)
    _, err = place.run("join it", "true", "--as-left", status=2)
    assert "no files of a failed attempt are kept" in err and "--keep-failed" in err


def test_a_step_that_runs_and_an_engine_beside(place: Place) -> None:
    """An engine starts, resumes, runs and ends while a shell is open; neither knows the other."""
    place.upload()
    shell = place.start("join it", "--command", "echo in; cat")
    out, err = shell.communicate(timeout=60)
    assert shell.returncode == 2, err  # there is no such Step yet
    slow = {**JOIN, "name": "slow", "image": place.image, "command": ["sleep", "100"]}
    with place.gaia() as gaia:
        gaia.command("w", [slow])
        gaia.merge("w", [{**STEP, "command": "slow"}])
        wait_until(lambda: gaia.step_states("w")["join it"]["state"] == "running")
        shell = place.start("join it", "--command", f"echo in; cat; cat {place.inner('/in/one')}")
        assert shell.stdout is not None
        assert shell.stdout.readline() == "in\n"
        gaia.halt("w")
    with place.gaia() as gaia:
        gaia.own()
        gaia.command("w", [{**slow, "command": ["true"]}])
        gaia.wait("w")
    told = json.loads(_call(place, "doctor", "--json").stdout)
    (leftovers,) = [check for check in told["checks"] if check["name"] == "leftovers"]
    assert [one for one in leftovers["facts"]["found"] if one["root"] == str(place.root)] == []
    assert json.loads(_call(place, "clean", "--json").stdout)["removed"] == []
    out, err = shell.communicate("still here\n", timeout=60)
    assert (shell.returncode, out) == (0, "still here\none\n"), err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_of_it(place: Place, number: signal.Signals, tmp_path: Path) -> None:
    place.upload(STEP)
    shell = place.start(
        "join it", "--keep", str(tmp_path / "kept"), "--command", "echo in; sleep 100 & sleep 100"
    )
    assert shell.stdout is not None
    assert shell.stdout.readline() == "in\n"
    shell.send_signal(number)
    shell.communicate(timeout=60)
    assert shell.returncode == 128 + number
    assert (tmp_path / "kept/tree/in/one").exists()
    assert not place.processes() and not place.containers()


def test_the_next_engine_doctor_and_clean_find_what_a_killed_one_left(place: Place) -> None:
    place.upload(STEP)
    for way in ("clean", "engine"):
        shell = place.start("join it", "--command", "echo in; exec sleep 100")
        assert shell.stdout is not None
        assert shell.stdout.readline() == "in\n"
        shell.kill()
        shell.wait()
        for stream in (shell.stdin, shell.stdout, shell.stderr):
            assert stream is not None
            stream.close()  # its program still has the other ends
        with place.gaia() as gaia:
            gaia.workflows()  # a reader sweeps nothing
            assert owner(place.root) is None
        told = json.loads(_call(place, "doctor", "--json").stdout)
        (leftovers,) = [check for check in told["checks"] if check["name"] == "leftovers"]
        found = [one for one in leftovers["facts"]["found"] if one["root"] == str(place.root)]
        kinds = {"process": ["process"], "docker": ["container", "staging"]}
        assert [one["kind"] for one in found] == kinds[place.runtime]
        if way == "clean":
            removed = json.loads(_call(place, "clean", "--json").stdout)["removed"]
            assert len(removed) == len(found)
        else:
            with place.gaia() as gaia:
                gaia.own()
            assert not list(place.root.glob("shells/*"))
            assert not place.processes()
            place.run("join it", "true")  # and the next shell finds the containers
        assert not place.containers() and not place.processes()
        assert not list(place.root.glob("shells/*"))


def test_a_container_that_is_killed_or_removed_from_outside(
    tmp_path: Path, docker_image: str
) -> None:
    place = Place(tmp_path / "root", "docker", docker_image)
    place.upload(STEP)
    for remove, status in ((False, 137), (True, 2)):
        shell = place.start("join it", "--command", "echo in; exec sleep 100")
        assert shell.stdout is not None
        assert shell.stdout.readline() == "in\n"
        (container,) = place.containers()
        with contextlib.closing(connect(find_address())) as client:
            if remove:
                client.remove_container(container, force=True)
            else:
                client.kill(container)
        _, err = shell.communicate(timeout=60)
        assert shell.returncode == status, err
    assert place.containers() == [] and not list(place.root.glob("shells/*"))


def test_a_shell_needs_a_terminal(place: Place) -> None:
    place.upload(STEP)
    shell = place.start("join it")
    _, err = shell.communicate("", timeout=60)
    assert shell.returncode == 2 and "--command" in err


def test_a_shell_on_a_terminal(place: Place) -> None:
    place.upload(STEP)
    before = place.state()
    # Once it has a prompt: the busybox in containers then asks for the cursor's place.
    prompt = "ready>" if place.runtime == "process" else "\x1b[6n"
    line = f"stty size; {place.script}; cat {place.inner('/out/made/joined')}; exit 5\n"
    seen = on_a_terminal(
        place.words("join it"),
        {"SHELL": "/bin/sh", "PS1": "ready> ", "ENV": ""},
        typed=(prompt, line),
        status=5,
    )
    assert "'join it'" in seen and "run-step.sh" in seen
    assert "it's\r\n" in seen
    assert place.state() == before


def test_an_image_without_a_shell(tmp_path: Path, docker_image: str) -> None:
    place = Place(tmp_path / "root", "docker", docker_image)
    with bare_image(docker_image) as image:
        place.upload(STEP)
        with place.gaia() as gaia:
            gaia.command("w", [{**JOIN, "image": image}])
        seen = on_a_terminal(place.words("join it"), {}, status=2)
        assert "/bin/sh" in seen and "--command" in seen and "--image" in seen
        assert place.run("join it", "/busybox cat /in/one 'it is'", status=1)[0] == "one\n"
        _, err = place.run("join it", "nothing here", status=127)
        assert "nothing" in err
        assert place.run("join it", "cat /in/one", "--image", docker_image)[0] == "one\n"
    assert place.containers() == []


@contextlib.contextmanager
def bare_image(image: str) -> Iterator[str]:
    """An image that has one program alone, with an entrypoint."""
    name = f"gaia-local-bare-{os.getpid()}"
    with contextlib.closing(connect(find_address())) as client:
        made = client.create_container(image, ["true"])["Id"]
        try:
            content = b"".join(client.get_archive(made, "/bin/busybox")[0])
        finally:
            client.remove_container(made)
        client.import_image_from_data(content, name, changes=['ENTRYPOINT ["/busybox"]'])
        try:
            yield name
        finally:
            client.remove_image(name, force=True)


def test_the_script_begins_with_the_images_entrypoint(tmp_path: Path, docker_image: str) -> None:
    place = Place(tmp_path / "root", "docker", docker_image)
    with bare_image(docker_image) as image:
        place.upload(STEP)
        with place.gaia() as gaia:
            gaia.command("w", [{**JOIN, "image": image}])
            assert gaia.wait("w")["state"] == "complete"
        out, _ = place.run("join it", "/busybox cat /gaia-local/run-step.sh")
    assert "exec /busybox sh -c 'cat /in/one" in out


def test_a_terminal_that_is_closed_ends_all_of_it(place: Place) -> None:
    place.upload(STEP)
    words = [sys.executable, "-m", "gaia_local", *place.words("join it")]
    prompt = "ready>" if place.runtime == "process" else r"\x1b\[6n"
    environment = {**os.environ, "TERM": "xterm", "SHELL": "/bin/sh", "PS1": "ready> ", "ENV": ""}
    with Terminal(words, environment) as terminal:
        terminal.expect(prompt)
        terminal.type("sleep 100 & echo go''ne; sleep 100")
        terminal.expect("gone")
        assert place.processes() or place.containers()
    wait_until(lambda: not list(place.root.glob("shells/*")))
    assert not place.processes() and not place.containers()


def test_keys_go_to_the_shell(place: Place) -> None:
    """Ctrl-C ends what runs in it, and not the shell."""
    place.upload(STEP)
    words = [sys.executable, "-m", "gaia_local", *place.words("join it")]
    prompt = "ready>" if place.runtime == "process" else r"\x1b\[6n"
    environment = {**os.environ, "TERM": "xterm", "SHELL": "/bin/sh", "PS1": "ready> ", "ENV": ""}
    with Terminal(words, environment) as terminal:
        terminal.expect(prompt)
        for _ in range(3):
            # It says so when it has the terminal: a key that is pressed before goes elsewhere.
            terminal.type("""sh -c "echo go''ne; exec sleep 100" """)
            terminal.expect("gone\n")
            terminal.press("\x03")
            terminal.expect(prompt)
        terminal.type("exit 4")
        assert terminal.end()[0] == 4


def test_stdout_and_outputs_outside_of_mounts(tmp_path: Path, full_image: str) -> None:
    """Where the image has files in the directory of an output, that directory isn't mounted."""
    place = Place(tmp_path / "root", "docker", full_image)
    full = {
        "name": "join",
        "command": ["sh", "-c", "echo other > /full/other; ls /full; id -u; pwd"],
        "outputs": {"out": "/full/stdout", "other": "/full/other"},
        "stdout": "/full/stdout",
    }
    place.upload({"name": "full", "command": "join", **KEYS})
    with place.gaia() as gaia:
        gaia.update(
            "w",
            [{**full, "image": full_image}],
            [{"name": "full", "command": "join", "outputs": {"out": "o:out", "other": "o:other"}}],
        )
        gaia.wait("w")
        by_step = gaia.path("w", "o:out").read_text()
    out, _ = place.run(
        "full", f"{place.script}; cat /full/stdout", "--keep", str(tmp_path / "kept")
    )
    assert out.splitlines() == ["other", "own", "stdout", *by_step.splitlines()[2:]]
    assert (tmp_path / "kept/tree/full/other").read_text() == "other\n"
    assert (tmp_path / "kept/tree/full/stdout").read_text() == out
    assert place.containers() == []


def test_the_terminals_size_is_followed(tmp_path: Path, docker_image: str) -> None:
    place = Place(tmp_path / "root", "docker", docker_image)
    place.upload(STEP)
    words = [sys.executable, "-m", "gaia_local", *place.words("join it")]
    with Terminal(words, {**os.environ, "TERM": "xterm"}) as terminal:
        terminal.resize(33, 99)
        terminal.expect(r"\x1b\[6n")
        terminal.type("until stty size | grep '33 99'; do :; done; echo so it is")
        terminal.expect("\nso it is")
        terminal.resize(44, 55)
        terminal.type("until stty size | grep '44 55'; do :; done; exit 3")
        assert terminal.end()[0] == 3


def test_the_pages_transcript_in_a_container_with_python(
    tmp_path: Path, docker_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a module that is missing in a container to the command that works."""
    monkeypatch.chdir(tmp_path)
    with python_image(docker_image) as image:
        for block in document("shell").blocks():
            if block.file is not None:
                text = block.text.replace("python:3-slim", image)
                Path(block.file).write_text(text, encoding="utf-8")
            elif block.text.startswith("gaia-local shell "):
                words = ["--runtime", "docker", *shlex.split(block.text)[1:]]
                transcript = block.output
                break
            else:
                script = block.text.replace("gaia-local", f"{sys.executable} -m gaia_local")
                environment = {**os.environ, "GAIA_LOCAL_RUNTIME": "docker"}
                subprocess.run(["sh", "-euc", script], check=True, env=environment, timeout=60)
        assert transcript is not None
        program = [sys.executable, "-m", "gaia_local", *words]
        with Terminal(program, {**os.environ, "TERM": "xterm"}) as terminal:
            status, shown = converse(terminal, transcript)
    assert status == 0, shown
    said = [line.partition("…")[0] for line in transcript.splitlines()]
    for line in (line.removeprefix("$ ") for line in said):
        assert line in shown, (line, shown)
        shown = shown[shown.index(line) + len(line) :]


@contextlib.contextmanager
def python_image(image: str) -> Iterator[str]:
    """An image made from `image`, with this Python in it."""
    name, python = f"gaia-local-python-{os.getpid()}", os.path.realpath(sys.executable)
    stdlib = Path(sysconfig.get_path("stdlib"))
    listed = subprocess.run(["ldd", python], capture_output=True, text=True, check=True).stdout
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.add(python, "bin/python3")
        for library in re.findall(r"(/\S+) \(", listed):
            archive.add(os.path.realpath(library), library.lstrip("/"))
        inner = ("encodings", "collections", "importlib", "lib-dynload", "re", "json")
        for path in [*stdlib.glob("*.py"), *(stdlib / name for name in inner)]:
            archive.add(path, str(path).lstrip("/"))
    with contextlib.closing(connect(find_address())) as client:
        made = client.create_container(image, ["true"])["Id"]
        try:
            assert client.put_archive(made, "/", content.getvalue())
            client.commit(made, name)
        finally:
            client.remove_container(made)
        try:
            yield name
        finally:
            client.remove_image(name, force=True)


def test_other_images_are_for_containers(place: Place) -> None:
    place.upload(STEP)
    if place.runtime == "process":
        _, err = place.run("join it", "true", "--image", "other", status=2)
        assert "leave it out" in err


def _call(place: Place, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "gaia_local",
            *("--root", str(place.root), "--runtime", place.runtime),
            *arguments,
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
