"""`gaia-local docs`: the list of pages, one page, and a topic that there isn't."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gaia_local.cli.documents import documents, folder
from support.command_line import call, here

__all__ = ["here"]  # a fixture for all tests

DOCS = Path(__file__).parents[2] / "resources" / "docs"


def test_a_checkout_reads_its_own_pages() -> None:
    assert folder() == DOCS
    assert {page.topic for page in documents()} | {"README"} == {
        path.stem for path in DOCS.glob("*.md")
    }


def test_topics_are_listed_in_the_order_of_the_index_with_a_line_each() -> None:
    heading, *lines = call("docs").stdout.splitlines()
    assert heading.split() == ["topic", "contents"]
    assert [line.split()[0] for line in lines] == [page.topic for page in documents()]
    assert lines[0].split(maxsplit=1)[1] == documents()[0].summary


@pytest.mark.parametrize("topic", [page.topic for page in documents()])
def test_a_page_is_printed_as_it_is(topic: str) -> None:
    assert call("docs", topic).stdout == (DOCS / f"{topic}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("topic", "advice"),
    [
        ("workflow", "did you mean 'workflows'?"),
        ("", "the pages are: "),
        ("../../README", "the pages are: "),
    ],
)
def test_an_unknown_topic_is_refused_with_advice(topic: str, advice: str) -> None:
    told = call("docs", topic, status=2)
    message = " ".join(told.stderr.replace("│", " ").split())
    assert f"there is no page {topic!r}; {advice}" in message
    assert told.stdout == ""


def test_pages_are_printed_without_a_root_and_without_the_engine(here: Path) -> None:
    code = (
        "import sys, gaia_local.cli as c\n"
        "try:\n    c.main()\n"
        "finally:\n    print(*sorted(sys.modules), file=sys.stderr)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, "docs", "workflows"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.startswith("# Workflows\n")
    loaded = told.stderr.split()
    assert "gaia_local.cli.documents" in loaded
    for module in ("gaia_local.api", "rich.console", "networkx", "sqlite_utils"):
        assert module not in loaded
    assert list(here.iterdir()) == []
