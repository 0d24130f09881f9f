"""The resources that a Command requires, and those that a machine has free."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from gaia_local.errors import InvalidInput, nearest, shown
from gaia_local.model.sizes import memory_text

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kmgt]?)i?b?", re.IGNORECASE)
UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
"""Unit → its power of 1024."""
MOST_MEMORY = 10**18
MOST_COUNTED = 10**6
"""CPUs and GPUs are fewer than this, and bytes of memory than that."""


class Resources(NamedTuple):
    """An amount of each; None: no limit, and not counted."""

    cpus: float | None = None
    memory: int | None = None
    """Bytes."""
    gpus: int | None = None

    @staticmethod
    def parse(where: str, given: object) -> Resources:
        """Read `resources` of a Command. A ``GB`` has 1024³ bytes, as for Docker."""
        if given is None:
            return NONE
        if not isinstance(given, Mapping):
            raise InvalidInput(
                where,
                f"it is {shown(given)}",
                'give a dictionary, as {"cpus": 2, "memory": "4GB", "gpus": 1}',
            )
        known = Resources._fields
        for name in given:
            if name not in known:
                raise InvalidInput(
                    where, f"there is no resource {shown(name)}", nearest(name, known, "there are")
                )
        return Resources(
            _cpus(f"{where}, cpus", given.get("cpus")),
            _memory(f"{where}, memory", given.get("memory")),
            _gpus(f"{where}, gpus", given.get("gpus")),
        )

    def __bool__(self) -> bool:
        return (self.cpus, self.memory, self.gpus) != (None, None, None)

    def items(self) -> list[tuple[str, float]]:
        """The required ones, by name."""
        amounts = (("cpus", self.cpus), ("memory", self.memory), ("gpus", self.gpus))
        return [(name, amount) for name, amount in amounts if amount is not None]


NONE = Resources()


class Capacity:
    """The free resources of a machine. Not thread-safe.

    GPUs are given out one by one, so that no two Tasks have the same.
    """

    def __init__(self, total: Resources, gpus: Sequence[str] | None = None) -> None:
        """`total` has an amount of each; `gpus` are the ids of the GPUs, by default from "0"."""
        self._total = dict(total.items())
        self._all_gpus = tuple(map(str, range(total.gpus or 0)) if gpus is None else gpus)
        self._gpus = list(self._all_gpus)
        self._free = {name: amount for name, amount in total.items() if name != "gpus"}

    def shortage(self, wanted: Resources) -> str | None:
        """A sentence where less than is wanted may be used in all."""
        for name, amount in wanted.items():
            if amount > self._total[name]:
                needed, total = amount_text(name, amount), amount_text(name, self._total[name])
                return f"its Command needs {name}: {needed}; here it may use {total}"
        return None

    def fits(self, wanted: Resources) -> bool:
        """Whether that much is free."""
        free = {**self._free, "gpus": len(self._gpus)}
        return all(amount <= free[name] + 1e-9 for name, amount in wanted.items())

    def take(self, wanted: Resources) -> tuple[str, ...]:
        """Take that much; returns the ids of the GPUs, as many as are there."""
        self._add(wanted, -1)
        taken = tuple(self._gpus[: wanted.gpus or 0])
        del self._gpus[: len(taken)]
        return taken

    def take_gpus(self, gpus: Collection[str]) -> None:
        """Take these GPUs, which a Task of an earlier process has."""
        self._gpus = [gpu for gpu in self._gpus if gpu not in gpus]

    def give_back(self, wanted: Resources, gpus: Collection[str]) -> None:
        """Free a reservation of `take`."""
        self._add(wanted, 1)
        self._gpus += (gpu for gpu in gpus if gpu in self._all_gpus)

    def _add(self, amounts: Resources, sign: int) -> None:
        for name, amount in amounts.items():
            if name != "gpus":
                self._free[name] += sign * amount


def amount_text(name: str, amount: float) -> str:
    """``4 GB`` of memory, ``2`` of another resource."""
    return memory_text(amount) if name == "memory" else f"{amount:g}"


def _cpus(where: str, given: Any) -> float | None:
    if given is None:
        return None
    if (
        isinstance(given, bool)
        or not isinstance(given, int | float)
        or not 0 < given < MOST_COUNTED
    ):
        raise InvalidInput(where, f"it is {shown(given)}", "give a number above 0")
    return float(given)


def _memory(where: str, given: Any) -> int | None:
    if given is None:
        return None
    bytes_ = math.nan
    if _is_whole(given):
        bytes_ = given
    elif isinstance(given, str) and (found := _SIZE.fullmatch(given)) is not None:
        bytes_ = float(found[1]) * 1024 ** UNITS[found[2].lower()]
    if not 1 <= bytes_ < MOST_MEMORY:
        raise InvalidInput(
            where, f"it is {shown(given)}", "give a number of bytes, or text as '4GB'"
        )
    return int(bytes_)


def _gpus(where: str, given: Any) -> int | None:
    if given is None:
        return None
    if not _is_whole(given) or not 0 < given < MOST_COUNTED:
        raise InvalidInput(where, f"it is {shown(given)}", "give a whole number above 0")
    return int(given)


def _is_whole(given: object) -> bool:
    """Whether it is a whole number; 2.0 is one in JSON."""
    return not isinstance(given, bool) and (
        isinstance(given, int) or (isinstance(given, float) and given.is_integer())
    )
