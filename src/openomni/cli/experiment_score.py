"""`openomni experiment score`: what was run, scored by programs, afterwards and again at will."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from ..errors import OpenOmniError, WrongUsage
from ..storage.api import Api
from .asking import HERE, Json, Server, Token, ask
from .output import check_json, write_json

LOOK_EVERY = 0.5
"""Seconds between looks at how far it is."""
OUTCOMES = ("scored", "not_applicable", "unparsed", "failed", "skipped")


def score(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `openomni experiment list` shows it.")],
    metrics: Annotated[
        str, typer.Option(metavar="M,…", help="Only these; else those that it states, or that fit its dataset.")
    ] = "",
    again: Annotated[bool, typer.Option("--again", help="Also what is scored already; the old scores stay.")] = False,
    prices: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A YAML table of prices, for the metric cost.")
    ] = None,
    server: Server = HERE,
    token: Token = "",
    json: Json = None,
) -> None:
    """Score what an experiment ran. Nothing is run again, and what is scored under a metric's version is left alone.

    Exit status 1 where a metric could not be had, or where sounds of replies are still on their way.
    """
    check_json(json)
    named = [each.strip() for each in metrics.split(",") if each.strip()]
    request: dict[str, Any] = {"metrics": named, "again": again}
    if prices is not None:
        from ..metrics.prices import load

        if named and "cost" not in named:
            raise WrongUsage("--prices is for the metric cost, which is not among --metrics; name it, too")
        request |= {"parameters": {"cost": {"prices": load(prices)}}, "metrics": named or ["cost"]}
    done = ask(server, token, lambda api: _followed(api, name, request))
    for line in table(done["metrics"]):
        print(line)
    write_json(json, done)
    if problems := [each for each in done["metrics"] if each["problem"]]:
        raise OpenOmniError(f"{problems[0]['metric']} scored nothing: {problems[0]['problem']}")
    if awaited := sum(each["awaited"] for each in done["metrics"]):
        raise OpenOmniError(
            f"{awaited} scores wait for the sound of replies, which agents still bring; score again later"
        )


async def _followed(api: Api, name: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """How far it is, once it is over."""
    path = f"/experiments/{quote(name, safe='')}"
    done: dict[str, Any] = await api.post(f"{path}/scores", dict(request))
    patient = api.patient(lambda line: typer.echo(line, err=True))
    while done["running"]:
        await asyncio.sleep(LOOK_EVERY)
        done = await patient.get(f"{path}/scoring")
        _progress(done["metrics"])
    _progress([])
    return done


def _progress(metrics: list[dict[str, Any]]) -> None:
    """One line that is written over, where somebody looks on."""
    if sys.stderr.isatty():
        made = sum(each[outcome] for each in metrics for outcome in OUTCOMES)
        told = f"· {made} of {sum(each['planned'] for each in metrics)} scores …" if metrics else ""
        print(f"\r\033[K{told}", end="", file=sys.stderr, flush=True)


def table(metrics: list[dict[str, Any]]) -> list[str]:
    """A line a metric: how many targets it was to score, and what became of them; why, where one failed."""
    if not metrics:
        return ["nothing is to be scored: no cell has run, or no metric fits; name some with --metrics"]
    width = max(len(each["metric"]) for each in metrics)
    columns = ("planned", *OUTCOMES)
    lines = [f"{'metric':<{width}}  " + "  ".join(f"{column.replace('_', ' '):>14}" for column in columns)]
    for each in metrics:
        counts = "  ".join(f"{each[column]:>14}" for column in columns)
        why = each["problem"] or (f"the last that failed: {each['reason']}" if each["reason"] else "")
        lines.append(f"{each['metric']:<{width}}  {counts}{'  ' if why else ''}{why}")
    return lines
