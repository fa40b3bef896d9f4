"""From a request to its turns: checks first, then the capture on disk, the live session or the queue, the upload."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote

from ...errors import OpenOmniError, WrongUsage
from ...events import AXIS_RATE
from ...media_file import shown
from ...storage.api import AWAY_PATIENCE_S, Api
from ...storage.spool import Spool, SpoolRecording
from ...storage.upload import Uploader
from ..connection import Link
from ..echo import EchoCanceller
from ..replies import ReplyFolder
from ..responder.sinks import Report, Sink, VirtualSpeaker
from ..signals import stops_on_signals
from .listener import Listener, Told, Turn
from .sources import ANY_TRACKS, CaptureSource, ChosenTracks, FileSource, NoSpeech

AGENT_POLL_S = 1.0
DEFAULT_REPLIES = Path("openomni-replies")


@dataclass(frozen=True)
class Request:
    """What to listen to, and where to."""

    server: str
    token: str
    pipeline: str
    source: str
    """`mic`, `camera` or `file:PATH`."""
    pace: Literal["realtime", "fast"] = "realtime"
    time_points: Sequence[float] = ()
    tracks: ChosenTracks = ANY_TRACKS
    """Which tracks of a file."""
    wait: bool = True
    """Stay until every turn is over."""
    wait_for_agent: bool = False
    replies: Path = DEFAULT_REPLIES
    spool: Path | None = None
    device: str | None = None
    camera: str = "/dev/video0"
    play: bool = False
    """Play the replies on this machine's loudspeaker, rather than leave it to a responder."""
    full_duplex: bool = False
    """Send all that is heard: with headphones there is no echo."""
    participant: str = ""
    """The code of who is heard."""
    context: str = ""
    """A note: the place, the task, who is there."""
    half_duplex: bool = False
    """Send silence while a reply is played, rather than cancel its echo."""


@dataclass
class ListenOutcome:
    """What came of it. `left` recordings wait in the spool; `refused` says why the server would not take some."""

    session_id: str = ""
    turns: list[Turn] = field(default_factory=list)
    left: int = 0
    refused: list[OpenOmniError] = field(default_factory=list)


async def listen(request: Request, told: Told) -> ListenOutcome:
    """Raises OpenOmniError for whatever a person can mend; what was captured by then is in the spool."""
    echo = cancel_echo(request, told)
    source = make_source(request, echo, told.notice)
    await asyncio.to_thread(source.check)
    if request.wait:
        ReplyFolder(request.replies).make()
    async with Api(request.server, request.token) as first:
        await check_pipeline(first, request, told)
        api = first.patient(told.notice)
        spool = Spool(request.spool, api.server, request.token)
        async with Uploader(api) as uploader:
            for recording in spool.waiting():
                uploader.add(recording)
            outcome = ListenOutcome()
            try:
                if request.pace == "fast":
                    assert isinstance(source, FileSource)
                    await _fast(request, told, source, api, spool, uploader, outcome)
                else:
                    await _realtime(request, told, source, echo, spool, uploader, outcome)
            except asyncio.CancelledError:
                _tell_left(uploader, told)
                raise
            return outcome


async def resume_uploads(server: str, token: str, folder: Path | None, told: Told) -> ListenOutcome:
    """Uploads what earlier runs left in the spool for this server. Raises Unreachable when it is away."""
    async with Api(server, token) as first:
        api = first.patient(told.notice)
        spool = Spool(folder, api.server, token)
        waiting = spool.waiting(any_token=True)
        if waiting:
            await first.get("/hello")
        async with Uploader(api) as uploader:
            for recording in waiting:
                uploader.add(recording)
            outcome = ListenOutcome()
            many = {0: "no recording waits", 1: "1 recording waits"}.get(
                len(waiting), f"{len(waiting)} recordings wait"
            )
            told.notice(f"{many} in {spool.folder}")
            await _drain(uploader, told, outcome)
            if outcome.left and uploader.trouble:
                raise uploader.trouble
            return outcome


def cancel_echo(request: Request, told: Told) -> EchoCanceller | None:
    """Where this machine's loudspeaker plays beside its microphone. None, too, where the library for it is missing."""
    if not request.play or request.source.startswith("file:") or request.full_duplex or request.half_duplex:
        return None
    try:
        return EchoCanceller()
    except OpenOmniError as error:
        told.notice(f"{error}; until then nobody can interrupt: silence is sent while a reply is played")
        return None


def make_source(
    request: Request, echo: EchoCanceller | None = None, told: Callable[[str], None] | None = None
) -> CaptureSource:
    """Raises WrongUsage for a source that there is not."""
    kind, _, rest = request.source.partition(":")
    if kind == "file" and rest:
        return FileSource(file_path(rest), request.time_points, request.tracks, told)
    if request.time_points or request.pace == "fast" or request.tracks != ANY_TRACKS:
        raise WrongUsage("--time-points, --pace fast, --audio-track and --video-track are for files; "
                         "use --source file:PATH")  # fmt: skip
    if request.source == "mic":
        from .microphone import Microphone

        return Microphone(request.device, echo)
    if request.source == "camera":
        from .camera import Camera

        return Camera(request.camera, request.device, echo)
    raise WrongUsage(f"--source {request.source!r} is none; choose mic, camera or file:PATH")


