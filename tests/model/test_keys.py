"""Storage keys and the places of outputs: the parsing of their texts."""

from __future__ import annotations

import pickle
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaia_local.model import keys
from gaia_local.model.keys import (
    Capture,
    InternalPath,
    StorageKey,
    internal_path,
    made_files,
    output_place,
    storage_key,
)

texts = st.one_of(st.text(), st.text("ab/:.> {", max_size=12))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("b:a/x", StorageKey("b", "a/x", False)),
        ("b:a/", StorageKey("b", "a/", True)),
        ("a/x", StorageKey(None, "a/x", False)),
        ("a/", StorageKey(None, "a/", True)),
        ("b/c:x:y", StorageKey("b/c", "x:y", False)),
        (":x", StorageKey("", "x", False)),
        ("b/:", StorageKey("b/", "", False)),
    ],
)
def test_a_storage_key_is_parsed(text: str, expected: StorageKey) -> None:
    assert storage_key(text) == StorageKey.parse(text) == expected


@given(texts)
def test_a_storage_key_gives_its_text_back(text: str) -> None:
    key = StorageKey.parse(text)
    assert str(key) == text
    assert key.is_directory is text.endswith("/")
    assert (key.bucket is None) is (":" not in text)


@given(texts, texts)
def test_storage_keys_are_equal_where_their_texts_are(one: str, other: str) -> None:
    assert (StorageKey.parse(one) == StorageKey.parse(other)) is (one == other)


def test_keys_are_immutable_and_survive_pickling() -> None:
    for value in (storage_key("b:x"), internal_path("/out/x")):
        with pytest.raises(AttributeError):
            value.is_directory = True  # type: ignore[misc]
        assert not hasattr(value, "__dict__")
        assert pickle.loads(pickle.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "path", "is_directory"),
    [
        ("/out/x", "/out/x", False),
        ("/out/", "/out", True),
        ("//out/./x", "/out/x", False),
        ("/out/.", "/out", False),
    ],
)
def test_an_internal_path_is_parsed(text: str, path: str, is_directory: bool) -> None:
    assert internal_path(text) == InternalPath(text, path, is_directory)
    assert str(internal_path(text)) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (">", Capture.PRINTED),
        ("STDOUT", Capture.PRINTED),
        (">>", Capture.LOG),
        ("/STDOUT", None),
        (">>>", None),
        ("", None),
    ],
)
def test_captures_are_parsed(text: str, expected: Capture | None) -> None:
    assert Capture.parse(text) is expected
    assert output_place(text) == (expected or InternalPath.parse(text))


def test_made_files_are_those_that_no_capture_gives() -> None:
    made = [("b:x", "/out/x"), ("b:d/", "/out/d/")]
    outputs = [("b:said", ">"), *made, ("b:log", ">>"), ("b:both", "STDOUT")]
    assert list(made_files(outputs)) == [(key, internal_path(path)) for key, path in made]


def test_a_text_is_read_once_while_it_is_in_use() -> None:
    name = str(len("once"))
    assert storage_key("b:4") is storage_key(f"b:{name}")
    assert internal_path("/out/4") is output_place(f"/out/{name}")


def test_a_hundred_thousand_keys_are_not_kept() -> None:
    tracemalloc.start()
    try:
        for number in range(100_000):
            storage_key(f"bucket:folder/{number}")
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert storage_key.cache_info().currsize == keys._REMEMBERED
    assert kept < 1000 * keys._REMEMBERED
