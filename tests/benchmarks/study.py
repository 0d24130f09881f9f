"""A study: 277 Steps over 1,174 input files, as plain data for all programs that run it.

Chains of simulations, each analysed; the analyses of a chain are joined, and then all chains.
Other programs' descriptions import this in environments without gaia_local.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SCRIPT = (
    'name=$1 counter=$2 size=$3 out=$4; shift 4; echo "$name" >> "$counter"; '
    '{ cat "$@" | cksum; head -c "$size" /dev/zero; } > "$out"'
)
"""Each Step's program: its output depends on all that it reads, and its run is written down."""


@dataclass(frozen=True)
class Part:
    """One Step."""

    kind: str
    """Its Command."""
    name: str
    reads: tuple[str, ...]
    """Names of the parts whose outputs it reads."""
    inputs: tuple[str, ...] = ()
    """Input files that it reads, too: relative paths."""


@dataclass(frozen=True)
class Size:
    """How large a study is."""

    chains: int = 16
    generations: int = 8
    raw: int = 1046
    """The input files of the first Step; each simulation has one more."""
    output: int = 0
    """Bytes of each output, beside a line."""

    @property
    def inputs(self) -> int:
        """The number of all input files."""
        return self.raw + self.chains * self.generations


def study(size: Size) -> list[Part]:
    """All Steps; each after those whose outputs it reads."""
    parts = [Part("parca", "parca", (), tuple(f"raw/{number}" for number in range(size.raw)))]
    parts.append(Part("variant", "variant", ("parca",)))
    for chain in range(size.chains):
        before = "variant"
        for generation in range(size.generations):
            name = f"{chain}-{generation}"
            parts.append(Part("sim", f"sim-{name}", (before,), (f"sim/{name}",)))
            parts.append(Part("analysis", f"analysis-{name}", (f"sim-{name}",)))
            before = f"sim-{name}"
        analyses = tuple(f"analysis-{chain}-{number}" for number in range(size.generations))
        parts.append(Part("chain", f"chain-{chain}", analyses))
    for half in (0, 1):
        joined = tuple(f"chain-{number}" for number in range(half, size.chains, 2))
        parts.append(Part("half", f"half-{half}", joined))
    return [*parts, Part("all", "all", ("half-0", "half-1"))]


def dependents(parts: Sequence[Part], path: str) -> set[str]:
    """The names of all parts that depend on one input file."""
    found = set[str]()
    for part in parts:
        if path in part.inputs or found.intersection(part.reads):
            found.add(part.name)
    return found


def write_inputs(size: Size, folder: str) -> None:
    """Make all input files; no two are equal."""
    for part in study(size):
        for path in part.inputs:
            place = Path(folder, path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(f"{path}\n")


def in_environment() -> tuple[Size, str, str, str]:
    """The size, and the paths of counter, inputs and outputs, that another program is told."""
    chains, generations, raw, output = map(int, os.environ["SIZE"].split(","))
    paths = os.environ["COUNTER"], os.environ["INPUTS"], os.environ["OUTPUTS"]
    return Size(chains, generations, raw, output), *paths


def command(part: Part, size: Size, counter: str, out: str, paths: Sequence[str]) -> list[str]:
    """A part's program with its arguments; `paths` are those of all that it reads."""
    return ["sh", "-c", SCRIPT, "sh", part.name, counter, str(size.output), out, *paths]
