"""What must be made again, and what need not be.

The one rule: the outputs of a Step are complete if and only if they were made, since its last change, from inputs that
are complete now and have the contents they have now. Two things break that:

- `expire`: the Step must run again whatever its inputs are (expired, changed by `merge` or `command`, and all below).
- `doubt`: an input's file changed. The Step runs again unless, once its inputs are complete, their contents turn out
  to be those that its last Task read (`restore`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gaia_local.database import Datum
from gaia_local.flow import Flow, KeyNode, StepNode
from gaia_local.ledger import Ledger
from gaia_local.model import DataState, Fingerprint, TaskState
from gaia_local.storage import Storage


class Freshness:
    """Keeps the flow's completeness true to files and definitions. `let_go(node, why)` cancels a Step's Task."""

    def __init__(self, flow: Flow, ledger: Ledger, storage: Storage, let_go: Callable[[StepNode, str], None]) -> None:
        self._flow, self._ledger, self._storage, self._let_go = flow, ledger, storage, let_go

    # -- expired ------------------------------------------------------------------------------------------------

    def expire(self, node: StepNode, outputs: Iterable[KeyNode], why: str) -> None:
        """Outputs of a Step must be made again: its running Task is cancelled; if it failed, it may start again."""
        for key in outputs:
            self._ledger.set(key.key, self._ledger.data.get(key.key), DataState.EXPIRED, why)
            self._flow.set_complete(key, False)
        self._let_go(node, why)
        self._ledger.supersede(node.step.name)

    def expire_below(
        self, tops: list[StepNode], readers: list[StepNode], spared: Callable[[str], bool] = lambda name: False
    ) -> None:
        """Expire all Steps that depend on `tops`, and `readers` with what depends on those, except through `spared` ones."""
        done = {node.step.name for node in tops}
        queue = [(node, "expired") for node in readers]
        queue += [(node, _ran_again(top)) for top in tops for node in top.successors()]
        for node, why in queue:
            if node.step.name not in done and not spared(node.step.name):
                done.add(node.step.name)
                self.expire(node, [key for key in node.outputs if key.key in self._ledger.data], why)
                queue.extend((each, _ran_again(node)) for each in node.successors())

    def abandon(self, key: str) -> None:
        """No Step makes this key any more: what lies there is no data of the workflow until the user replaces it."""
        self._ledger.set(key, self._ledger.data.get(key), DataState.EXPIRED, "no Step makes it any more")
        node = self._flow.keys.get(key)
        if node is not None:
            self._flow.set_complete(node, False)

    # -- in doubt -----------------------------------------------------------------------------------------------

    def doubt(self, key: KeyNode) -> None:
        """The file of a key changed: whatever was made from it, directly or not, is unsure."""
        readers = (*key.readers, *(reader for other in key.below for reader in other.readers))
        queue = [(node, f"input changed: {key.key}") for node in readers]
        for node, why in queue:
            self._let_go(node, why)
            for each in node.outputs:  # in doubt already, for a reason further up: this one is nearer
                datum = self._ledger.data.get(each.key)
                if datum is not None and datum.state is DataState.UNSURE:
                    self._ledger.set(each.key, datum, DataState.UNSURE, why)
        for node, why in queue:  # a Task further below goes on: perhaps its inputs come out the same
            sure = [each for each in node.outputs if each.present and each.key in self._ledger.data]
            for each in sure:
                self._ledger.set(each.key, self._ledger.data[each.key], DataState.UNSURE, why)
                self._flow.set_complete(each, False)
            if sure:
                queue.extend((each, _ran_again(node)) for each in node.successors())

    def restore(self, node: StepNode) -> bool:
        """Whether all that is wrong with a Step's outputs is doubt, and its inputs turned out the same: then it's over."""
        attempt = self._ledger.latest.get(node.step.name)
        if attempt is None or attempt.state is not TaskState.COMPLETE or attempt.superseded or attempt.inputs is None:
            return False
        doubted = []
        for key in node.outputs:
            datum = self._ledger.data.get(key.key)
            if datum is None or datum.state is DataState.EXPIRED or not self._storage.exists(key.key, key.path):
                return False
            if datum.state is DataState.UNSURE:
                doubted.append(key)
        if any(attempt.inputs.get(key.key) != self.digest(key) for key in node.inputs):
            return False
        for key in doubted:
            self._notice_own_version(key)
            self._ledger.set(key.key, self._ledger.data[key.key], DataState.COMPLETE)
            self._flow.set_complete(key, True)
        return True

    def _notice_own_version(self, key: KeyNode) -> None:
        """An output that the user replaced while it was unsure, and nobody looked, is the user's: it is kept."""
        datum = self._ledger.data[key.key]
        if datum.quick != self._storage.look(key.key, key.path):
            seen = self._storage.fingerprint(key.key, key.path)
            if seen is not None:
                self._differs(key, datum, seen.quick, seen.digest)

    def digest(self, key: KeyNode) -> str | None:
        """The content digest of a key as it is recorded; where it isn't, it is made and recorded."""
        datum = self._ledger.data.get(key.key)
        if datum is None or datum.digest is None:
            seen = self._storage.fingerprint(key.key, key.path)
            if seen is None:
                return None
            datum = datum or Datum(DataState.COMPLETE)
            datum.quick, datum.digest = seen.quick, seen.digest
            self._ledger.set(key.key, datum, datum.state, datum.why)
        return datum.digest

    # -- what lies in the store -----------------------------------------------------------------------------------

    def look(self, key: KeyNode) -> None:
        """A key that is new in the graph: complete if something lies there that isn't known to be out of date."""
        datum = self._ledger.data.get(key.key)
        if datum is None or datum.state is DataState.COMPLETE:
            quick = self._storage.look(key.key, key.path)
            if quick is None:
                self._ledger.forget(key.key)
            elif datum is None or datum.quick != quick:
                self._ledger.set(key.key, Datum(DataState.COMPLETE, quick), DataState.COMPLETE)
            self._flow.set_complete(key, quick is not None)

    def observe(self, key: KeyNode, quick: str | None, digest: str | None) -> bool:
        """The file of a key was looked at: draw the conclusions, if it isn't as recorded. True where there were any.

        `quick` is None where there is no file; `digest` is needed only where `quick` differs from the recorded one.
        """
        datum = self._ledger.data.get(key.key)
        if datum is None:
            return quick is not None and self._appeared(key, quick, digest)
        if quick is None:
            return self._vanished(key, datum)
        if quick == datum.quick or (datum.state is DataState.EXPIRED and key.maker is not None):
            return False  # as recorded, or its maker will replace it anyway
        return self._differs(key, datum, quick, digest)

    def published(self, key: KeyNode, made: Fingerprint, task: str, doubtful: KeyNode | None) -> None:
        """A Task's output lies in the store; `doubtful` is an input of it that isn't complete any more."""
        why = None if doubtful is None else _changed(doubtful)
        state = DataState.COMPLETE if why is None else DataState.UNSURE
        self._ledger.set(key.key, Datum(state, made.quick, made.digest, task), state, why)
        for other in key.below:
            if other.maker is None:  # what lies above or below it is new, too
                self._ledger.forget(other.key)
                self._flow.set_complete(other, self._storage.exists(other.key, other.path))
        self._flow.set_complete(key, why is None)

    def was_read(self, key: KeyNode, seen: Fingerprint) -> None:
        """What a Task read: news only where no digest was known; a file that changed since then is found by `observe`."""
        datum = self._ledger.data.get(key.key)
        if datum is None or (datum.digest is None and datum.quick == seen.quick):
            state = datum.state if datum is not None else DataState.COMPLETE
            self._ledger.set(key.key, Datum(state, seen.quick, seen.digest), state, datum.why if datum is not None else None)

    def _appeared(self, key: KeyNode, quick: str, digest: str | None) -> bool:
        self._ledger.set(key.key, Datum(DataState.COMPLETE, quick, digest), DataState.COMPLETE)
        self._flow.set_complete(key, True)
        return True

    def _vanished(self, key: KeyNode, datum: Datum) -> bool:
        if datum.state is DataState.EXPIRED:
            return False
        self.doubt(key)
        self._ledger.forget(key.key)
        self._flow.set_complete(key, False)
        return True

    def _differs(self, key: KeyNode, datum: Datum, quick: str, digest: str | None) -> bool:
        if datum.state is DataState.EXPIRED:  # no Step makes it any more; now it is the user's
            return self._appeared(key, quick, digest)
        if digest == datum.digest:
            self._ledger.set(key.key, Datum(datum.state, quick, digest, datum.task), datum.state, datum.why)
            return False
        # The user's own version. An unsure one stays unsure: its maker decides, once its inputs are complete.
        self._ledger.set(key.key, Datum(datum.state, quick, digest), datum.state, datum.why)
        self.doubt(key)
        return True


def _ran_again(node: StepNode) -> str:
    return f"upstream {node.step.name} ran again"


def _changed(key: KeyNode) -> str:
    maker = next(iter(key.makers), None)
    return f"input changed: {key.key}" if maker is None else _ran_again(maker)
