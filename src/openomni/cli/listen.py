"""`openomni listen`: capture from a microphone or camera, or replay a file, and show each turn."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import OpenOmniError, WrongUsage
from .access import NO_TOKEN, TOKEN_HELP
from .output import check_json, write_json

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Pace(StrEnum):
    realtime = "realtime"
    fast = "fast"


@app.command()
def listen(
    source: Annotated[str, typer.Option(envvar="OPENOMNI_SOURCE", help="mic, camera or file:PATH.")] = "mic",
    pipeline: Annotated[str, typer.Option(envvar="OPENOMNI_PIPELINE", help="Which pipeline answers.")] = "local",
    server: Annotated[
        str, typer.Option(envvar="OPENOMNI_SERVER", help="Address of the server.")
    ] = "http://127.0.0.1:8000",
    token: Annotated[str, typer.Option(envvar="OPENOMNI_TOKEN", help=TOKEN_HELP.format("device"))] = "",
    pace: Annotated[
        Pace,
        typer.Option(help="realtime: as if said now; fast: uploaded, and its turns done when agents can."),
    ] = Pace.realtime,
    time_points: Annotated[
        str, typer.Option(metavar="MM:SS,…", help="Cut the file there; each piece is one utterance.")
    ] = "",
    audio_track: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Which sound of a file that has several. Default: the first that sounds."
        ),
    ] = None,
    video_track: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Which pictures of a file that has several.")
    ] = None,
    wait: Annotated[
        bool | None, typer.Option("--wait/--no-wait", help="Stay until every turn is over. Default: yes, but for fast.")
    ] = None,
    wait_for_agent: Annotated[
        bool, typer.Option("--wait-for-agent", help="Wait until agents offer what the pipeline needs.")
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the turns as JSON instead; implies --wait.")
    ] = None,
    replies: Annotated[
        Path, typer.Option(envvar="OPENOMNI_REPLIES", help="Folder for the spoken replies, a WAV a turn.")
    ] = Path("openomni-replies"),
    spool: Annotated[
        Path | None,
        typer.Option(envvar="OPENOMNI_SPOOL", help="Folder that captures wait in until the server has them."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(envvar="OPENOMNI_DEVICE", help="Microphone: number or part of its name.")
    ] = None,
    camera: Annotated[str, typer.Option(envvar="OPENOMNI_CAMERA", help="Camera device.")] = "/dev/video0",
    play: Annotated[
        bool, typer.Option("--play", help="Play the replies here, rather than by `openomni respond`.")
    ] = False,
    full_duplex: Annotated[
        bool, typer.Option("--full-duplex", help="Listen on while a reply is played; for headphones.")
    ] = False,
    half_duplex: Annotated[
        bool, typer.Option("--half-duplex", help="Do not listen while a reply is played, rather than cancel its echo.")
    ] = False,
    participant: Annotated[
        str, typer.Option(envvar="OPENOMNI_PARTICIPANT", metavar="CODE", help="Who is heard, by their code.")
    ] = "",
    context: Annotated[
        str, typer.Option(envvar="OPENOMNI_CONTEXT", metavar="TEXT", help="A note: the place, the task, who is there.")
    ] = "",
    list_devices: Annotated[bool, typer.Option("--list-devices", help="List microphones and loudspeakers.")] = False,
    resume_uploads: Annotated[
        bool, typer.Option("--resume-uploads", help="Upload what earlier runs could not, and nothing else.")
    ] = False,
) -> None:
    """Capture from a microphone or camera, or replay a file.

    What is captured is on this machine's disk first, and is kept until the server has all of it.

    Example: openomni listen --source file:interview.mp4 --pipeline local --wait --json turns.json
    """
    if list_devices:
        from ..client import portaudio

        print("\n".join(portaudio.table(portaudio.load("listing devices"))))
        return
    if not token:
        raise WrongUsage(NO_TOKEN.format("device"))
    if full_duplex and half_duplex:
        raise WrongUsage("--full-duplex and --half-duplex exclude each other; choose one")
    check_json(json_file)
    from ..client.listener.listen import Request, listen
    from ..client.listener.listen import resume_uploads as resume
    from ..client.listener.sources import ChosenTracks
    from ..media_file import parse_time_points

    told = Printer(json_file is None).told()
    if resume_uploads:
        outcome = _run(resume(server, token, spool, told))
    else:
        stays = wait if wait is not None else pace is Pace.realtime
        outcome = _run(
            listen(
                Request(
                    server=server, token=token, pipeline=pipeline, source=source, pace=pace.value,
                    time_points=parse_time_points(time_points), tracks=ChosenTracks(audio_track, video_track),
                    wait=stays or json_file is not None,
                    wait_for_agent=wait_for_agent, replies=replies, spool=spool, device=device, camera=camera,
                    play=play, full_duplex=full_duplex, half_duplex=half_duplex,
                    participant=participant, context=context,
                ),
                told,
            )
        )  # fmt: skip
        if json_file is not None:
            write_json(json_file, {"turns": outcome.turns})
            count = len(outcome.turns)
            typer.echo(f"{'1 turn is' if count == 1 else f'{count} turns are'} in {json_file}")
    _check(outcome)


class Printer:
    """Shows turns as they come on standard output, and notices on standard error."""

    def __init__(self, turns: bool) -> None:
        self._turns = turns
        self._console: Any = None

    def told(self) -> Any:
        from ..client.listener.listener import Told

        return Told(turn=self.turn, notice=self.notice)

    def turn(self, turn: dict[str, Any]) -> None:
        if not self._turns:
            return
        # Only now: a listener that shows nothing stays smaller without rich.
        from .timeline import render

        if self._console is None:
            from rich.console import Console

            self._console = Console(highlight=False)
        self._console.print(render(turn))
        if turn.get("reply_audio"):
            self._console.print(f"  ♪ {turn['reply_audio']}", style="dim", markup=False)
        self._console.print()

    def notice(self, line: str) -> None:
        typer.echo(line, err=True)


def _run(work: Any) -> Any:
    from ..client.footprint import keep_small

    keep_small()
    return asyncio.run(work)


def _check(outcome: Any) -> None:
    failed = [turn for turn in outcome.turns if turn.get("status") == "failed"]
    if failed:
        reason = failed[0].get("reason") or "no reason given"
        raise OpenOmniError(f"{len(failed)} of {len(outcome.turns)} turns failed; the first: {reason}")
    if outcome.refused:
        raise OpenOmniError(f"{outcome.refused[0]}; the recording stays in the spool")
    if outcome.left:
        raise typer.Exit(1)  # and why has been said
