"""`openomni bench`: the benchmarks of this project."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from ..bench import machine, overhead
from .output import write_json
from .processes import run
from .stack import running

app = typer.Typer(help="The benchmarks of this project.", add_completion=False, no_args_is_help=True)


@app.callback()
def benchmarks() -> None:
    """The benchmarks of this project."""


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
