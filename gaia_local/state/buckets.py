"""The directories of buckets: as configured, and as recorded in the root."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gaia_local.config import Config
from gaia_local.errors import DatabaseError, InvalidInput
from gaia_local.state.database import Database


@dataclass(frozen=True)
class Use:
    """A workflow uses a bucket."""

    workflow: str
    bucket: str
    directory: str | None
    """The directory of the bucket; None if it is under the root."""


def read_uses(database: Database) -> list[Use]:
    """The uses that a root remembers."""
    return [Use(*row) for row in database.buckets()]


def with_remembered(root: Path, given: Mapping[str, Path], uses: Iterable[Use]) -> dict[str, Path]:
    """All buckets that are mapped.

    Raises `InvalidInput` if one has another directory now than workflows use.
    """
    mapped = dict(given)
    for use in uses:
        now, own = given.get(use.bucket), f"{root}/storage/{use.workflow}/{use.bucket}"
        where, made = f"config, bucket {use.bucket!r}", f"workflow {use.workflow!r} was made with"
        if use.directory is None:
            if now is not None and _holds_files(own):
                right = f"move them there and remove {own}, or leave the bucket out"
                raise InvalidInput(
                    where, f"{made} files of it in {own}, which {now} would hide", right
                )
        elif now is None:
            mapped[use.bucket] = Path(use.directory)
        elif os.path.realpath(use.directory) != os.path.realpath(now):
            right = (
                "leave it out (if the directory has moved, put a link to it there), "
                "or delete the workflow first"
            )
            raise InvalidInput(where, f"{made} {use.directory}, and it is {now} now", right)
    return mapped


def recall(config: Config) -> Config:
    """The configuration with the buckets that its root remembers, as far as that can be read.

    Raises as `with_remembered` does.
    """
    path = config.root / "gaia.db"
    uses: list[Use] = []
    if path.exists():
        with (
            contextlib.suppress(DatabaseError),
            contextlib.closing(Database(path, readonly=True)) as database,
        ):
            uses = read_uses(database)
    return config.with_buckets(with_remembered(config.root, config.buckets, uses))


def _holds_files(directory: str) -> bool:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return bool(os.listdir(directory))
    return False
