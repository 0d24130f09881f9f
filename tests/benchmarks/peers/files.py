"""The measured workflows as make and ninja describe them."""

from __future__ import annotations


def makefile(shape: str, count: int) -> str:
    """For make."""
    names = [str(number) for number in range(count)]
    if shape == "chain":
        rules = [
            f"{name}:{f' {int(name) - 1}' if int(name) else ''}\n\techo hi > $@\n" for name in names
        ]
        return f"all: {names[-1]}\n" + "".join(rules)
    rules = [f"{name}:\n\techo hi > $@\n" for name in names]
    return f"joined: {' '.join(names)}\n\tcat $^ > $@\n" + "".join(rules)


def ninja_file(shape: str, count: int) -> str:
    """For ninja."""
    names = [str(number) for number in range(count)]
    head = "rule echo\n  command = echo hi > $out\nrule join\n  command = cat $in > $out\n"
    if shape == "chain":
        return head + "".join(
            f"build {name}: echo{f' {int(name) - 1}' if int(name) else ''}\n" for name in names
        )
    return (
        head
        + "".join(f"build {name}: echo\n" for name in names)
        + f"build joined: join {' '.join(names)}\n"
    )
