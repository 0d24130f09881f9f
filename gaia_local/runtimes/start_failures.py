"""Why a program could not be started, in the same words for all runtimes."""

from __future__ import annotations

import os
from collections.abc import Collection

BEGINNING_BYTES = 256
"""How much of a program's file tells of its interpreter."""
_LONGEST_TOKEN = 131_071
"""Bytes of a token that Linux takes."""


def missing_interpreter(program: str, beginning: bytes, where: str) -> str:
    """The missing part of a program whose file is there; `beginning` is that of its file."""
    there = f"program {program!r} is there, but"
    line = beginning.partition(b"\n")[0]
    if not line.startswith(b"#!"):
        return f"{there} the interpreter or loader that it names is missing {where}"
    if line.endswith(b"\r"):
        return f"{there} its lines end with CR LF: save it with those of Unix, LF alone"
    words = line[2:].split(maxsplit=1)
    interpreter = words[0].decode("utf-8", "replace") if words else ""
    return f"{there} the interpreter {interpreter!r} that its first line names is missing {where}"


def too_long(tokens: Collection[str]) -> str:
    """The reason why no program can be given these tokens."""
    longest = max(len(os.fsencode(token)) for token in tokens)
    problem = (
        f"its longest token has {longest} bytes, and a program takes {_LONGEST_TOKEN} at most"
        if longest > _LONGEST_TOKEN
        else f"its {len(tokens)} tokens (the longest has {longest} bytes) and the environment are"
        " more than a program takes"
    )
    return f"{problem}; write them to a file and give it as an input"
