"""Watched directory trees that report changes, by inotify; on Linux only.

They stand on the lower layer of watchdog 7.1: one thread that reads inotify, and a callback for
each directory. The public layer above it, the `Observer`, misses changes after some histories of
moved and removed directories, doesn't tell of lost events, and hears nothing below a top that is a
link. The lower layer may change with any version: the import and `check_layer` find out.

The engine's own files, whose names begin with `OWN`, aren't watched.
"""

from __future__ import annotations

import errno
import inspect
import itertools
import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from watchdog.observers.inotify_c import InotifyFD

from gaia_local.model.names import OWN
from gaia_local.store.watched_trees import Heard, Unsure

if TYPE_CHECKING:
    from watchdog.observers.inotify_c import CallbackId, InotifyEvent, Mask, WatchDescriptor

GATHER = 0.03
"""Seconds between two reads of the system's events, while there are more."""

# See inotify(7).
_GONE = 0x40 | 0x200  # IN_MOVED_FROM, IN_DELETE
_NEW = 0x80 | 0x100  # IN_MOVED_TO, IN_CREATE
_MASK = (
    _GONE | _NEW | 0x2 | 0x4 | 0x8 | 0x400
)  # and IN_MODIFY, IN_ATTRIB, IN_CLOSE_WRITE, IN_DELETE_SELF
_MASK |= 0x01000000  # IN_ONLYDIR
_NO_LINK = 0x02000000  # IN_DONT_FOLLOW
_IS_DIRECTORY = 0x40000000  # IN_ISDIR


def check_layer() -> None:
    """Raises `AttributeError` or `TypeError` where the layer can't be called as it is here."""
    inspect.signature(InotifyFD).bind()
    inspect.signature(InotifyFD.add_callback).bind(None, b"/", _MASK, None, 0)
    inspect.signature(InotifyFD.remove_callbacks).bind(None, [])
    inspect.signature(InotifyFD.read_events).bind(None)


class _Reader(InotifyFD):
    """Reads events in batches, after a pause: else each of many small files would wake it."""

    _has_read = False

    def __init__(self, unsure: Unsure) -> None:
        super().__init__()
        self._unsure = unsure

    def run(self) -> None:
        try:
            super().run()
        finally:
            if self.should_keep_running():  # an error, which Python prints with its traceback
                self._unsure(OSError(errno.EIO, "the thread that reads inotify has died"))

    def read_events(self, **options: Any) -> list[InotifyEvent]:
        if self._has_read:
            self.stopped_event.wait(GATHER)
        found = super().read_events(**options)
        self._has_read = True
        return found


class InotifyTrees:
    """Trees by inotify."""

    def __init__(self, heard: Heard, unsure: Unsure, recursive: bool) -> None:
        self.heard, self.unsure, self.recursive = heard, unsure, recursive
        self.callbacks = itertools.count()
        """Numbers for callbacks; a directory may be in two trees."""
        self.inotify = _Reader(unsure)
        self.inotify.name = "gaia-local-observer"
        self._trees: dict[str, _Tree] = {}
        self.inotify.start()

    def watch(self, top: str) -> None:
        tree = _Tree(self, top)
        tree.begin()
        self._trees[top] = tree

    def unwatch(self, top: str) -> None:
        if top in self._trees:
            self._trees.pop(top).end()

    def close(self) -> None:
        if self.inotify.is_alive():
            self.inotify.stop()
            self.inotify.join()


class _Directory:
    """A watched directory, and those directly in it."""

    __slots__ = ("callback", "children", "parent", "path", "watch")

    def __init__(
        self, path: str, parent: _Directory | None, watch: WatchDescriptor, callback: CallbackId
    ) -> None:
        self.path, self.parent, self.watch, self.callback = path, parent, watch, callback
        self.children: dict[str, _Directory] = {}

    def below(self) -> Iterator[_Directory]:
        """Itself and all directories below it."""
        waiting = [self]
        while waiting:
            directory = waiting.pop()
            waiting.extend(directory.children.values())
            yield directory

    def detach(self) -> None:
        """Remove it from its parent's children, unless another has taken its name already."""
        if self.parent is not None:
            name = os.path.basename(self.path)
            if self.parent.children.get(name) is self:
                del self.parent.children[name]


