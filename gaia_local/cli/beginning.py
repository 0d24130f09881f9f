"""The command that begins a workflow: writes two files to edit."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from gaia_local.cli.printing import print_line
from gaia_local.cli.program import app

COMMANDS = """\
# yaml-language-server: $schema={schema}
#
# Commands: programs that can be run any number of times. `gaia-local docs workflows` says more.

- name: greet
  image: busybox # the Docker image to run in; local processes ignore it
  # A list of tokens. {{{{name}}}} stands for a var, or for the path of an input or output.
  # YAML needs quotes around text that begins with a brace.
  command: [sh, -c, "echo '{{{{word}}}}, {{{{who}}}}!' > '{{{{greeting}}}}'"]
  outputs:
    greeting: /out/greeting.txt # where the program leaves the file
  vars:
    word: Hello # a default, which a Step can replace

- name: count
  image: busybox
  command: [sh, -c, "cat '{{{{one}}}}' '{{{{other}}}}' | wc -w"]
  inputs:
    one: /in/one.txt # where the program finds the file
    other: /in/other.txt
  outputs:
    words: ">" # what the program prints
"""
STEPS = """\
# yaml-language-server: $schema={schema}
#
# Steps: runs of Commands on certain files. A storage key such as hello:world.txt names a file:
# gaia-data/storage/WORKFLOW/hello/world.txt

- name: greet
  command: greet
  vars:
    who: [world, moon] # a list makes one Step for each value: greet-world, greet-moon
  outputs:
    greeting: "hello:{{{{who}}}}.txt"

- name: count # it runs when both greetings are there, and again when one of them changes
  command: count
  inputs:
    one: hello:world.txt
    other: hello:moon.txt
  outputs:
    words: hello:words.txt
"""
FILES = {"commands": COMMANDS, "steps": STEPS}


@app.command(rich_help_panel="Run")
def init(
    directory: Annotated[
        Path,
        typer.Argument(metavar="[DIR]", show_default=False, help="Where; here by default."),
    ] = Path(),
) -> None:
    """Write a small workflow to begin with: commands.yaml and steps.yaml, with comments."""
    from gaia_local.model.json_schema import schema_file

    paths = {kind: directory / f"{kind}.yaml" for kind in FILES}
    for path in paths.values():
        if path.exists() or path.is_symlink():
            raise typer.BadParameter(
                f"{path} is there already, and nothing is overwritten; give another directory",
                param_hint="DIR",
            )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for kind, path in paths.items():
            with path.open("x", encoding="utf-8") as file:
                file.write(FILES[kind].format(schema=schema_file(kind).as_uri()))
    except OSError as error:
        raise typer.BadParameter(
            f"{error.filename} can't be written ({error.strerror}); give a directory that can be",
            param_hint="DIR",
        ) from None
    words = [word for kind, path in paths.items() for word in (f"--{kind}", str(path))]
    print_line(f"wrote {paths['commands']} and {paths['steps']}; run them, and again as you edit:")
    print_line(f"  gaia-local upload me_hello_1 {shlex.join(words)} --watch")
