"""Shell completion of the names of workflows, Steps and storage keys in the root.

It only reads, and offers no names if that fails.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import typer

from gaia_local.cli.roots import default_root
from gaia_local.terminal_text import holds_controls


def workflows(ctx: typer.Context, incomplete: str) -> list[str]:
    """Workflows of the root that the options before the command name."""
    from gaia_local.state.names import workflow_names

    return _fitting(workflow_names(_root(ctx)), incomplete)


def steps(ctx: typer.Context, incomplete: str) -> list[str]:
    """Steps of the workflow that was typed before."""
    return _fitting(_names(ctx)[0], incomplete)


def steps_and_keys(ctx: typer.Context, incomplete: str) -> list[str]:
    """Steps and storage keys of the workflow that was typed before, without those typed already."""
    known, keys = _names(ctx)
    typed = ctx.params.get("keys") or ()
    return _fitting((name for name in (*known, *keys) if name not in typed), incomplete)


def steps_and_commands(ctx: typer.Context, incomplete: str) -> list[str]:
    """Definitions of the workflow that was typed before, without those typed already."""
    from gaia_local.state.names import definition_names

    typed = ctx.params.get("names") or ()
    known = definition_names(_root(ctx), ctx.params.get("name") or "")
    return _fitting((name for name in known if name not in typed), incomplete)


def _fitting(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete) and not holds_controls(name)]


def _root(ctx: typer.Context) -> Path:
    given = ctx.find_root().params.get("root")
    return Path(given).expanduser() if given else default_root()


def _names(ctx: typer.Context) -> tuple[list[str], list[str]]:
    workflow = ctx.params.get("name")
    if not workflow:
        return [], []
    from gaia_local.state.names import step_and_key_names

    root = _root(ctx)
    return step_and_key_names(root, workflow) or _expanded(root, workflow)


def _expanded(root: Path, workflow: str) -> tuple[list[str], list[str]]:
    """The same, with the Steps that array vars and composites make: takes half a second."""
    with _silence():
        from gaia_local.engine.snapshot import Snapshot
        from gaia_local.errors import GaiaError
        from gaia_local.store.storage import Storage

        try:
            snapshot = Snapshot(root / "gaia.db", Storage(root.absolute(), {}))
            found = snapshot.view(
                workflow, lambda seen: (list(seen.graph.steps), list(seen.graph.keys))
            )
        except GaiaError:
            found = None
    return found or ([], [])


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """No warning comes between a prompt and the word that is being typed."""
    before = logging.root.manager.disable
    logging.disable()
    try:
        yield
    finally:
        logging.disable(before)
