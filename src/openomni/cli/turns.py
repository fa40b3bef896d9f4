"""`openomni turns`: what was said, and the same again, whole or from a stage on."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
import typer

from ..errors import OpenOmniError, WrongUsage
from ..pipeline.again import Comparison, compare
from ..pipeline.conversation import of_user
from ..records import TurnRecord
from ..storage.api import Api, Refused
from .asking import HERE, Json, Server, Token, ask
from .output import check_json, write_json

app = typer.Typer(
    help="List and show turns, and run them again.",
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
)  # fmt: skip
PAGE = 200
LOOK_EVERY = 0.5
"""Seconds between looks for turns that are over."""
UNFINISHED = ("pending", "started")


@app.command("list")
def list_turns(
    session: Annotated[str, typer.Option(help="Of this session.")] = "",
    pipeline: Annotated[str, typer.Option(help="Through this pipeline, by its name or hash.")] = "",
    status: Annotated[str, typer.Option(help="pending, started, completed, failed or cancelled.")] = "",
    tag: Annotated[str, typer.Option(help="That bear this tag.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="So many at most.")] = 20,
    server: Server = HERE,
    token: Token = "",
    json: Json = None,
) -> None:
    """Turns, newest first."""
    check_json(json)
    wanted = {"session": session, "pipeline": pipeline, "status": status, "tag": tag}
    given = {name: value for name, value in wanted.items() if value}
    turns = ask(server, token, lambda api: _listed(api, limit, **given))
    console = _console()
    # Who reads it in a pipe gets each turn whole, in one line.
    width = console.width if console.is_terminal else sys.maxsize
    cut = {"no_wrap": True, "overflow": "ellipsis"} if console.is_terminal else {"soft_wrap": True}
    for line in (line for turn in turns for line in _lines(turn, width)):
        console.print(line, markup=False, highlight=False, **cut)
    if not turns:
        console.print("there is no such turn" if given else "there are no turns yet")
    write_json(json, {"turns": turns})


@app.command()
def show(
    turn_id: Annotated[str, typer.Argument(metavar="ID", help="As `openomni turns list` shows it.")],
    server: Server = HERE,
    token: Token = "",
    json: Json = None,
) -> None:
    """One turn: what was said, what its time went to, what each stage ran on, and what its models were told."""
    check_json(json)
    turn = ask(server, token, lambda api: _whole(api, turn_id))
    from .timeline import render

    console = _console()
    console.print(render(turn))
    console.print()
    for line in _about(turn):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    write_json(json, turn)


@app.command()
def rerun(
    turn_ids: Annotated[list[str], typer.Argument(metavar="ID…", help="As `openomni turns list` shows them.")],
    pipelines: Annotated[
        str, typer.Option(metavar="A,B", help="Through these, by name or name@hash, rather than as it was then.")
    ] = "",
    begin: Annotated[
        str,
        typer.Option("--from", metavar="KIND", help="Begin with this stage: those before give what they gave then."),
    ] = "",
    given: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="KIND=TEXT", help="Have a stage give this text instead of running."),
    ] = None,
    server: Server = HERE,
    token: Token = "",
    json: Json = None,
) -> None:
    """Run turns again: each stage is given the very input that it had. Says which come out the same, and of others the
    first stage that differs.

    Example: openomni turns rerun 4f1c… --from llm --with stt="What is the capital of Peru?"
    """
    check_json(json)
    request = {
        "turns": list(dict.fromkeys(turn_ids)),
        "pipelines": [name.strip() for name in pipelines.split(",") if name.strip()],
        "from": begin,
        "with": _corrections(given or ()),
        "session_id": uuid.uuid4().hex,
    }
    pairs = ask(server, token, lambda api: _run_again(api, request))
    console = _console()
    compared = [compare(was, now) for was, now in pairs]
    for (was, now), comparison in zip(pairs, compared, strict=True):
        for line in _verdict(was, now, comparison):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    same = sum(each.same for each in compared)
    console.print(f"{same} of {len(compared)} the same", style="bold")
    write_json(
        json,
        {
            "same": same,
            "of": len(compared),
            "reruns": [msgspec.to_builtins(each) for each in compared],
            "turns": [msgspec.to_builtins(now) for _, now in pairs],
        },
    )
    failed = [now for _, now in pairs if now.status == "failed"]
    if failed:
        raise OpenOmniError(f"{len(failed)} of {len(pairs)} turns failed; the first: {failed[0].reason}")


# ---- asking the server ---------------------------------------------------------------------------------------


async def _listed(api: Api, limit: int, **wanted: str) -> list[dict[str, Any]]:
    turns: list[dict[str, Any]] = []
    further: dict[str, str] = {}
    while True:
        page = await api.get("/turns", limit=min(limit - len(turns), PAGE), **wanted, **further)
        turns += page["items"]
        if not page["next"] or len(turns) >= limit:
            return turns
        further = {"cursor": page["next"]}


async def _turn(api: Api, turn_id: str) -> dict[str, Any]:
    turn: dict[str, Any] = await api.get(f"/turns/{quote(turn_id, safe='')}")
    return turn


async def _whole(api: Api, turn_id: str) -> dict[str, Any]:
    """A turn with the `builds` that it ran on, by their ids, and what it was `told`."""
    turn = await _turn(api, turn_id)
    names = dict.fromkeys(stage["build"] for stage in turn["stages"] if stage["build"])
    builds = {}
    for name in names:
        with contextlib.suppress(Refused):  # its record may be on its way yet
            builds[name] = await api.get(f"/builds/{name}")
    root = turn
    while root["reruns"]:
        root = await _turn(api, root["reruns"])
    kept = {item["item_id"]: item for item in await api.get(f"/sessions/{root['session_id']}/items")}
    # What a rerun was asked itself is kept with no session: it is what the turn has.
    kept.setdefault(of_user(turn_id), {"role": "user", "content": turn["transcript"]})
    return {**turn, "builds": builds, "told": [kept[name] for name in turn["items"] if name in kept]}


async def _run_again(api: Api, request: Mapping[str, Any]) -> list[tuple[TurnRecord, TurnRecord]]:
    """Each turn and the one that runs it again, once all are over."""
    queued = (await api.post("/turns/rerun", request))["turns"]
    patient = api.patient(lambda line: typer.echo(line, err=True))
    over: dict[str, dict[str, Any]] = {}
    while True:
        for session_id in {turn["session_id"] for turn in queued if turn["turn_id"] not in over}:
            turns = await _listed(patient, sys.maxsize, session=session_id)
            over |= {turn["turn_id"]: turn for turn in turns if turn["status"] not in UNFINISHED}
        done = sum(turn["turn_id"] in over for turn in queued)
        if done == len(queued):
            break
        _progress(f"{done} of {len(queued)} turns are over")
        await asyncio.sleep(LOOK_EVERY)
    _progress("")
    old = {key: await _turn(patient, key) for key in dict.fromkeys(turn["reruns"] for turn in queued)}
    return [(_record(old[each["reruns"]]), _record(over[each["turn_id"]])) for each in queued]


def _record(turn: dict[str, Any]) -> TurnRecord:
    try:
        return msgspec.convert(turn, TurnRecord)
    except msgspec.ValidationError as error:
        raise OpenOmniError(f"the server gives turns as another version does ({error}); use one version") from None


def _corrections(given: Sequence[str]) -> dict[str, str]:
    corrections = {}
    for each in given:
        kind, equals, text = each.partition("=")
        if not equals or not kind.strip():
            raise WrongUsage(f'--with {each!r}: write KIND=TEXT, as in --with stt="What is the time?"')
        corrections[kind.strip()] = text
    return corrections


# ---- how it looks --------------------------------------------------------------------------------------------


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False)


def _progress(what: str) -> None:
    """One line that is written over, where somebody looks on."""
    if sys.stderr.isatty():
        print(f"\r\033[K{what and f'· {what} …'}", end="", file=sys.stderr, flush=True)


def _lines(turn: Mapping[str, Any], width: int) -> list[str]:
    """One line, or two where what was said would not fit behind the rest."""
    at = datetime.fromtimestamp(turn["started_at"]).strftime("%Y-%m-%d %H:%M:%S") if turn["started_at"] else "–"
    heard = turn["voice_to_voice_s"]
    waited = f"{heard:6.2f} s" if heard is not None else "       –"
    said = " → ".join(" ".join(turn[name].split()) for name in ("transcript", "reply_text"))
    head = f"{turn['turn_id']}  {at:19}  {turn['status']:<10} {turn['pipeline']:<10} {waited}"
    return [f"{head}  {said}"] if len(head) + 2 + len(said) <= width else [head, f"  {said}"]


def _about(turn: Mapping[str, Any]) -> list[str]:
    """What the timeline does not tell."""
    lines = [f"turn     {turn['turn_id']}", f"session  {turn['session_id']}"]
    if turn["started_at"]:
        lines.append(f"said     {datetime.fromtimestamp(turn['started_at']):%Y-%m-%d %H:%M:%S}, {turn['origin']}")
    lines.append(f"pipeline {turn['pipeline']} {turn['pipeline_hash']}")
    if turn["reruns"]:
        lines.append(f"reruns   {turn['reruns']}")
    for kind, source in turn["given"].items():
        lines.append(f"given    {kind}, {source}")
    lines += [_stage(stage, turn["builds"].get(stage["build"])) for stage in turn["stages"]]
    lines += [f"told     {item['role']}: {' '.join(item['content'].split())}" for item in turn["told"]]
    return lines


def _stage(stage: Mapping[str, Any], build: Mapping[str, Any] | None) -> str:
    times = " ".join(
        f"{name.removesuffix('_s')} {stage[name]:.3f}"
        for name in ("queue_s", "transfer_s", "load_s", "model_s", "ttfb_s")
        if stage[name] is not None
    )
    parameters = build["parameters"] if build else {}
    model = parameters.get("model") or parameters.get("voice") or ""
    ran_on = f"{model and f' {model}'} ({build['package']} {build['package_version']})" if build else ""
    why = f": {stage['reason']}" if stage["reason"] else ""
    name, agent = f"{stage['kind']}:{stage['component']}", f" on {stage['agent']}" if stage["agent"] else ""
    return f"stage    {name}{ran_on}{agent}, {stage['status']}{why}  {times}"


def _verdict(was: TurnRecord, now: TurnRecord, found: Comparison) -> list[str]:
    beside = f" through {now.pipeline}" if was.pipeline_hash != now.pipeline_hash else ""
    corrected = [kind for kind, source in now.given.items() if source == "corrected"]
    beside += f" with {' and '.join(corrected)} corrected" if corrected else ""
    head = f"{was.turn_id} → {now.turn_id}{beside}"
    if found.first is None:
        stopped = [kind for kind, same in found.stages.items() if same is None]
        far = f", as far as {' and '.join(stopped)} came then" if stopped else ""
        return [f"{head}  the same{far}"]
    return [
        f"{head}  differs first in {found.first.stage}",
        *(f"  {when}  {name}: {_value(value)}"
          for when, output in (("was", found.first.was), ("now", found.first.now))
          for name, value in output.items()),
    ]  # fmt: skip


def _value(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
