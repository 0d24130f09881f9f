"""Subscriptions to changes of workflows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection

logger = logging.getLogger("gaia_local")


class Subscribers:
    """Functions that are called with the names of workflows after changes in them."""

    def __init__(self) -> None:
        self._subscribers: dict[object, Callable[[Collection[str]], None]] = {}

    def subscribe(self, notify: Callable[[Collection[str]], None]) -> Callable[[], None]:
        """Call `notify` from now on; the returned function ends that."""
        subscription = object()
        self._subscribers[subscription] = notify

        def unsubscribe() -> None:
            self._subscribers.pop(subscription, None)

        return unsubscribe

    def notify(self, names: Collection[str]) -> None:
        """Call all of them, with these workflows. Exceptions are logged."""
        for notify in list(self._subscribers.values()):
            try:
                notify(names)
            except (Exception, SystemExit):  # a defect of a subscriber must not cost a Task
                logger.exception("a subscriber failed at the notice of a change")
