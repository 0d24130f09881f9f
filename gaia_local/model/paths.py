"""Path algebra: on the texts of paths, by whole components and without the disk."""

from __future__ import annotations

from collections.abc import Collection, Iterator


def normalized(path: str) -> str:
    """A relative, normalized path: ``/a//./b/`` becomes ``a/b``."""
    path = path.strip("/")
    if "//" in path or "./" in path or path.endswith("/.") or path == ".":
        return "/".join(part for part in path.split("/") if part not in ("", "."))
    return path


def is_inside(path: str, *tops: str) -> bool:
    """Whether a path is one of `tops`, or inside one."""
    return any(path == top or path.startswith(top.rstrip("/") + "/") for top in tops)


def folders(path: str, top: str = "") -> Iterator[str]:
    """The directories around a path, the nearest first: those below `top`, never the root."""
    end = len(path)
    while (end := path.rfind("/", 0, end)) > len(top):
        yield path[:end]


def parent(path: str) -> str:
    """The directory around an absolute, normalized path, as `os.path.dirname` has it."""
    return path.rpartition("/")[0] or "/"


def nearest(path: str, others: Collection[str]) -> str | None:
    """The nearest of `others` that contains a path."""
    return next((folder for folder in folders(path) if folder in others), None)


def depth(path: str) -> int:
    """The depth of an absolute, normalized path: greater than that of any directory around it."""
    return path.count("/")


def pop_path(path: str) -> str:
    """An internal path without its first component: ``/data/a/b`` becomes ``a/b``."""
    return path.lstrip("/").partition("/")[2].lstrip("/")
