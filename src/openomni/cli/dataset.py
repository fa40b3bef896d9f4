"""`openomni dataset`: inputs of experiments, in and out."""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from .. import datasets
from ..datasets import deriving
from ..errors import OpenOmniError, WrongUsage, nearest
from ..media_file import parse_time_points
from ..models.progress import Progress, bar
from ..storage.api import Api
from . import dataset_derive
from . import dataset_server as server_side
from .access import NO_TOKEN
from .asking import HERE, Json, Server, T, Token, ask
from .dataset_import import BUILTIN, found_in, take
from .output import check_json, write_json

app = typer.Typer(
    help="Inputs: imported, made of turns, derived, listed and exported.",
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
)  # fmt: skip
Named = Annotated[str, typer.Argument(metavar="NAME", help="Its name, or NAME@VERSION.")]
FILTER = ("session", "pipeline", "tag", "participant", "device", "since", "until")
NAME = r"[A-Za-z0-9][A-Za-z0-9._:-]{0,79}"
SHOWN = 200
"""Problems that are printed; all of them are in the file of `--json`."""


@app.command("import")
def import_(
    path: Annotated[str, typer.Argument(metavar="PATH", help=f"A folder, a manifest, a recording, or {BUILTIN}NAME.")],
    name: Annotated[str, typer.Option(help="What it is to be called. Default: of a built-in one its own name.")] = "",
    format: Annotated[
        str, typer.Option(metavar="F", help=f"One of {', '.join(datasets.FORMATS)}. Default: what it looks like.")
    ] = "",
    time_points: Annotated[str, typer.Option(metavar="MM:SS,…", help="Cut one recording or video there.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what is wrong, and take nothing.")] = False,
    accept: Annotated[
        str, typer.Option(metavar="KIND,…", help=f"Take it with these: {', '.join(datasets.ACCEPTABLE)}.")
    ] = "",
    server: Server = HERE,
    token: Token = "",
    json: Json = None,
) -> None:
    """Look at all of a dataset, list everything that is wrong with it, and take it where nothing is.

    Example: openomni dataset import corpus/ --name corpus --dry-run
    """
    check_json(json)
    if not name and not dry_run and not path.startswith(BUILTIN):
        raise WrongUsage("--name is missing; say what the dataset is to be called")
    if not dry_run and not token:
        raise WrongUsage(NO_TOKEN.format("researcher"))
    name = name or path
    if not dry_run and not re.fullmatch(NAME, name):
        raise WrongUsage(f"--name {name!r:.100}: a dataset's name has 1 to 80 letters, digits and . _ : -, no other")
    found = found_in(
        path,
        format=format or None,
        time_points=parse_time_points(time_points) or None,
        accept=_words(accept),
        progress=lambda done, total: _line(f"listened to {done} of {total} files"),
        told=_line,
    )
    _line("")
    for problem in found.problems[:SHOWN]:
        typer.echo(f"{problem.severity}: {problem.where}: {problem.what}" if problem.where else problem.what, err=True)
    if len(found.problems) > SHOWN:
        typer.echo(f"and {len(found.problems) - SHOWN} more; --json FILE has all of them", err=True)
    errors = sum(problem.severity == "error" for problem in found.problems)
    if not found.ok:
        write_json(json, found.as_json(name))
        raise OpenOmniError(
            f"{errors} error{'s' if errors != 1 else ''}, and nothing was taken; mend them and try again"
        )
    if dry_run:
        write_json(json, found.as_json(name))
        typer.echo(f"{_count(found.samples, 'sample')}, {_hours(found.seconds)}, {found.format}; nothing was taken")
        return
    made = _with(server, token, lambda api, progress: take(api, found, name, path, progress))
    write_json(json, found.as_json(name, made["version"], taken=True))
    typer.echo(f"{made['dataset']}@{made['version']}: {_count(found.samples, 'sample')}, {_hours(found.seconds)}")


@app.command("list")
def list_(server: Server = HERE, token: Token = "", json: Json = None) -> None:
    """Datasets, by name, each with its newest version."""
    check_json(json)
    rows = _with(server, token, lambda api, _: server_side.everything(api, "/datasets"))
    for row in rows:
        typer.echo(f"{row['name']}@{row['version']}  {row['samples']:>7,} samples  {_hours(row['seconds'])}")
    if not rows:
        typer.echo(f"there are no datasets yet; begin with: openomni dataset import {BUILTIN}questions")
    write_json(json, {"datasets": rows})


