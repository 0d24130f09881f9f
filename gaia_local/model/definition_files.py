"""Reads the files that hold Commands and Steps: YAML if the suffix is .yaml or .yml, else JSON.

`read` answers the values alone, `open_file` also where in the file each of them stands.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gaia_local.errors import InvalidInput
from gaia_local.model.validation import render_value

if TYPE_CHECKING:
    import yaml

MAX_VALUES = 2_000_000
"""In a YAML file, with each alias counted as the values it stands for."""

_RIGHT_JSON = "give valid JSON, or name the file .yaml if it is YAML"
_RIGHT_YAML = "give valid YAML"
_BARE_TEMPLATE = re.compile(r"(?:^|[\s\[,])(?P<template>\{\{ *[\w-]+ *\}\})")
_UNWRITTEN = re.compile(
    "[^\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
"""Characters that JSON may hold as they are, and YAML may not or takes for the end of a line."""
_NOT_FOR_PROGRAMS = ("timeout", "resources")
"""Fields whose values count as numbers, in whatever way they are written."""


class Position(NamedTuple):
    """A place in a file; both count from 1."""

    line: int
    column: int


class InvalidFile(InvalidInput):
    """A file that can't be read; `position` is None if the fault is nowhere in particular."""

    def __init__(
        self, path: Path, problem: str, right: str, position: Position | None = None
    ) -> None:
        where = "" if position is None else f", line {position.line}, column {position.column}"
        super().__init__(f"{path}{where}", problem, right)
        self.path, self.position = path, position

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        return type(self), (self.path, self.problem, self.right, self.position)


class DefinitionFile:
    """A file that was read: its values, and where each of them stands."""

    def __init__(self, path: Path, values: Any, text: str, root: yaml.Node | None) -> None:
        """`root` is the node of the values, None for JSON, where positions are rarely needed."""
        self.path, self.values = path, values
        self._text, self._root, self._is_yaml = text, root, root is not None

    def position(self, way: tuple[Any, ...]) -> Position:
        """Of the value at the end of a way of keys and indices, or of what is nearest to it.

        An entry of a mapping stands where its key does.
        """
        if self._root is None:
            self._root = _json_node(self._text)
        if self._root is None:
            return Position(1, 1)
        node, mark = self._root, self._root.start_mark
        for step in way:
            found = _inside(node, step)
            if found is None:
                break
            mark, node = found
        return _position(mark)

    def respelled(self) -> Iterator[tuple[Position, str, str]]:
        """Plain scalars of YAML that become another text: position, text, and its meaning."""
        if not self._is_yaml or self._root is None:
            return
        import yaml

        loader = yaml.SafeLoader("")
        try:
            for node in _texts(self._root):
                meaning = _meaning(loader.construct_object(node), node.value)
                if meaning is not None:
                    yield _position(node.start_mark), node.value, meaning
        finally:
            loader.dispose()


def read(path: Path) -> Any:
    """The values in a JSON or YAML file. Raises `InvalidFile` with the file and the line."""
    return open_file(path).values


def parse(path: Path, contents: bytes) -> Any:
    """The values in the bytes of a JSON or YAML file. Raises `InvalidFile` as `read` does."""
    return _parse(path, contents).values


def open_file(path: Path) -> DefinitionFile:
    """A JSON or YAML file with its values' positions. Raises `InvalidFile` as `read` does."""
    try:
        contents = path.read_bytes()
    except OSError as error:
        raise InvalidFile(
            path, f"it can't be read ({error.strerror})", "give a file that can be read"
        ) from None
    return _parse(path, contents)


def _parse(path: Path, contents: bytes) -> DefinitionFile:
    try:
        text = contents.decode("utf-8-sig")  # editors on Windows write a byte order mark
    except UnicodeDecodeError:
        raise InvalidFile(path, "it isn't UTF-8 text", "save it as UTF-8") from None
    try:
        if path.suffix in (".yaml", ".yml"):
            return DefinitionFile(path, *_read_yaml(path, text))
        return DefinitionFile(path, _read_json(path, text), text, None)
    except RecursionError:
        right = "give a list of Commands or Steps"
        raise InvalidFile(path, "it is nested too deeply", right) from None


