"""Threads for work that may hang, such as a read of a disk that does not answer.

They keep no process from ending, and whoever waits for one may leave it behind and take another.
"""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar
from weakref import WeakSet

_log = logging.getLogger("gnnrec.server")

P = ParamSpec("P")
T = TypeVar("T")

# A thread that is to end gets so long to finish its work.
_PATIENCE_S = 1.0

_started: "WeakSet[threading.Thread]" = WeakSet()


def start(name: str, work: Callable[[], object]) -> threading.Thread:
    """Start a thread that keeps no process from ending; see end_process."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    _started.add(thread)
    return thread


def join(thread: threading.Thread, limit_s: float = _PATIENCE_S) -> None:
    """Wait for a thread to end, but not for ever: then it is left behind, and the log says so."""
    thread.join(limit_s)
    if thread.is_alive():
        _log.warning("the thread %r does not end and is left behind", thread.name)


def end_process(code: int) -> None:
    """End the process at once if one of these threads still runs; else do nothing.

    The interpreter would tear down, beneath its work, what such a thread is in the midst of, and
    the process would abort.
    """
    end = time.monotonic() + _PATIENCE_S
    for thread in list(_started):
        thread.join(max(0.0, end - time.monotonic()))
    if any(thread.is_alive() for thread in _started):
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


class OneThread(Executor):
    """An executor of one thread, which can be replaced by another while it hangs."""

    def __init__(self, name: str, initializer: Callable[[], object] | None = None) -> None:
        """Start no thread yet; each begins with `initializer`."""
        self._name = name
        self._initializer = initializer
        self._lock = threading.Lock()
        self._todo: SimpleQueue[_Task | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def submit(
        self, function: Callable[P, T], /, *arguments: P.args, **named: P.kwargs
    ) -> "Future[T]":
        """Have a function called once all that was submitted before is done."""
        future: Future[T] = Future()
        with self._lock:
            if self._is_closed:
                raise RuntimeError(f"the thread {self._name!r} is to end")
            self._todo.put(_Task(future, partial(function, *arguments, **named)))
            if self._thread is None:
                self._thread = start(self._name, partial(self._work, self._todo))
        return future

    def leave_behind(self) -> None:
        """Give up on the thread, whose work may never end; a new one takes over the queue."""
        with self._lock:
            left, self._todo, self._thread = self._todo, SimpleQueue(), None
        waiting = []
        while True:
            try:
                waiting.append(left.get_nowait())
            except Empty:
                break
        left.put(None)  # if it comes to an end after all
        for task in filter(None, waiting):
            with self._lock:
                self._todo.put(task)
                self._thread = self._thread or start(self._name, partial(self._work, self._todo))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more; `wait` for what is being done, but not for long."""
        with self._lock:
            self._is_closed = True
            thread, todo = self._thread, self._todo
        while cancel_futures:
            try:
                task = todo.get_nowait()
            except Empty:
                break
            if task is not None:
                task.future.cancel()
        todo.put(None)
        if wait and thread is not None:
            join(thread)

    def _work(self, todo: "SimpleQueue[_Task | None]") -> None:
        if self._initializer is not None:
            self._initializer()
        while (task := todo.get()) is not None:
            task.run()
            del task  # which holds what was returned until the next comes


class _Task:
    """A call, and where its result goes."""

    def __init__(self, future: "Future[Any]", call: Callable[[], Any]) -> None:
        self.future = future
        self._call = call

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self._call()
        except BaseException as error:
            self.future.set_exception(error)
            del self.future  # else error, traceback, frame and future hold each other
        else:
            self.future.set_result(result)
