"""Threads for components that block: a slot's own worker, and live input handed across to it."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import os
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from queue import SimpleQueue
from typing import Any

from .fence import Escaped, words

END: Any = object()
"""What stands for «no more» where None could be a value."""


class CallStopped(BaseException):
    """Raised inside a component that asks for more input after its call was cancelled. No `Exception`, so that a
    component which carries on after errors does not carry on after this."""


class CallThread:
    """One daemon thread that runs calls in order. It starts with its first call and ends with its owner.

    A thread pool would do, were its threads not joined at exit: a model that hangs would keep the process alive.
    """

    def __init__(self, name: str) -> None:
        _threads.add(self)
        self._name = name
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._unfinished = 0
        weakref.finalize(self, self._calls.put, None)

    @property
    def idle(self) -> bool:
        """Whether every call has returned, as the event loop knows it."""
        return self._unfinished == 0

    def submit(self, function: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
        """Runs `function` after what was submitted before. Cancelling the future drops the result, not the call."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._unfinished += 1
        if self._thread is None:
            self._thread = threading.Thread(target=_serve, args=(self._calls,), name=self._name, daemon=True)
            self._thread.start()

        def settle(result: Any, error: BaseException | None) -> None:
            self._unfinished -= 1
            if future.cancelled():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        def call() -> None:
            result, error = _outcome(function, arguments)
            try:
                loop.call_soon_threadsafe(settle, result, error)
            except RuntimeError:  # the loop was closed in the meantime: nobody waits
                return

        self._calls.put(call)
        return future

    def stop(self) -> None:
        """Ends the thread once the calls submitted before have returned."""
        self._calls.put(None)


_threads: weakref.WeakSet[CallThread] = weakref.WeakSet()


def leave(code: int) -> None:
    """Ends the process with this exit code where a call is still running, as late as a command can; else returns.

    The interpreter's own way down ends a thread as soon as that comes back from native code, and where the code is C++,
    as most models' is, that aborts the process.
    """
    if all(each.idle for each in _threads):
        return
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def _serve(calls: SimpleQueue[Callable[[], None] | None]) -> None:
    while (call := calls.get()) is not None:
        call()
        del call  # what the call holds must not live until the next one comes


def _outcome(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, BaseException | None]:
    try:
        return function(*arguments), None
    except CallStopped as stopped:
        return None, RuntimeError(f"the call was cancelled ({stopped})")
    except StopIteration:  # a future refuses to carry it
        return None, RuntimeError("raised StopIteration")
    except Exception as error:
        return None, error
    except BaseException as error:
        return None, Escaped(words(error))


class Chunks(Iterator[Any]):
    """An async iterator's items for code in a worker thread, each asked for when it is wanted."""

    def __init__(self, source: AsyncIterator[Any]) -> None:
        self._source = source
        self._loop = asyncio.get_running_loop()
        self._pending: concurrent.futures.Future[Any] | None = None
        self._left = threading.Event()

    def __next__(self) -> Any:
        if self._left.is_set():
            raise CallStopped("no more input is given")
        pending = asyncio.run_coroutine_threadsafe(self._pull(), self._loop)
        self._pending = pending
        if self._left.is_set():  # stop() may have run between the two lines above
            pending.cancel()
        try:
            item = pending.result()
        except concurrent.futures.CancelledError:
            raise CallStopped("no more input is given") from None
        if item is END:
            raise StopIteration
        return item

    async def _pull(self) -> Any:
        return await anext(self._source, END)

    def stop(self) -> None:
        """Wakes a component that waits for input; it unwinds."""
        self._left.set()
        if self._pending is not None:
            self._pending.cancel()
