"""Timelines as pictures: a lane for each worker, a bar for each attempt at a Step.

Made from the answer of `Gaia.timeline` alone.

Promises that a page or a picture of it needs no other file.
Never in it: a clock; all times come with the answer.
"""

from __future__ import annotations

from gaia_local.pictures.timeline.lanes import Bar, Lane, Timeline, arrange
from gaia_local.pictures.timeline.page import html
from gaia_local.pictures.timeline.sheet import svg

__all__ = ["Bar", "Lane", "Timeline", "arrange", "html", "svg"]
