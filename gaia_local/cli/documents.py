"""The command that prints the documents: ``resources/docs`` in a checkout, ``gaia_local/docs``
in the built package.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from gaia_local.cli.output import print_table
from gaia_local.cli.program import app
from gaia_local.errors import nearest, shown

_ENTRY = re.compile(r"^- \[(.+)\]\(([\w-]+)\.md\): (.+)$", flags=re.MULTILINE)
"""A line of the index, with the title, the topic and the summary of a page."""


@dataclass(frozen=True)
class Document:
    """A page of the documents, as the index lists it."""

    topic: str
    title: str
    summary: str

    def text(self) -> str:
        """The page, in Markdown."""
        return (folder() / f"{self.topic}.md").read_text(encoding="utf-8")


def folder() -> Path:
    """The directory of the pages, in a checkout and in an installed package alike."""
    packaged = Path(__file__).parents[1] / "docs"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "resources" / "docs"


def documents() -> list[Document]:
    """All pages, in the order of the index."""
    index = (folder() / "README.md").read_text(encoding="utf-8")
    return [Document(topic, title, summary) for title, topic, summary in _ENTRY.findall(index)]


def _fitting(incomplete: str) -> list[str]:
    return [page.topic for page in documents() if page.topic.startswith(incomplete)]


@app.command("docs", rich_help_panel="Ask")
def print_documents(
    topic: Annotated[
        str | None,
        typer.Argument(
            metavar="[TOPIC]",
            show_default=False,
            help="The page to print.",
            autocompletion=_fitting,
        ),
    ] = None,
) -> None:
    """List the pages of the documents, or print one of them as Markdown."""
    pages = {page.topic: page for page in documents()}
    if topic is None:
        print_table(["topic", "contents"], [[page.topic, page.summary] for page in pages.values()])
    elif topic in pages:
        sys.stdout.write(pages[topic].text())
    else:
        raise typer.BadParameter(
            f"there is no page {shown(topic)}; {nearest(topic, pages, 'the pages are')}",
            param_hint="TOPIC",
        )