@app.command()
def show(named: Named, server: Server = HERE, token: Token = "", json: Json = None) -> None:
    """One dataset: its data sheet, and its versions."""
    check_json(json)
    found = _with(server, token, lambda api, _: server_side.dataset(api, named))
    for line in _about(found):
        typer.echo(line)
    write_json(json, found)


@app.command()
def export(
    named: Named,
    out: Annotated[Path, typer.Option(metavar="DIR", help="A new folder, or an empty one.")],
    format: Annotated[
        str,
        typer.Option(
            metavar="F", help=f"One of {', '.join(name for name, each in datasets.FORMATS.items() if each.writes)}."
        ),
    ] = "jsonl",
    server: Server = HERE,
    token: Token = "",
    json: Json = None,
) -> None:
    """Write a dataset with its media into a folder, for other programs and other servers."""
    check_json(json)

    async def fetch(api: Api, progress: Progress) -> dict[str, Any]:
        about = await server_side.dataset(api, named)
        samples = await server_side.samples_of(api, f"{about['dataset']}@{about['version']}")
        with tempfile.TemporaryDirectory(prefix="openomni-", dir=_beside(out)) as folder:
            there = await server_side.download(api, samples, Path(folder), progress)
            await asyncio.to_thread(datasets.export, there, folder, format, out)
        return about

    about = _with(server, token, fetch)
    typer.echo(f"{about['dataset']}@{about['version']} is in {out}")
    told = {name: about[name] for name in ("dataset", "version", "hash", "samples")}
    write_json(json, {**told, "format": format, "out": str(out)})


@app.command()
def make(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is to be called.")],
    turns: Annotated[
        str, typer.Option(metavar="FILTER", help=f"Live turns: all, or KEY=VALUE,… of {', '.join(FILTER)}.")
    ] = "",
    sessions: Annotated[str, typer.Option(metavar="ID,…", help="Whole sessions, each a dialogue.")] = "",
    server: Server = HERE,
    token: Token = "",
    json: Json = None,
) -> None:
    """Make a dataset of what was recorded live: turns as samples, or sessions as dialogues with their very timing.

    Example: openomni dataset make monday --turns tag=interview,since=2026-01-05T00:00:00Z
    """
    check_json(json)
    if bool(turns) == bool(sessions):
        raise WrongUsage("say what it is made of: --turns FILTER, or --sessions ID,…")
    wanted: dict[str, Any] = {"turns": _filter(turns)} if turns else {"sessions": _words(sessions)}
    path = f"/datasets/{quote(name, safe='')}/recorded"
    made = _with(server, token, lambda api, _: api.patient(lambda line: None).post(path, wanted))
    for each in made["left_out"][:SHOWN]:
        typer.echo(f"left out: turn {each['turn_id']}: {each['why']}", err=True)
    kept = made["kept"]
    typer.echo(f"{kept['dataset']}@{kept['version']}: {_count(kept['samples'], 'sample')}, {_hours(kept['seconds'])}")
    write_json(json, {**kept, "left_out": made["left_out"]})


@app.command()
def derive(
    named: Named,
    new: Annotated[str, typer.Option("--as", metavar="NEW", help="What the derived dataset is to be called.")],
    noise: Annotated[str, typer.Option(metavar="KIND", help=f"One of {', '.join(deriving.NOISES)}; with --snr.")] = "",
    snr: Annotated[str, typer.Option(metavar="DB,…", help="Speech over noise, in dB.")] = "",
    loss: Annotated[str, typer.Option(metavar="PERCENT,…", help="Packets of 20 ms that are lost.")] = "",
    speed: Annotated[str, typer.Option(metavar="FACTOR,…", help="Quicker and higher, or slower and lower.")] = "",
    seed: Annotated[int, typer.Option(min=0, help="What is drawn follows from it.")] = 0,
    server: Server = HERE,
    token: Token = "",
    json: Json = None,
) -> None:
    """Make the same samples with noise, lost packets, or at another speed; each is paired with its own.

    Example: openomni dataset derive corpus --as corpus-noisy --noise pink --snr 20,10,0
    """
    check_json(json)
    wanted = deriving.changes(
        noise=noise, snr=_numbers("--snr", snr), loss=_numbers("--loss", loss), speed=_numbers("--speed", speed)
    )
    if new == named.partition("@")[0]:
        raise WrongUsage(f"--as {new!r} is the dataset itself, and this would be its newest version; give another name")
    made = _with(server, token, lambda api, progress: dataset_derive.derive(api, named, new, wanted, seed, progress))
    typer.echo(f"{made['dataset']}@{made['version']}: {_count(made['samples'], 'sample')}, {_hours(made['seconds'])}")
    write_json(json, made)


