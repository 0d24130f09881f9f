"""Reads the files that hold Commands and Steps: YAML if the suffix is .yaml or .yml, else JSON."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

from gaia_local.errors import InvalidInput

MAX_VALUES = 2_000_000
"""In a YAML file, with each alias counted as the values it stands for."""

_RIGHT_JSON = "give valid JSON, or name the file .yaml if it is YAML"
_RIGHT_YAML = "give valid YAML"


def read(path: Path) -> Any:
    """The values in a JSON or YAML file. Raises `InvalidInput` with the file and the line."""
    try:
        contents = path.read_bytes()
    except OSError as error:
        raise InvalidInput(
            str(path), f"it can't be read ({error.strerror})", "give a file that can be read"
        ) from None
    return parse(path, contents)


def parse(path: Path, contents: bytes) -> Any:
    """The values in the bytes of a JSON or YAML file. Raises `InvalidInput` as `read` does."""
    try:
        text = contents.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInput(str(path), "it isn't UTF-8 text", "save it as UTF-8") from None
    try:
        return (
            _read_yaml(path, text) if path.suffix in (".yaml", ".yml") else _read_json(path, text)
        )
    except RecursionError:
        raise InvalidInput(
            str(path), "it is nested too deeply", "give a list of Commands or Steps"
        ) from None


def _read_json(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"{path}, line {error.lineno}, column {error.colno}"
        raise InvalidInput(where, f"this is not valid JSON: {error.msg}", _RIGHT_JSON) from None
    except ValueError as error:  # a number of too many digits
        raise InvalidInput(str(path), str(error), _RIGHT_JSON) from None


def _read_yaml(path: Path, text: str) -> Any:
    import yaml

    try:
        return _safe_yaml(text)
    except yaml.MarkedYAMLError as error:
        where = f"{path}, line {error.problem_mark.line + 1}" if error.problem_mark else str(path)
        raise InvalidInput(
            where, f"this is not valid YAML: {error.problem or error.context}", _RIGHT_YAML
        ) from None
    except (
        yaml.YAMLError,
        ValueError,
    ) as error:  # a character that may not be there; no date though it looks like one
        raise InvalidInput(str(path), f"this is not valid YAML: {error}", _RIGHT_YAML) from None


def _safe_yaml(text: str) -> Any:
    """Plain values only; aliases are counted before they are expanded, which may be exponential."""
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
            return None
        size(node)
        return loader.construct_document(node)
    finally:
        loader.dispose()