def _read_json(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        problem, at = f"this is not valid JSON: {error.msg}", Position(error.lineno, error.colno)
        raise InvalidFile(path, problem, _RIGHT_JSON, at) from None
    except ValueError as error:  # a number of too many digits
        raise InvalidFile(path, str(error), _RIGHT_JSON) from None


def _read_yaml(path: Path, text: str) -> tuple[Any, str, yaml.Node | None]:
    import yaml

    try:
        values, root = _safe_yaml(text)
    except yaml.MarkedYAMLError as error:
        raise _yaml_refusal(path, text, error) from None
    except (
        yaml.YAMLError,
        ValueError,
    ) as error:  # a character that may not be there; no date though it looks like one
        raise InvalidFile(path, f"this is not valid YAML: {error}", _RIGHT_YAML) from None
    return values, text, root


def _yaml_refusal(path: Path, text: str, error: yaml.MarkedYAMLError) -> InvalidFile:
    """The refusal of a YAML file; a template without quotes is the usual reason."""
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return InvalidFile(path, f"this is not valid YAML: {error.problem}", _RIGHT_YAML)
    lines = text.splitlines()
    first = mark.line if error.context_mark is None else min(error.context_mark.line, mark.line)
    for number in range(min(mark.line, len(lines) - 1), first - 1, -1):
        for found in _BARE_TEMPLATE.finditer(lines[number]):
            before, template = lines[number][: found.start("template")], found["template"]
            if before.count('"') % 2 == 0 and before.count("'") % 2 == 0:
                return InvalidFile(
                    path,
                    f"this is not valid YAML: {template} without quotes begins a mapping",
                    f'put the whole text in quotes, as "{template}"',
                    Position(number + 1, found.start("template") + 1),
                )
    problem = f"this is not valid YAML: {error.problem or error.context}"
    return InvalidFile(path, problem, _RIGHT_YAML, _position(mark))


def _safe_yaml(text: str) -> tuple[Any, yaml.Node | None]:
    """Plain values, and their node.

    Aliases are counted before they are expanded, which may be exponential.
    """
    import yaml

    sizes: dict[yaml.Node, int] = {}

    def size(node: yaml.Node) -> int:
        """The number of values in `node`, with aliases expanded."""
        if node in sizes:
            if not sizes[node]:
                raise yaml.MarkedYAMLError(
                    problem="an alias refers to a value that contains it",
                    problem_mark=node.start_mark,
                )
            return sizes[node]
        sizes[node] = 0  # being counted
        inner = node.value if isinstance(node, yaml.CollectionNode) else []
        count = 1 + sum(
            map(size, itertools.chain(*inner) if isinstance(node, yaml.MappingNode) else inner)
        )
        if count > MAX_VALUES:
            problem = f"with its aliases expanded it holds over {MAX_VALUES:,} values"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        sizes[node] = count
        return count

    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, None
        size(node)
        return loader.construct_document(node), node
    finally:
        loader.dispose()


def _json_node(text: str) -> yaml.Node | None:
    """The node of valid JSON, which is YAML but for some characters; None if it is too large."""
    import yaml

    loader = yaml.SafeLoader(_UNWRITTEN.sub(" ", text))
    try:
        return loader.get_single_node()
    except (yaml.YAMLError, RecursionError):  # a key of over 1024 characters, a deep nesting
        return None
    finally:
        loader.dispose()


def _inside(node: yaml.Node, step: Any) -> tuple[yaml.Mark, yaml.Node] | None:
    """The mark and the node at a key or index of another node."""
    import yaml

    if isinstance(node, yaml.MappingNode):
        for key, value in reversed(node.value):
            if key.value == step:
                return key.start_mark, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step].start_mark, node.value[step]
    return None


def _texts(root: yaml.Node) -> Iterator[yaml.Node]:
    """The plain scalars that programs are given, or that name something."""
    import yaml

    seen: set[int] = set()
    nodes = [(root, False)]
    while nodes:
        node, is_entry = nodes.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            nodes += [(inner, True) for inner in node.value]
        elif isinstance(node, yaml.ScalarNode) and node.style is None:
            yield node
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if not (is_entry and key.value in _NOT_FOR_PROGRAMS):
                    nodes += [(key, False), (value, False)]


def _meaning(value: object, text: str) -> str | None:
    """What YAML makes of a text, if programs get something else than what is written."""
    if isinstance(value, bool):
        same = text.lower() == render_value(value)
        return None if same else render_value(value)
    if isinstance(value, int | float):
        return None if str(value) == text else f"the number {value}"
    return None if value is None or isinstance(value, str) else "a date"


def _position(mark: yaml.Mark) -> Position:
    return Position(mark.line + 1, mark.column + 1)
