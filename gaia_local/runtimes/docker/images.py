"""Finds the images of a Docker engine, and pulls those that it lacks."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import NamedTuple

from gaia_local.errors import RuntimeFailure
from gaia_local.monotonic import monotonic
from gaia_local.runtimes.docker.engine import DockerEngine, never
from gaia_local.runtimes.docker.responses import Interrupted, NoAnswer, Refusal, translated_errors

logger = logging.getLogger("gaia_local")

FAILED_SECONDS = 20.0
"""How long a registry that refused an image isn't asked for it again: many Steps may want it."""


class Image(NamedTuple):
    """An image that is here."""

    id: str
    directory: str
    """The working directory that it names; empty where it names none."""
    has_home: bool
    """Whether it sets HOME."""
    entrypoint: tuple[str, ...] = ()
    """The tokens before those of a Command."""


class _Pull(NamedTuple):
    """A try to pull an image, and the time until which later requests get its result."""

    began: float
    failure: str | None
    counts_until: float

    def is_over(self, asked: float) -> bool:
        return self.began < asked and self.counts_until < monotonic()


class Images:
    """The images of one engine. Thread-safe."""

    def __init__(self, engine: DockerEngine) -> None:
        self._engine = engine
        self._pulls: dict[str, _Pull] = {}
        self._ids: dict[str, tuple[float, str | None]] = {}
        """Image → when its id was asked for, and the answer."""

    def get(self, name: str, policy: str, stop: Callable[[], bool]) -> Image:
        """An image, pulled by `policy`. Raises `RuntimeFailure` if there is none."""
        asked = monotonic()
        image = None if policy == "always" else self.find(name, stop)
        if image is None and policy == "never":
            raise RuntimeFailure(
                f"image {name!r} is not here and docker.pull is 'never'; `docker pull` or"
                " `docker build` it, or set docker.pull to 'missing'"
            )
        if image is None:
            with self._engine.exclusive(f"pull {name}", stop):
                self._pull_once(name, policy, asked, stop)
                image = self.find(name, stop)
        if image is None:
            raise RuntimeFailure(
                f"image {name!r} was pulled and then vanished; make sure that nothing removes it"
            )
        return image

    def recent_id(self, name: str, age: float) -> str | None:
        """The id of an image, as it was at most `age` seconds ago; None if it isn't here."""
        asked, image_id = self._ids.get(name, (-math.inf, None))
        if monotonic() - asked >= age:
            asked, found = monotonic(), self.find(name)
            image_id = None if found is None else found.id
            self._ids[name] = asked, image_id
        return image_id

    def find(self, name: str, stop: Callable[[], bool] = never) -> Image | None:
        """An image; None where the engine doesn't have it."""
        try:
            found = self._engine.ask(lambda client: client.inspect_image(name), stop)  # type: ignore[no-untyped-call]
        except Refusal as refusal:
            if refusal.status != 404:
                raise
            return None
        config = found["Config"]
        # Builders write a "/" where a Dockerfile says nothing.
        directory = (config.get("WorkingDir") or "").rstrip("/")
        variables = config.get("Env") or ()
        has_home = any(text.startswith("HOME=") and text != "HOME=" for text in variables)
        entrypoint = tuple(config.get("Entrypoint") or ())
        return Image(str(found["Id"]), directory, has_home, entrypoint)

    def pullable(self, name: str) -> bool:
        """Whether a registry has the image, with access for this user."""
        client = self._engine.client
        try:
            with translated_errors():
                client.inspect_distribution(name)  # type: ignore[no-untyped-call]
        except (Refusal, NoAnswer):
            return False
        return True

    def _pull_once(self, name: str, policy: str, asked: float, stop: Callable[[], bool]) -> None:
        """Pull, unless another thread's pull began after `asked`, or failed a moment ago."""
        if policy == "missing" and self.find(name, stop) is not None:
            return
        last = self._pulls.get(name)
        if last is None or last.is_over(asked):
            last = self._pulls[name] = self._try_to_pull(name, stop)
        if last.failure is not None:
            advice = "check the Command's image, `docker pull` or `docker build` it"
            if policy == "always":
                advice += ", or set docker.pull to 'missing' to use the image that is here"
            raise RuntimeFailure(
                f"image {name!r} could not be pulled (docker.pull is {policy!r});"
                f" the engine says: {last.failure}; {advice}"
            )

    def _try_to_pull(self, name: str, stop: Callable[[], bool]) -> _Pull:
        began, failure, refused = monotonic(), None, False
        try:
            self._pull(name, stop)
        except (Refusal, NoAnswer) as error:
            failure, refused = str(error), isinstance(error, Refusal)
        return _Pull(began, failure, monotonic() + FAILED_SECONDS if refused else began)

    def _pull(self, name: str, stop: Callable[[], bool]) -> None:
        client = self._engine.client
        from docker.utils import parse_repository_tag

        logger.info("image %r: pulling", name)
        repository, tag = parse_repository_tag(name)
        with translated_errors():
            for progress in client.pull(repository, tag=tag or "latest", stream=True, decode=True):
                if "error" in progress:
                    raise Refusal(0, str(progress["error"]))
                if stop():
                    raise Interrupted
