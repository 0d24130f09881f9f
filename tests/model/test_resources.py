"""Resources: the requirements of Commands, and the free resources of a machine."""

from __future__ import annotations

import pytest

from gaia_local.errors import InvalidInput
from gaia_local.model.resources import NONE, Capacity, Resources


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (None, NONE),
        ({}, NONE),
        ({"cpus": 2}, Resources(2.0)),
        ({"memory": 1e9, "gpus": 2.0}, Resources(memory=10**9, gpus=2)),
        ({"cpus": 0.5, "memory": 4096, "gpus": 1}, Resources(0.5, 4096, 1)),
        ({"memory": "4GB"}, Resources(memory=4 << 30)),
        ({"memory": "1.5 g"}, Resources(memory=3 << 29)),
        ({"memory": "64MiB"}, Resources(memory=64 << 20)),
        ({"memory": "512"}, Resources(memory=512)),
        ({"cpus": None, "memory": None, "gpus": None}, NONE),
    ],
)
def test_resources_are_parsed(given: object, meant: Resources) -> None:
    assert Resources.parse("here", given) == meant


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (2, "here: it is 2; give a dictionary"),
        ({"cpu": 2}, "there is no resource 'cpu'; did you mean 'cpus'"),
        ({"cpus": 0}, "here, cpus: it is 0; give a number above 0"),
        ({"cpus": "2"}, "here, cpus"),
        ({"cpus": True}, "here, cpus"),
        (
            {"memory": "much"},
            "here, memory: it is 'much'; give a number of bytes, or text as '4GB'",
        ),
        ({"memory": 0}, "here, memory"),
        ({"memory": "0GB"}, "here, memory"),
        ({"memory": 1.5}, "here, memory"),
        ({"memory": float("nan")}, "here, memory"),
        ({"gpus": 1.5}, "here, gpus: it is 1.5; give a whole number above 0"),
        ({"gpus": 0}, "here, gpus"),
        ({"gpus": "all"}, "here, gpus"),
    ],
)
def test_invalid_resources_are_refused(given: object, words: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        Resources.parse("here", given)
    assert words in str(refusal.value)


def test_taken_resources_are_unavailable_until_released() -> None:
    capacity = Capacity(Resources(2, 100, 0))
    assert capacity.shortage(Resources(2, 100)) is None
    capacity.take(Resources(1.5, 60))
    assert capacity.fits(NONE)
    assert capacity.fits(Resources(0.5, 40))
    assert not capacity.fits(Resources(0.6))
    assert not capacity.fits(Resources(memory=41))
    capacity.give_back(Resources(1.5, 60), ())
    assert capacity.fits(Resources(2, 100))


def test_tenths_add_up() -> None:
    capacity = Capacity(Resources(1, 1, 0))
    for _ in range(9):
        capacity.take(Resources(0.1))
    assert capacity.fits(Resources(0.1))
    capacity.take(Resources(0.1))
    assert not capacity.fits(Resources(0.1))


def test_more_than_the_machine_has() -> None:
    capacity = Capacity(Resources(2, 4 << 30, 0))
    assert capacity.shortage(Resources(3)) == "its Command needs cpus: 3; here it may use 2"
    assert (
        capacity.shortage(Resources(memory=8 << 30))
        == "its Command needs memory: 8 GB; here it may use 4 GB"
    )
    assert capacity.shortage(Resources(gpus=1)) == "its Command needs gpus: 1; here it may use 0"


def test_no_two_have_the_same_gpu() -> None:
    capacity = Capacity(Resources(4, 100, 3), ["GPU-a", "GPU-b", "GPU-c"])
    one, two = Resources(1, gpus=1), Resources(gpus=2)
    first, second = capacity.take(one), capacity.take(two)
    assert (first, second) == (("GPU-a",), ("GPU-b", "GPU-c"))
    assert capacity.fits(Resources(3)) and not capacity.fits(one)
    capacity.give_back(two, second)
    assert capacity.take(one) == ("GPU-b",)
    capacity.give_back(one, first)
    assert capacity.take(two) == ("GPU-c", "GPU-a")


def test_gpus_that_an_earlier_process_gave_away() -> None:
    capacity = Capacity(Resources(4, 100, 2))
    capacity.take_gpus(["1"])
    assert not capacity.fits(Resources(gpus=2))
    assert capacity.take(Resources(gpus=1)) == ("0",)
    capacity.give_back(Resources(gpus=2), ["1", "0", "hidden by now"])
    assert capacity.take(Resources(gpus=2)) == ("1", "0")
