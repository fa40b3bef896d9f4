"""Django behind ASGI, with one change of threads a request.

Our views and middlewares are synchronous. Django's own handler begins a thread for each request and changes between it
and the loop at each layer; that takes longer than most requests, and each new thread opens the database anew. Here a
request is answered in one of a few threads that stay, and their connections with them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, TypeVar

from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.db import close_old_connections
from django.http import HttpResponseBase
from django.urls import set_script_prefix
from starlette.types import Receive, Scope

THREADS = 8
"""How many requests are answered at once; the others wait."""

T = TypeVar("T")


class Handler(ASGIHandler):
    """An ASGI application that answers HTTP requests with Django's views."""

    def __init__(self) -> None:
        super().__init__()
        self._threads = ThreadPoolExecutor(THREADS, "request")

    def load_middleware(self, is_async: bool = False) -> None:
        super().load_middleware(is_async=False)

    async def asked(self, act: Callable[[], T]) -> T:
        """What `act` finds in the database, on one of the threads."""

        def asked() -> T:
            close_old_connections()  # those that broke
            return act()

        return await self._in_thread(asked)

    async def __call__(self, scope: Scope, receive: Receive, send: Any) -> None:  # type: ignore[override]
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        try:
            response = await self._in_thread(lambda: self._answer(scope, body))
        finally:
            body.close()
        if not response.streaming:
            await self.send_response(response, send)
            return
        try:
            await self._stream(response, receive, send)
        finally:
            await self._in_thread(response.close)

    def _answer(self, scope: Scope, body: IO[bytes]) -> HttpResponseBase:
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(type(self), scope=scope)
        request, refused = self.create_request(scope, body)
        if request is None:
            assert refused is not None
            refused.close()
            return refused
        response: HttpResponseBase = self.get_response(request)
        response._handler_class = type(self)  # type: ignore[attr-defined]
        if not response.streaming:
            response.close()  # its content stays; what it held open goes, and this thread is free of the request
        return response

    async def _stream(self, response: HttpResponseBase, receive: Receive, send: Any) -> None:
        """Until all is sent, or nobody is there to get it."""
        sending = asyncio.ensure_future(self.send_response(response, send))
        gone = asyncio.ensure_future(receive())
        await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
        for task in (sending, gone):
            if not task.done():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        if not sending.cancelled():
            sending.result()

    async def _in_thread(self, act: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, act)
