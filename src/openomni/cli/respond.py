"""`openomni respond`: play what is said, on a speaker or into a folder."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import WrongUsage
from .access import NO_TOKEN, TOKEN_HELP

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..client.responder.responder import Responder
    from ..client.responder.sinks import Report, Sink

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def respond(
    server: Annotated[
        str, typer.Option(envvar="OPENOMNI_SERVER", help="Address of the server.")
    ] = "http://127.0.0.1:8000",
    token: Annotated[str, typer.Option(envvar="OPENOMNI_TOKEN", help=TOKEN_HELP.format("device"))] = "",
    sink: Annotated[
        str, typer.Option(envvar="OPENOMNI_SINK", help="speaker, or dir:PATH for a WAV a turn.")
    ] = "speaker",
    site: Annotated[str, typer.Option(envvar="OPENOMNI_SITE", help="Which site's replies; default: the token's.")] = "",
    device: Annotated[
        str | None, typer.Option(envvar="OPENOMNI_DEVICE", help="Loudspeaker: number or part of its name.")
    ] = None,
    list_devices: Annotated[bool, typer.Option("--list-devices", help="List microphones and loudspeakers.")] = False,
    ready_file: Annotated[Path | None, typer.Option(help="Made once it is connected, for scripts.")] = None,
) -> None:
    """Play what is said, on a speaker or into a folder, until Ctrl-C. A server that goes away is waited for."""
    if list_devices:
        from ..client import portaudio

        print("\n".join(portaudio.table(portaudio.load("listing devices"))))
        return
    if not token:
        raise WrongUsage(NO_TOKEN.format("device"))
    from ..client.responder.responder import Responder

    ready = ready_file.touch if ready_file else lambda: None
    responder = Responder(server, token, site, make_sink(sink, device), partial(typer.echo, err=True), ready)
    asyncio.run(_until_stopped(responder))


async def _until_stopped(responder: Responder) -> None:
    from ..client.signals import stops_on_signals

    with stops_on_signals(responder.stop):
        await responder.run()


def make_sink(sink: str, device: str | None) -> Callable[[Report], Sink]:
    """Raises WrongUsage for a sink that there is not."""
    kind, _, rest = sink.partition(":")
    if kind == "dir" and rest:
        from ..client.responder.sinks import Folder

        return partial(Folder, rest)
    if sink == "speaker":
        from ..client.responder.speaker import Loudspeaker

        return partial(Loudspeaker, device=device)
    raise WrongUsage(f"--sink {sink!r} is none; choose speaker or dir:PATH")
