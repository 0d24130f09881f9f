"""The name `gaia` for the local engine: with and without the client, nested, undone, replacing."""

from __future__ import annotations

import importlib
import json
import logging
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gaia_local import Gaia, GaiaError, compat, demo
from gaia_local.compat import client, redirection
from gaia_local.errors import Closed, InvalidInput

COMMANDS = [
    {"name": "say", "image": "busybox", "command": ["echo", "hello"], "outputs": {"said": ">"}}
]
STEPS = [{"name": "say", "command": "say", "outputs": {"said": "a:said.txt"}}]


@pytest.fixture(autouse=True)
def unimported() -> Iterator[None]:
    """Nobody imported `gaia` yet; afterwards all is as it was."""
    before = {
        name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "gaia"
    }
    yield
    assert not any(type(finder).__module__ == redirection.__name__ for finder in sys.meta_path), (
        "an alias is still installed"
    )
    for name in list(sys.modules):
        if name.split(".")[0] == "gaia":
            del sys.modules[name]
    sys.modules.update(before)


@pytest.fixture
def config(gaia_root: Path) -> dict[str, Any]:
    return {"root": gaia_root, "runtime": "process", "workers": 2}


def published() -> Any:
    """The published client, imported."""
    found = importlib.import_module("gaia.client")
    assert "site-packages" in str(found.__file__)
    return found


published_leaves_files_open = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)


def local() -> Any:
    return importlib.import_module("gaia.client")


# ---------------------------------------------------------------------------------------- importing


def test_all_imports_give_the_same_class(config: dict[str, Any]) -> None:
    with compat.install(config):
        found: dict[str, Any] = {}
        exec(
            "import gaia\nfrom gaia import Gaia\n"
            "from gaia.client import Gaia as Client\nimport gaia.client as client",
            found,
        )
        assert (
            found["gaia"].Gaia
            is found["Gaia"]
            is found["Client"]
            is found["client"].Gaia
            is client.Gaia
        )


@pytest.mark.parametrize(
    "name", ["load_yaml", "to_gs", "pop_path", "step", "launch_sisyphus", "main", "Gaia"]
)
def test_the_modules_names_are_those_of_the_published_one(
    config: dict[str, Any], name: str
) -> None:
    assert callable(getattr(published(), name))
    for module in ("gaia", "gaia.client"):
        del sys.modules[module]
    with compat.install(config):
        assert getattr(local(), name) is getattr(client, name)


def test_compat_works_without_the_published_package(config: dict[str, Any]) -> None:
    class Hidden(MetaPathFinder):
        def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
            if fullname.partition(".")[0] == "gaia":
                raise ModuleNotFoundError(f"No module named {fullname!r}")

    hidden = Hidden()
    sys.meta_path.insert(0, hidden)
    try:
        for _ in range(2):
            with pytest.raises(ModuleNotFoundError):
                published()
            with compat.install(config):
                assert local().Gaia().workflows() == {"workflows": {}}
    finally:
        sys.meta_path.remove(hidden)


def test_undoing_gives_the_published_one_back(config: dict[str, Any]) -> None:
    with compat.install(config):
        assert local().Gaia is client.Gaia
    assert published().Gaia is not client.Gaia
    assert not hasattr(sys.modules["gaia"], "Gaia")


def test_another_submodule_is_not_found(config: dict[str, Any]) -> None:
    with compat.install(config), pytest.raises(ModuleNotFoundError):
        importlib.import_module("gaia.server")


