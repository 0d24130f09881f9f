"""For luigi: the study, one task a Step. The environment is that of `benchmarks.study`."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import luigi

from benchmarks.study import command, in_environment, study

SIZE, COUNTER, INPUTS, OUTPUTS = in_environment()
PARTS = {part.name: part for part in study(SIZE)}


class Step(luigi.Task):  # type: ignore[misc]
    """One Step."""

    part = luigi.Parameter()

    def requires(self) -> list[Any]:
        return [Step(part=name) for name in PARTS[self.part].reads]

    def output(self) -> Any:
        return luigi.LocalTarget(f"{OUTPUTS}/{self.part}")

    def run(self) -> None:
        paths = [target.path for target in self.input()]
        paths += [f"{INPUTS}/{path}" for path in PARTS[self.part].inputs]
        part = PARTS[self.part]
        subprocess.run(command(part, SIZE, COUNTER, self.output().path, paths), check=True)


sys.exit(not luigi.build([Step(part="all")], workers=2, local_scheduler=True, log_level="ERROR"))
