"""`openomni bench`: the benchmarks of this project."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..bench import corpus, live, machine, overhead, report
from ..pipeline import spec
from .chosen import find
from .models import pull_for
from .output import check_json, write_json
from .processes import run
from .stack import agent_for, check_and_pull, running

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback()
def benchmarks() -> None:
    """The benchmarks of this project.

    What their figures mean, and more of them, also beside Pipecat: docs/guides/benchmarks.md.
    """


@app.command("overhead")
def overhead_command(
    turns: Annotated[int, typer.Option(min=5, help="Turns that count, for each figure.")] = 100,
    json: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """What the framework itself adds to a turn of simulated stages (50, 100 and 50 ms)."""
    busy = os.getloadavg()[0]
    figures = run(_overhead(turns))
    for name, value in figures.items():
        print(f"{name:<36} {value * 1000:8.2f} ms")
    # Where others want the processors too, the figures are theirs as much as ours.
    load = {"load_before": busy, "load_after": os.getloadavg()[0]}
    settings = {"turns": turns, "stages_s": [overhead.STT_S, overhead.LLM_S, overhead.TTS_S], **load}
    write_json(json, {"figures": figures, "machine": machine.describe(), "settings": settings})


async def _overhead(turns: int) -> dict[str, float]:
    figures: dict[str, float] = {}
    async with running() as stack:
        await stack.put_pipeline(overhead.PIPELINE)
        for name, offers in {
            "in_process": ["host," + ",".join(overhead.COMPONENTS)],
            "distributed": ["host", *overhead.COMPONENTS],
        }.items():
            async with stack.agents({f"{name}-{number}": offer for number, offer in enumerate(offers)}):
                print(f"{name.replace('_', ' ')}: {turns} turns …", flush=True)
                figures |= (await overhead.measure(stack.url, stack.token, turns)).figures(name)
    return figures


@app.command("live")
def live_command(
    pipeline: Annotated[str, typer.Option(help="A built-in pipeline, or a YAML file.")] = "local",
    turns: Annotated[int, typer.Option(min=1, help="Questions that count for voice-to-voice.")] = 60,
    sessions: Annotated[int, typer.Option(min=1, help="Asks all of it once more, of so many sessions at once.")] = 1,
    paused: Annotated[
        int | None, typer.Option(min=0, help="Utterances with a pause inside; by default two for every five questions.")
    ] = None,
    recordings: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Real voices: more utterances, one a file.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Another number asks, pauses and interrupts elsewhere.")] = 0,
    json: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """How long a person waits for the voice, and what the turn-taking gets wrong, over the real path.

    It speaks in real time: 60 questions take about 12 minutes, 6 a little over one. Let the machine do nothing else.
    """
    check_json(json)
    chosen = find(pipeline)
    check_and_pull(chosen)
    pull_for(spec.builtin()["local"])  # whose voice asks, and whose recogniser finds the words
    asked = corpus.build(turns, round(turns * 0.4) if paused is None else paused, seed, recordings, _progress)
    corpus.let_go()
    busy = os.getloadavg()[0]
    measured = run(_live(chosen, pipeline, asked, sessions, seed))
    for line in report.table(measured):
        print(line)
    settings = {
        "pipeline": chosen.name, "pipeline_hash": chosen.hash, "turns": turns, "paused": len(asked.paused),
        "sessions": sessions, "seed": seed, "real": sum(each.real for each in asked.questions),
        "speech_s": round(sum(each.seconds for each in asked.questions), 1), "notes": measured.notes,
        "load_before": busy, "load_after": os.getloadavg()[0],
    }  # fmt: skip
    content = {"figures": measured.figures, "machine": machine.describe(), "settings": settings}
    write_json(json, {**content, "utterances": measured.utterances})


async def _live(
    pipeline: spec.Pipeline, named: str, asked: corpus.Corpus, sessions: int, seed: int
) -> live.LiveFigures:
    _progress("starting gateway, API, bus and agent")
    async with running(agent_for(pipeline, named)) as stack:
        await stack.know(pipeline)
        await stack.server.warm()
        return await live.measure(stack.url, stack.token, pipeline.name, asked, sessions, seed, stack.folder, _progress)


def _progress(what: str) -> None:
    """One line that is written over, where somebody looks on."""
    if sys.stderr.isatty():
        print(f"\r\033[K· {what} …", end="", file=sys.stderr, flush=True)
    elif not what[0].isdigit() or what.split()[0].endswith("0"):
        print(f"· {what} …", file=sys.stderr, flush=True)
