"""Lists the keys of all answers, as a page made from their types: ``python -m answers_page``."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from gaia_local import Gaia
from gaia_local.model import answer_types

HEAD = f"""# Answers

The keys of all answers, from the types that type checkers know, `{answer_types.__name__}`;
`make answers` writes this page anew. Times are seconds since the epoch. What is *optional* isn't
in every answer.

| method of `Gaia` | its answer |
|---|---|"""


@dataclass
class Entry:
    """One type: its description, and its keys with their types."""

    name: str
    text: str = ""
    keys: dict[str, str] | None = None
    """None if it isn't a dictionary with fixed keys."""
    alias: str = ""
    parent: str = ""


def entries(source: str) -> dict[str, Entry]:
    """The types of a module, in its order."""
    found: dict[str, Entry] = {}
    last: Entry | None = None
    for node in ast.parse(source).body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and last is not None:
            last.text = inspect.cleandoc(str(node.value.value))
            continue
        last = entry(node)
        if last is not None:
            found[last.name] = last
    for answer in found.values():
        if answer.parent and answer.keys is not None:
            answer.keys = {**(found[answer.parent].keys or {}), **answer.keys}
    return found


def entry(node: ast.stmt) -> Entry | None:
    """The type that a statement defines."""
    if isinstance(node, ast.ClassDef):
        fields = [field for field in node.body if isinstance(field, ast.AnnAssign)]
        keys = {ast.unparse(field.target): ast.unparse(field.annotation) for field in fields}
        parent = ast.unparse(node.bases[0]).removeprefix("TypedDict")
        return Entry(node.name, ast.get_docstring(node) or "", keys, parent=parent)
    if isinstance(node, ast.AnnAssign) and node.value is not None:
        return Entry(ast.unparse(node.target), alias=ast.unparse(node.value))
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
        fields_of = node.value.args[1]
        assert isinstance(fields_of, ast.Dict)
        pairs = zip(fields_of.keys, fields_of.values, strict=True)
        keys = {ast.literal_eval(key): ast.unparse(kind) for key, kind in pairs if key is not None}
        return Entry(ast.unparse(node.targets[0]), keys=keys)
    return None


def linked(kind: str, known: dict[str, Entry]) -> str:
    """A type in words, with links to those that the page has."""
    optional = re.fullmatch(r"NotRequired\[(.*)\]", kind)
    text = optional[1] if optional else kind
    for mark, written in (("|", "or"), ("[", "\\["), ("]", "\\]")):
        text = text.replace(mark, written)
    names = "|".join(known)
    text = re.sub(rf"\b({names})\b", lambda name: f"[{name[0]}](#{name[0].lower()})", text)
    return text + (", *optional*" if optional else "")


def page() -> str:
    """The whole page."""
    known = entries(inspect.getsource(answer_types))
    return "\n".join([HEAD, *methods(known), *types(known), ""])


def methods(known: dict[str, Entry]) -> Iterator[str]:
    for name, function in inspect.getmembers(Gaia, inspect.isfunction):
        answer = str(inspect.unwrap(function).__annotations__.get("return"))
        if not name.startswith("_") and set(re.findall(r"\w+", answer)) & known.keys():
            yield f"| `{name}` | {linked(answer, known)} |"


def types(known: dict[str, Entry]) -> Iterator[str]:
    for answer in known.values():
        yield f"\n## {answer.name}\n\n{answer.text}"
        if answer.alias:
            yield f"\n{linked(answer.alias, known)}"
        if answer.keys is not None:
            yield "\n| key | type |\n|---|---|"
            for key, kind in answer.keys.items():
                yield f"| `{key}` | {linked(kind, known)} |"


if __name__ == "__main__":
    sys.stdout.write(page())
