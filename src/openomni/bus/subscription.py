"""Messages of one subject, bounded, and only those that were really published on it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Self

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as Inner
from nats.errors import Error as NatsError

from ..errors import OpenOmniError

log = logging.getLogger(__name__)

Handler = Callable[[Msg], Awaitable[None]]


class Overflow(OpenOmniError):
    """The reader was slower than the writer and the buffer is full; what came after is lost."""


def matcher(*patterns: str) -> Callable[[str], bool]:
    """Whether a subject fits one of the patterns with NATS's wildcards (`*` one token, a last `>` the rest)."""
    if not any(wildcard in pattern for pattern in patterns for wildcard in "*>"):
        return frozenset(patterns).__contains__
    wildcards = {"*": r"[^.]+", ">": r".+"}
    each = (r"\.".join(wildcards.get(part) or re.escape(part) for part in pattern.split(".")) for pattern in patterns)
    fits = re.compile("|".join(each)).fullmatch
    return lambda subject: fits(subject) is not None


def status(message: Msg) -> str:
    """What JetStream says about a pull instead of a message: 404 and 408 none, 409 refused; empty for a message."""
    return (message.headers or {}).get("Status", "") if not message.data else ""


class Subscription:
    """An async iterator of messages; `async with` or `aclose()` ends it. With a handler there is nothing to iterate."""

    def __init__(
        self,
        subject: str,
        accepts: Callable[[str], bool],
        limit: int,
        handler: Handler | None,
        pulls: bool,
        forget: Callable[[Subscription], None],
    ) -> None:
        self.subject = subject
        self.refused = 0
        """Messages that were not published on this subject and were dropped."""
        self._accepts = accepts
        self._limit = limit
        self._handler = handler
        self._pulls = pulls
        self._forget = forget
        self._messages: deque[Msg] = deque()
        self._arrived = asyncio.Event()
        self._error: Exception | None = None
        self._closed = False
        self._inner: Inner | None = None

    async def _take(self, message: Msg) -> None:
        if not (self._accepts(message.subject) or (self._pulls and status(message))):
            self.refused += 1
            log.warning("dropped a message of %s that was delivered to %s", message.subject, self.subject)
        elif self._handler:
            await self._handle(message)
        elif self._error:
            return
        elif len(self._messages) >= self._limit:
            self.fail(Overflow(f"more than {self._limit} messages wait on {self.subject}; the reader is too slow"))
        else:
            self._messages.append(message)
            self._arrived.set()

    async def _handle(self, message: Msg) -> None:
        assert self._handler is not None
        try:
            await self._handler(message)
        except OpenOmniError as error:
            log.warning("%s: %s", self.subject, error)
        except Exception:
            log.exception("the handler of %s failed", self.subject)

    def fail(self, error: Exception) -> None:
        """Ends the iteration with an error, after the messages that wait."""
        if self._handler:
            log.error("%s: %s", self.subject, error)
        self._error = self._error or error
        self._arrived.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Msg:
        while not self._messages:
            if self._error:
                raise self._error
            if self._closed:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._messages.popleft()

    @property
    def waiting(self) -> int:
        """Messages that are here and not read yet."""
        return len(self._messages)

    def __bool__(self) -> bool:
        return True

    def take_nowait(self) -> Msg | None:
        """A message that is already here."""
        return self._messages.popleft() if self._messages else None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def drain(self) -> None:
        """As `aclose`, after what the server had sent by then has come."""
        if self._inner and not self._closed:
            with contextlib.suppress(NatsError, TimeoutError):
                await self._inner.drain()  # type: ignore[no-untyped-call]
        await self.aclose()

    async def aclose(self) -> None:
        """No more messages; those that wait can still be read."""
        if self._closed:
            return
        self._closed = True
        self._forget(self)
        self._arrived.set()
        if self._inner:
            with contextlib.suppress(NatsError):
                await self._inner.unsubscribe()
