"""`openomni agent`: a worker that offers components and does tasks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from ..agent.machine import cores
from ..errors import WrongUsage
from . import logs
from .access import NO_TOKEN, TOKEN_HELP

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def agent(
    server: Annotated[str, typer.Option(envvar="OPENOMNI_SERVER", help="The server's address.")] = "",
    token: Annotated[str, typer.Option(envvar="OPENOMNI_TOKEN", help=TOKEN_HELP.format("agent"))] = "",
    offer: Annotated[
        str,
        typer.Option(envvar="OPENOMNI_OFFER", help="Roles, kinds and components: host,stt:faster-whisper,llm; or all."),
    ] = "all",
    slots: Annotated[
        int | None,
        typer.Option(envvar="OPENOMNI_SLOTS", min=1, help="Stages and queued turns at a time; by default by cores."),
    ] = None,
    name: Annotated[
        str, typer.Option(envvar="OPENOMNI_AGENT_NAME", help="Its name in the project; made up once by default.")
    ] = "",
    data_dir: Annotated[
        Path | None, typer.Option(envvar="OPENOMNI_AGENT_DIR", help="Where it keeps what it has yet to send.")
    ] = None,
    warm: Annotated[
        list[str] | None,
        typer.Option(help="A pipeline (name or file) to be ready for from the start; may be given several times."),
    ] = None,
    wait_for_server: Annotated[
        float, typer.Option(min=0, help="Seconds that a server which does not answer is waited for at the start.")
    ] = 3.0,
    drain_timeout: Annotated[float, typer.Option(min=0, help="Seconds to finish what runs after SIGTERM.")] = 30.0,
    ready_file: Annotated[Path | None, typer.Option(help="Written once it is warm and the fleet knows it.")] = None,
) -> None:
    """Work for a server until SIGTERM, which lets what runs finish first."""
    if not server:
        raise WrongUsage("an agent needs a server; give --server URL or set OPENOMNI_SERVER")
    if not token:
        raise WrongUsage(NO_TOKEN.format("agent"))
    logs.set_up()
    # Several runtimes in one process: each would take all cores, and spin on them while it waits.
    os.environ.setdefault("OMP_NUM_THREADS", str(cores()))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    from ..agent.worker import AgentSettings, work

    settings = AgentSettings(server, token, offer, slots, name, data_dir, tuple(warm or ()), drain_timeout, ready_file,
                        wait_for_server)  # fmt: skip
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(work(settings))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """libuv's loop takes a third less time from message to message; where it has no wheel, Python's own serves."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