def file_path(named: str) -> Path:
    """What stands behind `file:`, be it written for a shell (`~/talk.wav`) or a browser (`///home/me/a%20b.wav`)."""
    path = Path(named).expanduser()
    if named.startswith("//") and not path.exists():
        return Path(unquote(named.removeprefix("//").removeprefix("localhost")))
    return path


async def check_pipeline(api: Api, request: Request, told: Told) -> None:
    """Raises Refused for an unknown pipeline, and OpenOmniError when no agent offers what it needs; with
    `wait_for_agent` waits for one."""
    said = ""
    while True:
        problems = (await api.get(f"/pipelines/{quote(request.pipeline, safe='')}/resolve")).get("problems") or []
        if not problems:
            return
        line = "; ".join(problems)
        if not request.wait_for_agent:
            raise OpenOmniError(f"pipeline {request.pipeline!r} cannot run now: {line} (--wait-for-agent waits)")
        if line != said:
            told.notice(f"waiting: {line}")
            said = line
        await asyncio.sleep(AGENT_POLL_S)


async def _realtime(
    request: Request, told: Told, source: CaptureSource, echo: EchoCanceller | None, spool: Spool, uploader: Uploader,
    outcome: ListenOutcome,
) -> None:  # fmt: skip
    recording_id = uuid.uuid4().hex
    hello = {"role": "listener", "audio": "binary", "rate": AXIS_RATE, "source": source.label, "output": True,
             "recording_id": recording_id, "wait_for_agent": request.wait_for_agent,
             "participant": request.participant, "context": request.context}  # fmt: skip
    path = f"/v1/realtime?model={quote(request.pipeline, safe='')}"
    recordings: list[SpoolRecording] = []
    interrupted = False

    def stop() -> None:
        nonlocal interrupted
        interrupted = True
        source.stop()

    try:
        # From the first byte in the spool on, Ctrl-C ends it in good order.
        async with Link(request.server, request.token, path, hello) as link:
            with stops_on_signals(stop):
                outcome.session_id = link.session_id
                recordings += await asyncio.to_thread(source.open, spool, link.session_id, recording_id)
                for recording in recordings:
                    uploader.add(recording)
                # A room's loudspeaker is played by a responder, which reports; then ours only follows it, to know when
                # the room is quiet.
                listener = Listener(link, source, _sink(request, echo), ReplyFolder(request.replies), told,
                                    reports=request.play or not source.ambient,
                                    full_duplex=request.full_duplex or echo is not None, wait=request.wait)  # fmt: skip
                try:
                    await listener.run()
                finally:
                    outcome.turns = listener.turns
            _tell_undelivered(listener, told)
    finally:
        for recording in recordings:
            recording.end()
        # Also after a failure: what was captured goes up while it can, and else stays in the spool.
        await _drain(uploader, told, outcome)
    if request.wait and not outcome.turns and not source.ambient and not interrupted:
        raise NoSpeech(f"no speech found in {shown(request.source.removeprefix('file:'))}; check the recording")


async def _fast(
    request: Request, told: Told, source: FileSource, api: Api, spool: Spool, uploader: Uploader, outcome: ListenOutcome
) -> None:
    from .replay import Replay

    spans = await asyncio.to_thread(source.pieces) if request.time_points else None
    outcome.session_id = uuid.uuid4().hex
    recording = await asyncio.to_thread(source.keep, spool, outcome.session_id)
    replay = Replay(api, recording, outcome.session_id, request.pipeline, request.participant, request.context)
    await replay.upload(uploader)
    await replay.queue(spans, request.wait_for_agent)
    # Agents are at work already; what is wrong with the file is told here, where somebody sees it.
    reading = asyncio.create_task(asyncio.to_thread(source.read_through))
    try:
        if request.wait:
            outcome.turns = await replay.follow(len(spans) if spans else None, told, request.replies)
            if not any(turn["status"] != "completed" or turn["transcript"].strip() for turn in outcome.turns):
                raise NoSpeech(f"no speech found in {shown(source.path)}; check the recording")
        else:
            told.notice(f"queued as session {outcome.session_id}")
        await reading
    finally:
        source.stop()
        await asyncio.wait([reading])
    await _drain(uploader, told, outcome)


async def _drain(uploader: Uploader, told: Told, outcome: ListenOutcome) -> None:
    await uploader.drain(AWAY_PATIENCE_S)
    outcome.left, outcome.refused = len(uploader.recordings), uploader.refused
    _tell_left(uploader, told)


def _tell_left(uploader: Uploader, told: Told) -> None:
    if left := len(uploader.recordings):
        why = f" ({uploader.trouble})" if uploader.trouble else ""
        many, they = ("1 recording is", "it is") if left == 1 else (f"{left} recordings are", "they are")
        told.notice(f"{many} not uploaded yet{why}; {they} kept: openomni listen --resume-uploads")


def _sink(request: Request, echo: EchoCanceller | None) -> Callable[[Report], Sink]:
    if not request.play:
        return VirtualSpeaker
    from ..responder.speaker import Loudspeaker

    return partial(Loudspeaker, reference=echo.played if echo is not None else None)


def _tell_undelivered(listener: Listener, told: Told) -> None:
    if listener.undelivered.seconds > 0:
        told.notice(f"{listener.undelivered.seconds:.1f} s were captured while the gateway was away; they are in the "
                    "recording, and were not heard live")  # fmt: skip
