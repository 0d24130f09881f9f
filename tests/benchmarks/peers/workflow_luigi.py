"""For luigi: one task a file, two workers, its scheduler in the same process."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import luigi

COUNT, CHAIN = int(os.environ["COUNT"]), os.environ["SHAPE"] == "chain"


class Echo(luigi.Task):  # type: ignore[misc]
    """A trivial Step."""

    number = luigi.IntParameter()

    def requires(self) -> list[Any]:
        return [Echo(number=self.number - 1)] if CHAIN and self.number else []

    def output(self) -> Any:
        return luigi.LocalTarget(str(self.number))

    def run(self) -> None:
        subprocess.run(["sh", "-c", f"echo hi > {self.number}"], check=True)


class Join(luigi.Task):  # type: ignore[misc]
    """Reads all their outputs."""

    def requires(self) -> list[Any]:
        return [Echo(number=number) for number in range(COUNT)]

    def output(self) -> Any:
        return luigi.LocalTarget("joined")

    def run(self) -> None:
        subprocess.run(
            ["sh", "-c", 'cat "$@" > joined', "join", *(target.path for target in self.input())],
            check=True,
        )


last = Echo(number=COUNT - 1) if CHAIN else Join()
sys.exit(not luigi.build([last], workers=2, local_scheduler=True, log_level="ERROR"))