def test_installing_imports_neither_gaia_nor_the_engine(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom gaia_local import compat\ncompat.install()\n"
        "print({'gaia', 'gaia_local.api'} & set(sys.modules))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert ran.stdout == "set()\n"
    assert list(tmp_path.iterdir()) == []


# ----------------------------------------------------------------------------- behaviour of objects


def test_a_script_has_the_engines_methods_and_answers(config: dict[str, Any]) -> None:
    with compat.install(config):
        flow = local().Gaia({"gaia_host": "example.org:24442"})
        assert (flow.protocol, flow.host) == ("http://", "example.org:24442")
        assert flow.upload("me_w", {"owner": "me"}, COMMANDS, STEPS) == {
            "workflow": {"me_w": ["say"]}
        }
        assert flow.wait("me_w")["status"]["state"] == "complete"
        assert local().Gaia().workflows()["workflows"]["me_w"]["state"] == "complete"
        assert flow.path("me_w", "a:said.txt").read_text() == "hello\n"
        with pytest.raises(GaiaError, match="already exists"):
            flow.upload("me_w", {}, COMMANDS, STEPS)


def test_the_replacement_has_all_public_methods_of_gaia(config: dict[str, Any]) -> None:
    public = {name for name in dir(Gaia) if not name.startswith("_")}
    methods = {name for name in public if callable(getattr(Gaia, name))}
    with compat.install(config):
        assert methods <= set(dir(local().Gaia))


def test_an_object_can_be_a_context(config: dict[str, Any]) -> None:
    with compat.install(config), local().Gaia() as flow:
        flow.upload("w", {}, COMMANDS, STEPS)
    with Gaia(config) as gaia:
        assert gaia.progress("w")["state"] == "complete"


def test_launch_and_pull_inputs_are_there(
    config: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = {
        "name": "copy",
        "image": "b",
        "command": ["cp", "/in/a", "/out/b"],
        "inputs": {"a": "/in/a"},
    }
    command["outputs"] = {"b": "/out/b"}
    step = {"name": "copy", "command": "copy", "inputs": {"a": "x:a"}, "outputs": {"b": "x:b"}}
    with compat.install(config):
        flow = local().Gaia()
        flow.upload("w", {}, [command], [step])
        flow.path("w", "x:a").parent.mkdir(parents=True)
        flow.path("w", "x:a").write_text("data")
        flow.launch(["a", "b"], {"workflow": "w"})
        flow.pull_inputs("w", "copy", root=str(tmp_path / "pulled"), path_fn=local().pop_path)
    assert (tmp_path / "pulled" / "a").read_text() == "data"
    assert capsys.readouterr().out == "cp /in/a /out/b\n"


def test_the_scripts_own_configuration_comes_first(config: dict[str, Any], tmp_path: Path) -> None:
    with compat.install(config):
        flow = local().Gaia({"root": str(tmp_path / "other")})
        flow.upload("w", {}, COMMANDS, STEPS)
        flow.wait("w")
        assert local().Gaia().workflows() == {"workflows": {}}
    assert (tmp_path / "other" / "storage" / "w" / "a" / "said.txt").exists()


def test_foreign_keys_are_ignored_with_one_warning_each(
    config: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with compat.install(config):
        for _ in range(3):
            local().Gaia({"kafka_host": "localhost:9092", "gaia_host": "x"})
    told = [record.getMessage() for record in caplog.records if "kafka_host" in record.getMessage()]
    assert len(told) == 1
    assert "ignored" in told[0]


@pytest.mark.parametrize("wrong", [{"workers": 0}, "localhost:24442", 7, ["x"]], ids=repr)
def test_a_bad_configuration_is_refused_where_it_is_given(
    config: dict[str, Any], wrong: Any
) -> None:
    with compat.install(config), pytest.raises(InvalidInput, match="config"):
        local().Gaia(wrong)


def test_a_bad_default_is_refused_and_installs_nothing() -> None:
    with pytest.raises(InvalidInput, match="did you mean 'runtime'"):
        compat.install({"runtme": "process"})
    assert not compat.installed()


# -------------------------------------------------------------------------------- nested and undone


def test_the_innermost_counts_and_adds_to_the_outer(config: dict[str, Any], tmp_path: Path) -> None:
    with compat.install(config):
        outer = local().Gaia()
        with compat.install({"root": tmp_path / "inner"}) as inner:
            assert inner.config == {**config, "root": tmp_path / "inner"}
            local().Gaia().upload("in", {}, COMMANDS, STEPS)
            assert outer.workflows()["workflows"] == {}, (
                "an object keeps the engine that it was made with"
            )
        outer.upload("out", {}, COMMANDS, STEPS)
        assert set(local().Gaia().workflows()["workflows"]) == {"out"}


def test_installations_are_undone_in_any_order_and_repeatedly(config: dict[str, Any]) -> None:
    one, two = compat.install(config), compat.install(config)
    one.undo()
    one.undo()
    assert local().Gaia is client.Gaia
    two.close()
    two.close()
    assert not compat.installed()
    assert published().Gaia is not client.Gaia


def test_undoing_leaves_objects_open_and_closing_closes_them(config: dict[str, Any]) -> None:
    alias = compat.install(config)
    flow = local().Gaia()
    alias.undo()
    assert flow.workflows() == {"workflows": {}}
    alias.close()
    with pytest.raises(Closed, match=r"gaia_local\.compat\.install"):
        flow.workflows()


def test_closing_waits_and_an_exception_stops(config: dict[str, Any], tmp_path: Path) -> None:
    go = tmp_path / "go"
    hold = [{**COMMANDS[0], "command": ["sh", "-c", f"while [ ! -e '{go}' ]; do sleep 0.01; done"]}]
    opener = threading.Timer(0.05, go.touch)
    with compat.install(config):
        local().Gaia().upload("waited", {}, hold, STEPS)
        opener.start()
    opener.join()
    go.unlink()
    with pytest.raises(RuntimeError, match="mine"), compat.install(config):
        local().Gaia().upload("stopped", {}, hold, STEPS)
        raise RuntimeError("mine")
    with Gaia(config) as gaia:
        states = {
            name: workflow["state"] for name, workflow in gaia.workflows()["workflows"].items()
        }
    assert states == {"waited": "complete", "stopped": "halted"}


def test_an_object_made_outside_is_bound_at_its_first_call(config: dict[str, Any]) -> None:
    with compat.reserve():
        flow = local().Gaia()
        with pytest.raises(Closed, match="has no engine"):
            flow.workflows()
        # An object of a module that is imported once, in one test after the other.
        for name in (
            "one",
            "two",
        ):
            with compat.install({**config, "root": config["root"] / name}):
                flow.upload(name, {}, COMMANDS, STEPS)
                assert set(flow.workflows()["workflows"]) == {name}
    assert published().Gaia is not client.Gaia


# ------------------------------------------------------------------- the published one was imported


def test_the_published_class_is_redirected_while_it_lasts(config: dict[str, Any]) -> None:
    module = published()
    kind, before, helper = module.Gaia, module.Gaia(), module.launch_sisyphus
    attributes = dict(vars(kind))

    class Mine(kind):  # type: ignore[valid-type, misc]
        def status(self, workflow: str) -> Any:
            return super().status(workflow)["status"]["state"]

    with compat.install(config):
        assert sys.modules["gaia"].Gaia is local().Gaia is kind
        assert before.upload("w", {}, COMMANDS, STEPS) == {"workflow": {"w": ["say"]}}
        assert kind({"gaia_host": "nowhere:1"}).wait("w")["state"] == "complete"
        assert Mine().status("w") == "complete"
        assert module.launch_sisyphus is client.launch_sisyphus
    assert dict(vars(kind)) == attributes
    assert module.launch_sisyphus is helper
    assert not hasattr(sys.modules["gaia"], "Gaia")


def test_the_published_class_is_redirected_where_only_its_package_is_imported(
    config: dict[str, Any],
) -> None:
    importlib.import_module("gaia")
    with compat.install(config), compat.install(config):
        assert local().Gaia().workflows() == {"workflows": {}}


@pytest.mark.parametrize(
    "submodule", [False, True], ids=["without a client", "with another client"]
)
def test_another_package_of_that_name_is_refused(
    monkeypatch: pytest.MonkeyPatch, submodule: bool
) -> None:
    other = ModuleType("gaia")
    other.__file__ = "/somewhere/gaia.py"
    monkeypatch.setitem(sys.modules, "gaia", other)
    if submodule:
        monkeypatch.setitem(sys.modules, "gaia.client", ModuleType("gaia.client"))
    path = list(sys.meta_path)
    with pytest.raises(InvalidInput, match=r"/somewhere/gaia\.py; install before"):
        compat.install()
    assert not compat.installed()
    assert sys.meta_path == path
    assert not hasattr(other, "Gaia")


# ------------------------------------------------------------------- the module's helpers, compared

TEXT = st.text("ab:/.", max_size=12)


@given(TEXT)
def test_to_gs_and_pop_path_are_as_published(text: str) -> None:
    original = sys.modules.get("gaia.client") or published()
    assert client.to_gs(text) == original.to_gs(text)
    assert client.pop_path(text) == original.pop_path(text)


@published_leaves_files_open
def test_load_yaml_is_as_published(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    original = published()
    path.write_text("- {name: a, vars: {n: [1, 2.5, yes]}}\n- é\n", encoding="utf-8")
    assert (
        client.load_yaml(str(path))
        == original.load_yaml(str(path))
        == [{"name": "a", "vars": {"n": [1, 2.5, True]}}, "é"]
    )
    path.write_text("{")
    for load in (client.load_yaml, original.load_yaml):
        with pytest.raises(yaml.YAMLError):
            load(str(path))
        with pytest.raises(FileNotFoundError):
            load(str(tmp_path / "none.yaml"))


def test_step_makes_what_the_published_one_cannot(config: dict[str, Any]) -> None:
    arguments: tuple[Any, ...] = ("s", "say", {}, {"said": "a:{{who}}"}, {"who": ["x", "y"]})
    with pytest.raises(TypeError):
        published().step(*arguments)
    made = client.step(*arguments)
    assert made == {
        "name": "s",
        "command": "say",
        "outputs": {"said": "a:{{who}}"},
        "vars": {"who": ["x", "y"]},
    }
    assert client.step("s", "say", {"a": "b"}, {}) == {
        "name": "s",
        "command": "say",
        "outputs": {},
        "inputs": {"a": "b"},
    }
    with Gaia(config) as gaia:
        gaia.upload("w", {}, COMMANDS, [made])
        assert gaia.graph("w")["steps"][0]["step"] == "s-x"


def test_launch_sisyphus_starts_nothing_and_says_so_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    monkeypatch.setattr("os.system", started.append)
    client.say_that_steps_run_here.cache_clear()
    with caplog.at_level(logging.WARNING, "gaia_local"):
        for number in range(3):
            client.launch_sisyphus({"worker": f"w-{number}", "metadata": {"workflow": "w"}})
    assert started == []
    assert [record.getMessage() for record in caplog.records] == [
        "launch_sisyphus: no cloud workers are started; Steps run on this machine"
    ]


# --------------------------------------------------------------------------------- its command line


@pytest.fixture
def files(tmp_path: Path) -> str:
    """The demo's files; returns the beginning of their paths."""
    for kind, content in (("commands", demo.commands()), ("steps", demo.steps())):
        (tmp_path / f"demo-{kind}.json").write_text(json.dumps(content))
        (tmp_path / f"demo-{kind}.yaml").write_text(yaml.safe_dump(content))
    return f"{tmp_path}/demo-"


def printed(
    main: Any,
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> str:
    monkeypatch.setattr("sys.argv", ["client.py", *arguments])
    main()
    return capsys.readouterr().out


@published_leaves_files_open
def test_main_prints_what_the_published_one_prints(
    config: dict[str, Any],
    files: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("USER", "crick")
    lines = [
        ["upload", "crick_w", "--path", files, "--host", "nowhere:1"],
        ["status", "crick_w"],
        ["expire", "crick_w", "--path", "write,results:report.log"],
        ["launch", "crick_w", "--workers", "3"],
        ["workflows", "all"],
        ["upload", "crick_y", "--path", files, "--extension", "yaml"],
    ]
    told = []
    for number, main in enumerate((client.main, published().main)):
        with compat.install({**config, "root": config["root"] / str(number)}):
            told.append([printed(main, line, monkeypatch, capsys) for line in lines])
    assert told[0] == told[1]
    assert "'owner': 'crick'" in told[0][4]
    assert "{'workflow': {'crick_w': [" in told[0][0]


def test_main_says_in_one_line_what_is_refused(
    config: dict[str, Any],
    files: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with compat.install(config):
        printed(client.main, ["upload", "w", "--path", files], monkeypatch, capsys)
        for line, status, words in [
            (["upload", "w", "--path", files], 1, "already exists"),
            (["upload", "v", "--path", "nowhere/"], 1, "nowhere/commands.json"),
            (["upload", "v"], 2, "No --path specified"),
            (["expire", "w"], 2, "No --path specified"),
            (["expire", "w", "--path", "nothing"], 1, "nothing"),
            (["dance", "w"], 2, "invalid choice"),
        ]:
            with pytest.raises(SystemExit) as ended:
                printed(client.main, line, monkeypatch, capsys)
            assert ended.value.code == status, line
            assert words in capsys.readouterr().err, line


def test_an_alias_is_no_obstacle_to_pickling_answers(config: dict[str, Any]) -> None:
    with compat.install(config):
        answer = local().Gaia().workflows()
    assert pickle.loads(pickle.dumps(answer)) == {"workflows": {}}