# ---- asking the server ---------------------------------------------------------------------------------------


def _with(server: str, token: str, act: Callable[[Api, Progress], Awaitable[T]]) -> T:
    with bar(downloads=False) as progress:
        return ask(server, token, lambda api: act(api, progress))


def _beside(out: Path) -> Path:
    """Where there is room for what is written to `out`: on the same disk."""
    out.parent.mkdir(parents=True, exist_ok=True)
    return out.parent


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _numbers(option: str, text: str) -> list[float]:
    try:
        return [float(word) for word in _words(text)]
    except ValueError:
        raise WrongUsage(f"{option} {text!r}: write numbers with commas between them, as in 20,10,0") from None


def _filter(text: str) -> dict[str, str]:
    if text == "all":
        return {}
    given = dict.fromkeys(FILTER, "")
    for part in _words(text):
        key, _, value = part.partition("=")
        if key not in FILTER or not value:
            raise WrongUsage(f"--turns {part!r}: write all, or KEY=VALUE; {nearest(key, FILTER)}")
        given[key] = value
    return {key: value for key, value in given.items() if value}


# ---- how it looks --------------------------------------------------------------------------------------------


def _line(what: str) -> None:
    """One line that is written over, where somebody looks on."""
    if sys.stderr.isatty():
        print(f"\r\033[K{what and f'· {what} …'}", end="", file=sys.stderr, flush=True)


def _count(things: Any, what: str) -> str:
    count = things if isinstance(things, int) else len(things)
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.2f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"


def _about(found: dict[str, Any]) -> list[str]:
    sheet = found["sheet"]
    lines = [
        f"dataset     {found['dataset']}@{found['version']}  {found['hash']}",
        f"made        {found['created_at'][:19].replace('T', ' ')}, of {found['source'] or 'what was sent'}",
    ]
    if found["derived_from"]:
        done = ", ".join(f"{name} {_told(value)}" for name, value in found["derivation"].items())
        lines.append(f"derived     from {found['derived_from']}: {done}")
    if sheet:
        lines += [
            f"sound       {_hours(sheet['seconds'])} in {_count(sheet['recordings'], 'recording')}",
            f"samples     {sheet['samples']:,} ({_count(sheet['dialogues'], 'dialogue')}), "
            f"{_count(sheet['utterances'], 'utterance')}; {sheet['needs_realtime']} of them need real-time pace",
            "references  " + ", ".join(f"{name} {count:,}" for name, count in sheet["references"].items()),
        ]
        for name in ("speakers", "languages", "consent", "emotions"):
            lines.append(f"{name:<11} {_values(sheet[name])}")
    lines.append(f"WER         {_recognised(found)}")
    lines.append("versions    " + ", ".join(f"{each['version']} ({each['hash'][:8]})" for each in found["versions"]))
    return lines


def _told(value: Any) -> str:
    """Of a derivation, as a person writes it."""
    if isinstance(value, list):
        return "; ".join(map(_told, value))
    if isinstance(value, dict):
        return " ".join(str(each) for each in value.values())
    return str(value)


def _recognised(found: dict[str, Any]) -> str:
    by = found.get("wer_of_local")  # an earlier server does not say
    if by is None:
        return f"of local: not measured yet; openomni experiment run {found['dataset']} --pipelines local --metrics wer"
    return f"of local: {100 * by['wer']:.1f} % of {by['words']:,} words, in the experiment {by['experiment']}"


def _values(counted: dict[str, Any]) -> str:
    shown = [f"{value} {count:,}" for value, count in list(counted["utterances"].items())[:10]]
    more = counted["known"] - len(shown)
    rest = ([f"{more} others"] if more > 0 else []) + (
        [f"unknown {counted['unknown']:,}"] if counted["unknown"] else []
    )
    return ", ".join(shown + rest) or "none"
