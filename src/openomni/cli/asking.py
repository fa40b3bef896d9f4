"""Commands that ask a server: the options that they share, and the way there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from ..errors import WrongUsage
from ..storage.api import Api
from .access import NO_TOKEN, TOKEN_HELP

HERE = "http://127.0.0.1:8000"
Server = Annotated[str, typer.Option(envvar="OPENOMNI_SERVER", help="Address of the server.")]
Token = Annotated[str, typer.Option(envvar="OPENOMNI_TOKEN", help=TOKEN_HELP.format("researcher"))]
Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the result to this file.")]
T = TypeVar("T")


def ask(server: str, token: str, act: Callable[[Api], Awaitable[T]]) -> T:
    """What a researcher's command gets of the server. Raises WrongUsage without a token."""
    if not token:
        raise WrongUsage(NO_TOKEN.format("researcher"))

    async def connected() -> T:
        async with Api(server, token) as api:
            return await act(api)

    return asyncio.run(connected())
