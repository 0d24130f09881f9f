"""The configuration: defaults, accepted values, and refusals with their messages."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaia_local.config import Config, DaskConfig, DockerConfig
from gaia_local.errors import GaiaError, InvalidInput


def test_an_empty_configuration_has_defaults(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    config = Config.parse(None)
    assert config == Config.parse({})
    assert config.root == tmp_path.resolve() / "gaia-data"
    assert (config.runtime, config.executor, config.watch, config.buckets) == (
        "docker",
        "threads",
        True,
        {},
    )
    assert config.workers == len(os.sched_getaffinity(0))
    assert (config.docker, config.max_steps) == (DockerConfig(), 200_000)
    assert config.durability == "batch"
    assert config.given == frozenset()
    assert list(tmp_path.iterdir()) == []


def test_the_environment_gives_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GAIA_LOCAL_ROOT", str(tmp_path / "there"))
    monkeypatch.setenv("GAIA_LOCAL_RUNTIME", "process")
    config = Config.parse({})
    assert (config.root, config.runtime) == (tmp_path / "there", "process")
    config = Config.parse({"root": tmp_path / "here", "runtime": "auto"})
    assert (config.root, config.runtime) == (tmp_path / "here", "auto")
    monkeypatch.setenv("GAIA_LOCAL_RUNTIME", "podman")
    with pytest.raises(InvalidInput, match=r"'podman'.*'docker' or 'process' or 'auto'"):
        Config.parse({})


def test_attempts_are_kept_by_number_or_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Config.parse({}).keep_attempts == 20
    assert Config.parse({"keep_attempts": 3}).given_settings() == {"keep_attempts": 3}
    assert Config.parse({"keep_attempts": None}).given_settings() == {"keep_attempts": None}
    monkeypatch.setenv("GAIA_LOCAL_KEEP_ATTEMPTS", "7")
    assert Config.parse({}).keep_attempts == 7
    assert Config.parse({"keep_attempts": 3}).keep_attempts == 3
    monkeypatch.setenv("GAIA_LOCAL_KEEP_ATTEMPTS", "all")
    assert Config.parse({}).keep_attempts is None
    for wrong in ("0", "-1", "some", "²", "1" * 30):
        monkeypatch.setenv("GAIA_LOCAL_KEEP_ATTEMPTS", wrong)
        with pytest.raises(InvalidInput, match=r"GAIA_LOCAL_KEEP_ATTEMPTS.*or 'all'"):
            Config.parse({})


def test_given_values_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "link").symlink_to("real")
    docker = {
        "inputs": "mount",
        "pull": "never",
        "network": "none",
        "memory": "1.5g",
        "cpus": 0.5,
        "env": {"A": "1"},
        "shm_size": 64_000_000,
        "gpus": "all",
        "init": False,
        "stop_grace": 0,
    }
    given = {
        "root": "~/x",
        "runtime": "process",
        "executor": "threads",
        "workers": 3,
        "buckets": {"genomes": "~/genomes", "b/c": tmp_path / "link"},
        "watch": False,
        "max_steps": 17,
        "durability": "step",
        "docker": docker,
        "gaia_host": "localhost:24442",
    }
    config = Config.parse(given)
    assert config.root == tmp_path / "x"
    assert (config.runtime, config.executor, config.workers, config.watch) == (
        "process",
        "threads",
        3,
        False,
    )
    assert (config.max_steps, config.durability) == (17, "step")
    assert config.buckets == {"genomes": tmp_path / "genomes", "b/c": tmp_path / "real"}
    assert config.docker == DockerConfig(**docker)  # type: ignore[arg-type]
    assert config.given == set(given) - {"gaia_host"}


def test_none_means_the_default() -> None:
    keys = ("root", "runtime", "executor", "workers", "buckets", "docker", "max_steps")
    config, default = Config.parse(dict.fromkeys(keys)), Config.parse({})
    assert all(getattr(config, key) == getattr(default, key) for key in keys)
    assert (
        Config.parse({"docker": {"network": None, "memory": None, "gpus": None}}).docker
        == DockerConfig()
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], ["config", "[]", "dictionary"]),
        ("root", ["'root'", "dictionary"]),
        *(
            ({"keep_attempts": wrong}, ["keep_attempts", "from 1 to", "None to keep all"])
            for wrong in (0, -1, True, "5", 10**10, 1.5)
        ),
        *(
            ({"max_steps": wrong}, ["max_steps", "from 1 to 100000000"])
            for wrong in (0, -1, True, "5", 10**9, 1.5)
        ),
        ({"wrokers": 2}, ["'wrokers'", "did you mean 'workers'"]),
        ({5: 2}, ["no key 5"]),
        ({"root": 5}, ["config, root", "5"]),
        ({"root": "a\0b"}, ["config, root", "isn't a path"]),
        ({"root": "a\udcff"}, ["config, root", "a\\udcff' isn't UTF-8", "another path"]),
        ({"root": "~nobody-of-this-name/x"}, ["config, root", "~nobody-of-this-name"]),
        ({"runtime": "podman"}, ["config, runtime", "'podman'", "'docker' or 'process' or 'auto'"]),
        ({"runtime": ["docker"]}, ["config, runtime", "['docker']"]),
        ({"executor": "dusk"}, ["config, executor", "'dusk'", "'threads'"]),
        ({"workers": 0}, ["config, workers", "0", "from 1"]),
        ({"workers": True}, ["config, workers", "True"]),
        ({"workers": 1.5}, ["config, workers", "1.5"]),
        ({"workers": "2"}, ["config, workers", "'2'"]),
        ({"workers": 10**5000}, ["config, workers"]),
        ({"durability": "disk"}, ["config, durability", "'disk'", "'batch' or 'step'"]),
        ({"durability": True}, ["config, durability", "True"]),
        ({"watch": 1}, ["config, watch", "True or False"]),
        ({"watch": None}, ["config, watch", "True or False"]),
        ({"buckets": ["a"]}, ["config, buckets", "bucket name → directory"]),
        ({"buckets": {"a:b": "/x"}}, ["config, bucket 'a:b'", "':'"]),
        ({"buckets": {"a": "/x\udcff"}}, ["config, bucket 'a'", "isn't UTF-8"]),
        ({"buckets": {"a\udcff": "/x"}}, ["config, bucket 'a\\udcff'", "isn't UTF-8"]),
        ({"buckets": {"": "/x"}}, ["config, bucket ''"]),
        ({"buckets": {1: "/x"}}, ["config, bucket 1"]),
        ({"buckets": {"a": ""}}, ["config, bucket 'a'", "directory"]),
        ({"buckets": {"a": None}}, ["config, bucket 'a'", "None"]),
        ({"buckets": {"a": "x\0"}}, ["config, bucket 'a'", "isn't a path"]),
        ({"buckets": {"a": "~nobody-of-this-name"}}, ["config, bucket 'a'", "isn't a path"]),
        ({"docker": "x"}, ["config, docker", "'x'"]),
        ({"docker": {"memroy": 5}}, ["config, docker", "'memroy'", "'memory'"]),
        ({"docker": {"inputs": "link"}}, ["docker.inputs", "'link'", "'copy' or 'mount'"]),
        ({"docker": {"pull": None}}, ["docker.pull", "None", "'missing'"]),
        ({"docker": {"network": ""}}, ["docker.network", "''"]),
        ({"docker": {"memory": "lots"}}, ["docker.memory", "'lots'", "'512m'"]),
        ({"docker": {"memory": "0m"}}, ["docker.memory", "'0m'"]),
        ({"docker": {"memory": -1}}, ["docker.memory", "-1"]),
        ({"docker": {"memory": True}}, ["docker.memory", "True"]),
        ({"docker": {"memory": 1.5}}, ["docker.memory", "1.5"]),
        ({"docker": {"init": 1}}, ["docker.init", "1", "True or False"]),
        ({"docker": {"shm_size": "1x"}}, ["docker.shm_size", "'1x'"]),
        ({"docker": {"cpus": 0}}, ["docker.cpus", "0"]),
        ({"docker": {"cpus": "2"}}, ["docker.cpus", "'2'"]),
        ({"docker": {"cpus": float("nan")}}, ["docker.cpus", "nan"]),
        ({"docker": {"cpus": 10**400}}, ["docker.cpus"]),
        ({"docker": {"gpus": "some"}}, ["docker.gpus", "'some'", "'all'"]),
        ({"docker": {"gpus": 0}}, ["docker.gpus"]),
        ({"docker": {"stop_grace": -0.1}}, ["docker.stop_grace", "-0.1"]),
        ({"docker": {"env": {"A": 1}}}, ["docker.env", "dictionary of text"]),
        ({"docker": {"env": ["A=1"]}}, ["docker.env", "dictionary of text"]),
    ],
)
def test_a_bad_configuration_is_refused(given: Any, words: list[str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        Config.parse(given)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("size", ["512", "512b", "512k", "64kb", "512m", "512M", "1.5g", "2GB", 1])
def test_memory_sizes_are_accepted(size: str | int) -> None:
    assert Config.parse({"docker": {"memory": size, "shm_size": size}}).docker.memory == size


def test_a_loop_of_links_is_no_root(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InvalidInput, match="config, root"):
        Config.parse({"root": tmp_path / "loop" / "x"})


def test_secrets_are_not_shown() -> None:
    with pytest.raises(InvalidInput) as caught:
        Config.parse({"docker": {"env": {"TOKEN": b"hunter2"}}})
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(Config.parse({"docker": {"env": {"TOKEN": "hunter2"}}}))


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["root", "runtime", "workers", "buckets", "watch", "docker", "other"]),
        st.recursive(
            st.none()
            | st.integers()
            | st.floats()
            | st.text(st.characters(), max_size=5)
            | st.just(10**400),
            lambda inner: st.dictionaries(
                st.sampled_from(["a", "memory", "cpus", "env", "gpus", "stop_grace"]),
                inner,
                max_size=3,
            ),
            max_leaves=5,
        ),
        max_size=3,
    )
)
def test_parsing_answers_or_refuses(given: dict[str, Any]) -> None:
    try:
        config = Config.parse(given)
    except GaiaError as error:
        assert "config" in str(error)
    else:
        assert config.root.is_absolute()


# --------------------------------------------------------------------------------------------- dask


def test_the_options_of_a_cluster_are_parsed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    security = {"require_encryption": True}
    given = {
        "address": "tls://scheduler:8786",
        "timeout": 2,
        "retries": 0,
        "path_map": {tmp_path / "link" / "x": "/x"},
    }
    config = Config.parse(
        {"executor": "dask", "dask": {**given, "scratch": Path("/local"), "security": security}}
    )
    expected = DaskConfig(
        "tls://scheduler:8786", None, 2, 0, {str(tmp_path / "x"): "/x"}, "/local", security
    )
    assert (config.executor, config.dask) == ("dask", expected)
    assert "require_encryption" not in repr(config)
    assert Config.parse({"executor": "dask", "dask": {"local": 3}}).dask == DaskConfig(local=3)
    assert Config.parse({"dask": None}).dask == DaskConfig()
    assert Config.parse({"executor": "dask", "dask": {"local": 1}, "workers": None}).given == {
        "executor",
        "dask",
    }


@pytest.mark.parametrize(
    ("dask", "words"),
    [
        (
            None,
            "config, dask: it has no address; "
            "give a scheduler's, as 'tcp://scheduler:8786', or local",
        ),
        ({}, "config, dask: it has no address"),
        ("tcp://x:1", "config, dask: it is 'tcp://x:1'; give a dictionary"),
        ({"adress": "tcp://x:1"}, "there is no key 'adress'; did you mean 'address'"),
        ({"address": "tcp://x:1", "local": 2}, "it has both address and local; give one of them"),
        ({"address": 8786}, "config, dask.address: it is 8786; give a scheduler's address"),
        ({"address": "scheduler"}, "config, dask.address"),
        ({"address": "tcp:// x:1"}, "config, dask.address"),
        ({"local": 0}, "config, dask.local: it is 0; give a whole number of worker processes"),
        ({"local": True}, "config, dask.local"),
        (
            {"local": 2, "timeout": 0},
            "config, dask.timeout: it is 0; give a number of seconds above 0",
        ),
        ({"local": 2, "retries": -1}, "config, dask.retries: it is -1; give a whole number from 0"),
        ({"local": 2, "path_map": {"here": "/there"}}, "config, dask.path_map"),
        ({"local": 2, "path_map": ["/here"]}, "config, dask.path_map"),
        (
            {"local": 2, "scratch": "here"},
            "config, dask.scratch: it is 'here'; give an absolute path on the workers",
        ),
        (
            {"local": 2, "security": "secret"},
            "config, dask.security: it isn't a dictionary of arguments; give a dictionary",
        ),
    ],
)
def test_a_cluster_that_is_refused(dask: object, words: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        Config.parse({"executor": "dask", "dask": dask})
    assert words in str(refusal.value)
    assert "secret" not in str(refusal.value)