class _Tree:
    """One tree. Directories are watched before they are listed: so no new entry is missed.

    NOTE: events are read later than they happen, so a new directory may be found by the listing of
    its parent and reported again; a moved one may be found at its new place before its removal from
    the old one is reported. A directory has one watch, which belongs to the place where it was
    found last.
    """

    def __init__(self, trees: InotifyTrees, top: str) -> None:
        self._inotify, self._callbacks = trees.inotify, trees.callbacks
        self._heard, self._unsure, self._recursive = trees.heard, trees.unsure, trees.recursive
        self._top = top
        self._lock = threading.Lock()
        self._directories: dict[WatchDescriptor, _Directory] = {}
        self._ended = False

    def begin(self) -> None:
        """Raises `OSError` if the top can't be watched."""
        os.close(os.open(self._top, os.O_RDONLY | os.O_DIRECTORY))
        with self._lock:
            self._add_tree(self._top, None)

    def end(self) -> None:
        with self._lock:
            self._ended = True
            self._drop(list(self._directories.values()))

    def on_event(self, event: InotifyEvent) -> None:
        """Runs in the thread that reads inotify, as the next two."""
        with self._lock:
            directory = self._directories.get(event.wd)
            # The parent of a directory tells of its end.
            if directory is None or (not event.name and directory.parent is not None):
                return
            path = directory.path
            if event.name:
                name = os.fsdecode(event.name)
                if name.startswith(OWN):
                    return
                path = f"{path}/{name}"
                if self._recursive and event.mask & _IS_DIRECTORY:
                    if event.mask & _GONE:
                        self._forget(directory, name)
                    elif event.mask & _NEW:
                        self._add_tree(path, directory)
        self._heard(path)

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        """The directory is gone, and its watch with it."""
        with self._lock:
            directory = self._directories.pop(wd, None)
            if directory is not None:
                directory.detach()

    def on_queue_overflow(self) -> None:
        """The system dropped events: the tree must be read again."""
        with self._lock:
            if not self._ended:
                self._drop(list(self._directories.values()))
                self._add_tree(self._top, None)
        self._unsure(None)

    def _add_tree(self, path: str, parent: _Directory | None) -> None:
        """Watch a directory (and all below, if recursive); all in a new one counts as changed."""
        new = parent is not None
        waiting = [(path, parent)]
        while waiting:
            path, parent = waiting.pop()
            try:
                directory = self._add(path, parent)
            except (FileNotFoundError, NotADirectoryError):  # it has just gone, or is a link
                continue
            except OSError as error:
                self._unsure(error)
                continue
            if directory is not None and self._recursive:
                for entry in _entries(path):
                    if not entry.name.startswith(OWN):
                        if new:
                            self._heard(entry.path)
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append((entry.path, directory))

    def _add(self, path: str, parent: _Directory | None) -> _Directory | None:
        """Watch a directory; None if it may not be read."""
        callback = cast("CallbackId", next(self._callbacks))
        mask = cast("Mask", _MASK if parent is None else _MASK | _NO_LINK)
        watch = self._inotify.add_callback(os.fsencode(path), mask, self, callback)
        if watch < 0:
            self._inotify.remove_callbacks([(watch, callback)])
            return None
        known = self._directories.get(watch)
        if known is not None:
            self._inotify.remove_callbacks([(watch, known.callback)])
            known.detach()
        directory = self._directories[watch] = _Directory(path, parent, watch, callback)
        if parent is not None:
            name = os.path.basename(path)
            self._forget(parent, name)
            parent.children[name] = directory
        return directory

    def _forget(self, parent: _Directory, name: str) -> None:
        gone = parent.children.pop(name, None)
        if gone is not None:
            self._drop(list(gone.below()))

    def _drop(self, directories: list[_Directory]) -> None:
        for directory in directories:
            self._directories.pop(directory.watch, None)
        self._inotify.remove_callbacks(
            [(directory.watch, directory.callback) for directory in directories]
        )


def _entries(path: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as found:
            return list(found)
    except OSError:  # it has gone, or may not be read
        return []
