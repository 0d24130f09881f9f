"""Path algebra, compared with `pathlib` on the same texts."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaia_local.model import paths

names = st.sampled_from(["a", "b", "ab", "a.", ".a", "a b", "é"])
absolute = st.lists(names, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
untidy = st.lists(st.one_of(names, st.sampled_from(["", "."])), max_size=6).map("/".join)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a", "a"),
        ("/a//./b/", "a/b"),
        ("./a", "a"),
        ("a/.", "a"),
        ("a./b", "a./b"),
        (".a/b.", ".a/b."),
        (".", ""),
        ("/", ""),
        ("", ""),
    ],
)
def test_a_path_is_made_plain(path: str, expected: str) -> None:
    assert paths.normalized(path) == expected


@given(untidy)
def test_plain_keeps_the_parts_that_mean_something(path: str) -> None:
    assert paths.normalized(path) == "/".join(
        part for part in path.split("/") if part not in ("", ".")
    )
    assert paths.normalized(paths.normalized(path)) == paths.normalized(path)


@pytest.mark.parametrize(
    ("path", "tops", "expected"),
    [
        ("/a", ["/a"], True),
        ("/a/b", ["/a"], True),
        ("/a/b", ["/a/"], True),
        ("/a", ["/"], True),
        ("/ab", ["/a"], False),
        ("/a", ["/a/b"], False),
        ("/a/b", ["/x", "/a"], True),
        ("/a", [], False),
    ],
)
def test_is_inside(path: str, tops: list[str], expected: bool) -> None:
    assert paths.is_inside(path, *tops) is expected


@given(absolute, absolute)
def test_is_inside_goes_by_whole_components(path: str, top: str) -> None:
    assert paths.is_inside(path, top) is PurePosixPath(path).is_relative_to(top)


@given(absolute)
def test_folders_are_the_parents_but_for_the_root(path: str) -> None:
    for spelled in (path, path[1:]):
        parents = list(map(str, PurePosixPath(spelled).parents))
        assert list(paths.folders(spelled)) == parents[:-1]


def test_folders_stop_below_the_top() -> None:
    assert list(paths.folders("/top/a/b/c", "/top")) == ["/top/a/b", "/top/a"]
    assert list(paths.folders("/top/a", "/top")) == []
    assert list(paths.folders("/top", "/top")) == []


def test_the_nearest_path_above_is_found() -> None:
    assert paths.nearest("/a/b/c", {"/a", "/a/b", "/a/b/c"}) == "/a/b"
    assert paths.nearest("/a/b/c", {"/a/b/c", "/a/bc", "/b"}) is None


@given(absolute, absolute)
def test_a_directory_is_less_deep_than_its_content(path: str, top: str) -> None:
    if path != top and paths.is_inside(path, top):
        assert paths.depth(path) > paths.depth(top)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/data/a/b", "a/b"),
        ("//data//a", "a"),
        ("/data", ""),
        ("data/a", "a"),
    ],
)
def test_pop_path(path: str, expected: str) -> None:
    assert paths.pop_path(path) == expected
