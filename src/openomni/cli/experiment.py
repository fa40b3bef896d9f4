"""`openomni experiment`: datasets through pipelines, run, followed, cancelled."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from ..errors import OpenOmniError, WrongUsage
from ..pipeline import spec
from ..storage.api import Api, Refused
from . import experiment_compare, experiment_export, experiment_score
from .asking import HERE, Json, Server, Token, ask
from .chosen import is_file
from .experiment_following import follow, lines_of
from .output import check_json, write_json

app = typer.Typer(
    help="Run datasets through pipelines, score and compare what came of it.",
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
)  # fmt: skip
app.command("score")(experiment_score.score)
experiment_compare.register(app)
experiment_export.register(app)
Named = Annotated[str, typer.Argument(metavar="NAME", help="As `openomni experiment list` shows it.")]
BUILTIN = "builtin:"
PAGE = 100


@app.command()
def run(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help=f"NAME, NAME@VERSION, or {BUILTIN}NAME.")],
    pipelines: Annotated[
        str, typer.Option(metavar="A,B,…", help="Each a name, name@hash, or a YAML file, which is put there first.")
    ],
    repeats: Annotated[int, typer.Option(min=1, help="How often each sample goes through each pipeline.")] = 1,
    pace: Annotated[str, typer.Option(help="realtime, or fast: as fast as the agents can.")] = "fast",
    name: Annotated[str, typer.Option(help="Default: from the dataset and the pipelines.")] = "",
    baseline: Annotated[str, typer.Option(metavar="A", help="Default: the first pipeline.")] = "",
    metrics: Annotated[str, typer.Option(metavar="M,…", help="Default: what the dataset has references for.")] = "",
    seed: Annotated[int, typer.Option(help="What the order of the cells is drawn by.")] = 0,
    margin: Annotated[
        list[str] | None, typer.Option(metavar="METRIC=X", help="A difference of up to X does not matter.")
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="KIND=reference", help="The samples' references take this stage's place."),
    ] = None,
    player: Annotated[
        str,
        typer.Option(
            metavar="NAME[,KEY=VALUE…]",
            help="Who plays the user at real-time pace; script, say. Default: the recordings.",
        ),
    ] = "",
    player_voice: Annotated[
        str, typer.Option(metavar="TTS[,KEY=VALUE…]", help="The voice in which it is heard. Default: piper.")
    ] = "",
    detach: Annotated[bool, typer.Option("--detach", help="Begin it, and do not wait.")] = False,
    server: Server = HERE,
    token: Token = "",
    json: Json = None,
) -> None:
    """Run every sample through every pipeline, and wait. The same again goes on where it was, or does nothing; a
    pipeline more, under the same --name, runs only its own cells. Exit code 1: a cell failed.

    Example: openomni experiment run questions --pipelines local,mine.yaml --repeats 3
    """
    check_json(json)
    if pace not in ("realtime", "fast"):
        raise WrongUsage(f"--pace {pace!r} is none; it takes realtime or fast")
    request: dict[str, Any] = {
        "repeats": repeats, "pace": pace, "seed": seed, "baseline": baseline, "metrics": _listed(metrics),
        "margins": {metric: _number(metric, text) for metric, text in _pairs("--margin", margin or ())},
        "with": dict(_pairs("--with", given or ())),
    }  # fmt: skip
    if name:
        request["name"] = name
    if chosen := _player(player, player_voice):
        request["player"] = chosen
    found: dict[str, Any] = {}

    async def begin(api: Api) -> dict[str, Any]:
        request["dataset"] = await _brought(api, dataset)
        await _unmixed(api, name, _listed(pipelines))
        request["pipelines"] = [await _put(api, each) for each in _listed(pipelines)]
        if baseline:
            request["baseline"] = await _put(api, baseline)
        found.update(await api.post("/experiments", request))
        print(f"experiment {found['experiment']}: {found['cells']['planned']:,} cells, {server}{_page(found)}",
              file=sys.stderr)  # fmt: skip
        for told in (experiment_compare.foreseen, experiment_compare.forecast):
            if line := await told(api, str(found["experiment"])):
                print(line, file=sys.stderr)
        return dict(found) if detach else await follow(api, str(found["experiment"]))

    try:
        found = ask(server, token, begin)
    except KeyboardInterrupt:
        if found:
            print(f"\nit goes on without us; follow it with: openomni experiment show {found['experiment']}, or stop "
                  f"it with: openomni experiment cancel {found['experiment']}", file=sys.stderr)  # fmt: skip
        raise
    _tell(found)
    if found["status"] == "done":
        for line in ask(server, token, lambda api: _scored(api, str(found["experiment"]))):
            print(line)
        if len(found["pipelines"]) > 1:
            print(
                f"compare     openomni experiment compare {found['experiment']}, or {server}{_page(found)}comparison/"
            )
    write_json(json, found)
    if found["status"] == "cancelled":
        raise OpenOmniError(f"experiment {found['experiment']} was cancelled; run it again, and it goes on")
    if failed := ask(server, token, lambda api: _failed(api, found)):
        raise OpenOmniError(failed)


@app.command("list")
def list_experiments(
    limit: Annotated[int, typer.Option(min=1, help="So many at most.")] = 20,
    server: Server = HERE,
    token: Token = "",
    json: Json = None,
) -> None:
    """Experiments, newest first."""
    check_json(json)
    rows = ask(server, token, lambda api: _listing(api, limit))
    for row in rows:
        cells, of = row["cells"], row["dataset"]
        labels = ", ".join(each["pipeline"] for each in row["pipelines"])
        print(f"{row['experiment']:<30} {row['status']:<10} {cells['run']:>7,} of {cells['planned']:<9,} "
              f"{of['name']}@{of['version']} × {labels}")  # fmt: skip
    if not rows:
        print("there are no experiments yet; begin with: openomni experiment run builtin:questions --pipelines local")
    write_json(json, {"experiments": rows})


@app.command()
def show(named: Named, server: Server = HERE, token: Token = "", json: Json = None) -> None:
    """One experiment: how far it is, what became of its turns, and why the first of its cells failed, if any did."""
    check_json(json)
    found, failed = ask(server, token, lambda api: _with_failed(api, api.get(_path(named))))
    _tell(found, failed)
    write_json(json, found)


@app.command()
def cancel(named: Named, server: Server = HERE, token: Token = "", json: Json = None) -> None:
    """Stop an experiment: what was run stays, nothing more of it is; run again, it goes on."""
    check_json(json)
    found, failed = ask(server, token, lambda api: _with_failed(api, api.post(f"{_path(named)}/cancel", {})))
    _tell(found, failed)
    write_json(json, found)


# ---- what is asked for ---------------------------------------------------------------------------------------


def _listed(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


def _pairs(option: str, texts: Sequence[str]) -> list[tuple[str, str]]:
    """Raises WrongUsage for what is no NAME=VALUE."""
    pairs = [text.partition("=") for text in texts]
    for name, equals, value in pairs:
        if not (name.strip() and equals and value.strip()):
            example = "wer=0.01" if option == "--margin" else "stt=reference"
            raise WrongUsage(f"{option} {name!r}: write it as in {option} {example}")
    return [(name.strip(), value.strip()) for name, _, value in pairs]


def _player(player: str, voice: str) -> dict[str, Any]:
    """Raises WrongUsage for a voice of nobody, and for settings that are no KEY=VALUE."""
    if not player or player == "recording":
        if voice:
            raise WrongUsage("--player-voice is the voice of a --player; recordings have their own")
        return {}
    name, parameters = _with_settings("--player", player)
    chosen = {"name": name, "parameters": parameters}
    if voice:
        chosen["voice"], chosen["voice_parameters"] = _with_settings("--player-voice", voice)
    return chosen


def _with_settings(option: str, text: str) -> tuple[str, dict[str, Any]]:
    """`name,key=value,…`, the values as a pipeline would have them."""
    from .components import parameters_of

    name, *settings = (each.strip() for each in text.split(","))
    if not name or "=" in name or not all("=" in each.lstrip("=") for each in settings):
        raise WrongUsage(f"{option} {text!r}: write a name first, then settings as KEY=VALUE, with commas between")
    return name, parameters_of(settings)


def _number(metric: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise WrongUsage(f"--margin {metric}={text}: that is no difference; write a number of 0 or more")
    return number


async def _brought(api: Api, dataset: str) -> str:
    """A set that comes along is imported first; what the server has already is not sent again."""
    if not dataset.startswith(BUILTIN):
        return dataset
    from ..models.progress import bar
    from .dataset_import import found_in, take

    found = await asyncio.to_thread(found_in, dataset, told=lambda line: print(f"· {line} …", file=sys.stderr))
    with bar(downloads=False) as progress:
        made = await take(api, found, dataset, dataset, progress)
    return f"{made['dataset']}@{made['version']}"


async def _unmixed(api: Api, name: str, pipelines: Sequence[str]) -> None:
    """Raises WrongUsage for a file whose pipeline the experiment of that name has with another content: before it is
    put, for it would be the newest of its name from then on."""
    files = [spec.load(each) for each in pipelines if is_file(each)]
    if not (name and files):
        return
    try:
        there = (await api.get(_path(name)))["pipelines"]
    except Refused as no:
        if no.status != 404:
            raise
        return  # there is none yet
    hashes = {each["pipeline"]: each["pipeline_hash"] for each in there}
    for each in files:
        been = hashes.get(each.name, each.hash)
        if been != each.hash and each.hash not in hashes.values():
            raise WrongUsage(
                f"experiment {name!r} has the pipeline {each.name} of hash {been}, and this file has another "
                f"({each.hash}); give the experiment another --name, or the pipeline in the file"
            )


async def _put(api: Api, named: str) -> str:
    """A file is put there as a pipeline, and known by its name from then on."""
    if not is_file(named):
        return named
    pipeline = spec.load(named)
    known = spec.builtin().get(pipeline.name)
    if known is None or known.hash != pipeline.hash:
        await api.put(f"/pipelines/{pipeline.name}", {"yaml": Path(named).read_text("utf-8")})
    return pipeline.name


# ---- what is asked of the server -----------------------------------------------------------------------------


async def _scored(api: Api, name: str) -> list[str]:
    """A line for each metric that scored nothing somewhere for a fault of its own."""
    counts = (await api.get(f"{_path(name)}/scoring"))["metrics"]
    faults = [(each["metric"], each["problem"] or f"failed {each['failed']} times; the last: {each['reason']}")
              for each in counts if each["problem"] or (each["failed"] and each["reason"])]  # fmt: skip
    return [f"metric      {metric}: {why}" for metric, why in faults]


def _path(name: str) -> str:
    return f"/experiments/{quote(name, safe='')}"


def _page(found: Mapping[str, Any]) -> str:
    return f"{_path(str(found['experiment']))}/"


async def _listing(api: Api, limit: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    further: dict[str, str] = {}
    while True:
        page = await api.get("/experiments", limit=min(limit - len(rows), PAGE), **further)
        rows += page["items"]
        if not page["next"] or len(rows) >= limit:
            return rows
        further = {"cursor": page["next"]}


async def _failed(api: Api, found: Mapping[str, Any]) -> str:
    """How many cells failed, and why the first of them did; empty where none did."""
    cells = found["cells"]
    if not cells["failed"]:
        return ""
    page = await api.get(f"{_path(str(found['experiment']))}/cells", status="failed", limit=1)
    said = f"{cells['failed']} of {cells['planned']} cells failed"
    if not page["items"]:
        return said  # they are run again by now
    first = page["items"][0]
    return f"{said}; the first: sample {first['sample']} through {first['pipeline']}: {first['reason']}"


async def _with_failed(api: Api, asked: Awaitable[dict[str, Any]]) -> tuple[dict[str, Any], str]:
    found = await asked
    return found, await _failed(api, found)


def _tell(found: Mapping[str, Any], failed: str = "") -> None:
    for line in lines_of(found):
        print(line)
    if failed:
        print(f"failed      {failed}")
