"""The workflows that are measured, as Commands and Steps in Gaia's own format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

SCRIPT = "echo hi > {}"
"""A trivial Step's program, as shell code: here and in every reference."""
CHAIN_LENGTH = 100
Shape = tuple[list[dict[str, Any]], list[dict[str, Any]]]
"""Commands and Steps."""


def _echo(image: str) -> dict[str, Any]:
    return {
        "name": "echo",
        "image": image,
        "command": ["sh", "-c", SCRIPT.format("/out/x")],
        "outputs": {"x": "/out/x"},
    }


def _after(image: str) -> dict[str, Any]:
    return {**_echo(image), "name": "after", "inputs": {"a": "/in/a"}}


def _key(number: int) -> str:
    """A storage key with at most 1,000 others in its directory."""
    return f"d:{number // 1000}/{number}"


def independent(count: int, image: str) -> Shape:
    """`count` trivial Steps that have nothing to do with each other."""
    return [_echo(image)], [
        {"name": f"s{n}", "command": "echo", "outputs": {"x": _key(n)}} for n in range(count)
    ]


def joined(count: int, image: str) -> Shape:
    """`count` trivial Steps, and one that reads all their outputs."""
    commands, steps = independent(count, image)
    places = {f"i{n}": f"/in/{n}" for n in range(count)}
    join = {
        "name": "join",
        "image": image,
        "command": ["sh", "-c", 'cat "$@" > /out/x', "join", *places.values()],
        "inputs": places,
        "outputs": {"x": "/out/x"},
    }
    step = {
        "name": "join",
        "command": "join",
        "inputs": {f"i{n}": _key(n) for n in range(count)},
        "outputs": {"x": "d:joined"},
    }
    return [*commands, join], [*steps, step]


def distinct(count: int, image: str) -> Shape:
    """As `joined`, but no two programs are equal, so that none can have another's result."""
    (_, join), steps = joined(count, image)
    echoes, varied = apart(count, image)
    return [*echoes, join], [*varied, steps[-1]]


def apart(count: int, image: str) -> Shape:
    """As `independent`, but no two programs are equal."""
    (echo,), steps = independent(count, image)
    command = ["sh", "-c", SCRIPT.format("/out/x"), "{{number}}"]
    return [{**echo, "command": command, "vars": {"number": 0}}], [
        {**step, "vars": {"number": number}} for number, step in enumerate(steps)
    ]


def chain(count: int, image: str) -> Shape:
    """`count` Steps in a row."""
    return chains(count, image, length=count)


def chains(count: int, image: str, length: int = CHAIN_LENGTH) -> Shape:
    """`count` Steps in rows of `length`."""
    steps: list[dict[str, Any]] = []
    for number in range(count):
        first = number % length == 0
        step = {
            "name": f"s{number}",
            "command": "echo" if first else "after",
            "outputs": {"x": _key(number)},
        }
        steps.append(step if first else {**step, "inputs": {"a": _key(number - 1)}})
    return [_echo(image), _after(image)], steps


SHAPES: dict[str, Callable[[int, str], Shape]] = {
    "independent": independent,
    "joined": joined,
    "apart": apart,
    "distinct": distinct,
    "chain": chain,
    "chains": chains,
}
