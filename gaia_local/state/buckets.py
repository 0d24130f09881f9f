"""The directories of buckets: as configured, and as recorded in the root."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from gaia_local.config import Config
from gaia_local.errors import DatabaseError, InvalidInput, nearest
from gaia_local.state.database import Database
from gaia_local.store.ownership import Ownership


class Use(NamedTuple):
    """A workflow uses a bucket, or all calls have it."""

    workflow: str
    """Empty if the directory is recorded for all calls."""
    bucket: str
    directory: str | None
    """The directory of the bucket; None if it is under the root."""


def read_uses(database: Database) -> list[Use]:
    """The uses that a root remembers."""
    return [Use(*row) for row in database.buckets()]


def with_remembered(root: Path, given: Mapping[str, Path], uses: Iterable[Use]) -> dict[str, Path]:
    """All buckets that are mapped: as given, else as workflows use them, else as recorded.

    Raises `InvalidInput` if one has another directory now than workflows use.
    """
    uses = list(uses)
    given = {**recorded(uses), **given}
    mapped = dict(given)
    for use in uses:
        if not use.workflow:
            continue
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


def remembered(root: Path) -> list[Use]:
    """The uses that a root remembers, as far as they can be read. Changes nothing."""
    path = root / "gaia.db"
    if path.exists():
        with (
            contextlib.suppress(DatabaseError),
            contextlib.closing(Database(path, readonly=True)) as database,
        ):
            return read_uses(database)
    return []


def recall(config: Config) -> Config:
    """The configuration with the buckets that its root remembers, as far as that can be read.

    Raises as `with_remembered` does.
    """
    uses = remembered(config.root)
    return config.with_buckets(with_remembered(config.root, config.buckets, uses))


def recorded(uses: Iterable[Use]) -> dict[str, Path]:
    """The buckets recorded for all calls, without those that workflows use elsewhere."""
    uses = list(uses)
    known = {
        use.bucket: Path(use.directory)
        for use in uses
        if not use.workflow and use.directory is not None
    }
    elsewhere = {use.bucket for use in uses if use.workflow and use.directory is not None}
    return {name: path for name, path in known.items() if name not in elsewhere}


def record(config: Config, bucket: str, directory: Path) -> None:
    """Record the directory of a bucket in the root, for all later calls.

    Raises `InvalidInput` if the directory isn't there, or workflows use another; `RootInUse` if a
    process owns the root.
    """
    if not directory.is_dir():
        right = "make it first, or give the one that holds the files"
        raise InvalidInput(f"bucket {bucket!r}", f"{directory} isn't a directory", right)
    with _opened(config.root) as database:
        with_remembered(config.root, {bucket: directory}, read_uses(database))
        database.set_buckets("", {bucket: str(directory)})


def forget(config: Config, bucket: str) -> None:
    """Take a recorded bucket back.

    Raises `InvalidInput` if it isn't recorded, or a workflow uses it; `RootInUse` as `record`.
    """
    where = f"bucket {bucket!r}"
    with _opened(config.root) as database:
        uses = [use for use in read_uses(database) if use.directory is not None]
        known = {use.bucket for use in uses if not use.workflow}
        if bucket not in known:
            right = nearest(bucket, known, "recorded")
            raise InvalidInput(where, f"root {config.root} has no record of it", right)
        users = sorted(use.workflow for use in uses if use.workflow and use.bucket == bucket)
        if users:
            names = ", ".join(users)
            raise InvalidInput(where, f"it is used by {names}", "delete what uses it first")
        database.set_buckets("", {bucket: None})


@contextlib.contextmanager
def _opened(root: Path) -> Iterator[Database]:
    """The rows of a root that nobody else owns meanwhile."""
    owned = Ownership(root)
    try:
        with contextlib.closing(Database(root / "gaia.db")) as database, database.transaction():
            yield database
    finally:
        owned.release()


def _holds_files(directory: str) -> bool:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return bool(os.listdir(directory))
    return False
