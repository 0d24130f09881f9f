"""Finds the images of a Docker engine, and pulls those that it lacks."""

from __future__ import annotations

import logging
from collections.abc import Callable

from gaia_local.errors import RuntimeFailure
from gaia_local.monotonic import monotonic
from gaia_local.runtimes.docker.engine import DockerEngine, never
from gaia_local.runtimes.docker.responses import Interrupted, NoAnswer, Refusal, translated_errors

logger = logging.getLogger("gaia_local")


class Images:
    """The images of one engine. Thread-safe."""

    def __init__(self, engine: DockerEngine) -> None:
        self._engine = engine
        self._pulls: dict[str, tuple[float, str | None]] = {}

    def get(self, name: str, policy: str, stop: Callable[[], bool]) -> str:
        """The id of an image, pulled as `policy` says. Raises `RuntimeFailure` for want of one."""
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

    def find(self, name: str, stop: Callable[[], bool] = never) -> str | None:
        """The id of an image; None where the engine doesn't have it."""
        try:
            found = self._engine.ask(lambda client: client.inspect_image(name), stop)  # type: ignore[no-untyped-call]
        except Refusal as refusal:
            if refusal.status != 404:
                raise
            return None
        return str(found["Id"])

    def pullable(self, name: str) -> bool:
        """Whether a registry has the image and lets this user see it."""
        client = self._engine.client
        try:
            with translated_errors():
                client.inspect_distribution(name)  # type: ignore[no-untyped-call]
        except (Refusal, NoAnswer):
            return False
        return True

    def _pull_once(self, name: str, policy: str, asked: float, stop: Callable[[], bool]) -> None:
        """Pull, unless another thread's pull began after `asked`: then its result counts."""
        if policy == "missing" and self.find(name, stop) is not None:
            return
        began, failure = self._pulls.get(name, (-1.0, None))
        if began < asked:
            began, failure = monotonic(), None
            try:
                self._pull(name, stop)
            except (Refusal, NoAnswer) as error:
                failure = str(error)
            self._pulls[name] = began, failure
        if failure is not None:
            advice = "check the Command's image, `docker pull` or `docker build` it"
            if policy == "always":
                advice += ", or set docker.pull to 'missing' to use the image that is here"
            raise RuntimeFailure(
                f"image {name!r} could not be pulled (docker.pull is {policy!r});"
                f" the engine says: {failure}; {advice}"
            )

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
