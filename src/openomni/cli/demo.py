"""`openomni demo`: a spoken question gets a spoken answer, through client, gateway, API, bus and agent."""

from __future__ import annotations

import asyncio
import json as json_module
import sys
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import typer

from ..children import Child, children
from ..client.listener.sources import check_has_sound
from ..errors import OpenOmniError
from ..pipeline import spec
from .chosen import find
from .output import check_json, write_json
from .processes import run
from .stack import agent_for, check_and_pull, running

app = typer.Typer(add_completion=False)
TURN_SECONDS = 120.0


@app.command()
def demo(
    json: Annotated[Path | None, typer.Option("--json", help="Write the turn to this file.")] = None,
    pipeline: Annotated[str, typer.Option(help="A built-in pipeline, or a YAML file.")] = "local",
    question: Annotated[Path | None, typer.Option(help="Ask this recording instead of the bundled one.")] = None,
    replies: Annotated[Path, typer.Option(help="Where the spoken replies go.")] = Path("openomni-replies"),
) -> None:
    """Ask the bundled spoken question through all parts, in a temporary folder."""
    check_json(json)
    if question is not None:
        check_has_sound(question)
    chosen = find(pipeline)
    check_and_pull(chosen)
    with resources.as_file(resources.files(__package__) / "data" / "question.wav") as bundled:
        result = run(_ask(chosen, agent_for(chosen, pipeline), question or bundled, replies.absolute()))
    write_json(json, result)
    failed = [turn for turn in result["turns"] if turn["status"] != "completed"]
    if failed or not result["turns"]:
        raise OpenOmniError(failed[0]["reason"] if failed else "no speech was found in the question; try another file")


async def _ask(pipeline: spec.Pipeline, agent: list[str], question: Path, replies: Path) -> dict[str, Any]:
    _progress("starting gateway, API, bus and agent")
    async with running(agent) as stack:
        await stack.know(pipeline)
        ready, answer = stack.folder / "responder.ready", stack.folder / "turns.json"
        responder = stack.child(
            "responder", "respond", "--sink", f"dir:{stack.folder / 'played'}", "--ready-file", str(ready)
        )
        listener = stack.child(
            "listener", "listen", "--source", f"file:{question}", "--pipeline", pipeline.name, "--pace", "realtime",
            "--wait", "--json", str(answer), "--replies", str(replies), "--spool", str(stack.folder / "spool"),
            comes_to_an_end=True,
        )  # fmt: skip
        async with children(responder):
            await stack.server.warm()
            await stack.until(ready, responder)
            _progress(f"asking: {question.name}, at real-time pace")
            async with children(listener):
                await _ended(listener)
        result: dict[str, Any] = json_module.loads(answer.read_text())
        _show(result)
        _progress("stopping everything")
        return result


async def _ended(listener: Child) -> None:
    try:
        async with asyncio.timeout(TURN_SECONDS):
            code = await listener.ended()
    except TimeoutError:
        raise OpenOmniError(f"no answer within {TURN_SECONDS:.0f} s; see openomni doctor") from None
    if code != 0:
        raise OpenOmniError(listener.last_words(code))


def _show(result: dict[str, Any]) -> None:
    from rich.console import Console

    from .timeline import render

    console = Console()
    for turn in result["turns"]:
        console.print(render(turn))


def _progress(what: str) -> None:
    print(f"· {what} …", file=sys.stderr, flush=True)
