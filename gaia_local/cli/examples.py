"""An example for each command, at the end of its --help. Tests run them."""

from __future__ import annotations

import typer

EXAMPLES = {
    "demo": "gaia-local demo",
    "init": "gaia-local init hello",
    "schema": "gaia-local schema commands",
    "check": "gaia-local check commands.json steps.json",
    "upload": "gaia-local upload me_hello_1 --commands commands.json --steps steps.json",
    "merge": "gaia-local merge me_hello_1 --steps steps.json",
    "run": "gaia-local run me_hello_1",
    "expire": "gaia-local expire me_hello_1 greet-moon hello:world.txt",
    "exec": "gaia-local --runtime process exec script.py --seeds 3",
    "serve": "gaia-local serve --port 24442",
    "graph": "gaia-local graph me_hello_1 --direction right -o hello.svg",
    "timeline": "gaia-local timeline me_hello_1 -o hello.html",
    "watch": "gaia-local watch me_hello_1",
    "status": "gaia-local status me_hello_1",
    "workflows": "gaia-local workflows --json",
    "explain": "gaia-local explain me_hello_1 count",
    "logs": "gaia-local logs me_hello_1 greet-world",
    "shell": "gaia-local shell me_hello_1 count --command 'cat run-step.sh'",
    "events": "gaia-local events me_hello_1",
    "usage": "gaia-local usage me_hello_1",
    "reuse": "gaia-local reuse",
    "docs": "gaia-local docs workflows",
    "remove": "gaia-local remove me_hello_1 count",
    "bucket": "gaia-local bucket genomes ~/genomes",
    "halt": "gaia-local halt me_hello_1",
    "delete": "gaia-local delete me_hello_1 --data",
    "clean": "gaia-local clean",
    "doctor": "gaia-local doctor",
}
"""Command → an example call, in the order in which a workflow needs them."""


def attach(app: typer.Typer) -> None:
    """Let the help of each command end with its example."""
    for command in app.registered_commands:
        name = command.name or (command.callback.__name__ if command.callback else "")
        if name in EXAMPLES:
            command.epilog = f"Example: {EXAMPLES[name]}"
