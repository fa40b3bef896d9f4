"""Whatever a component raises stays an error of that component: it never ends the process, which serves others, too.

What leaves no exception behind, a crash in native code or `os._exit`, no fence within a process can hold.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Escaped(Exception):
    """Stands for an exception that no `except Exception` catches, such as SystemExit; its text names that."""


@contextmanager
def fenced(interruptible: bool = False) -> Iterator[None]:
    """Raises `Escaped` for what would end more than the block. `interruptible`: in the main thread a signal's exception
    passes, a person's Ctrl-C above all, as it must where that thread runs no event loop."""
    try:
        yield
    except (Exception, asyncio.CancelledError, GeneratorExit):
        raise
    except BaseException as error:
        here = threading.current_thread() is threading.main_thread()
        if interruptible and here and type(error) is not SystemExit:
            raise
        raise Escaped(words(error)) from error


def words(error: BaseException) -> str:
    """Its type and what it says, as one line."""
    said = " ".join(str(error).split())
    if isinstance(error, Escaped):
        return said
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
