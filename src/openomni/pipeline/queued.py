"""A turn from the work queue: recorded speech, or a turn on record, through the stages, with nobody listening."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, cast, get_args

from .. import clock
from ..bounds import MAX_NAME
from ..events import AXIS_RATE, ReplySound, SessionOutput
from ..records import Origin, TimePointRecord, TurnRecord
from .account import Account, Provenance, ReplySink
from .again import guess_of
from .spec import Pipeline
from .turn import StageRunner, Turn, TurnFailed
from .utterance import Utterance

if TYPE_CHECKING:
    from ..bus.work import TurnWork, Work


async def run_queued(
    work: Work,
    wanted: TurnWork,
    pipeline: Pipeline,
    utterance: Utterance,
    runner: StageRunner,
    new_sink: Callable[[], ReplySink],
    *,
    believed: str = "",
) -> TurnRecord:
    """Runs one turn, and gives its record; a stage's failure is in the record, not raised. `believed`: what counts as
    the transcript where the recogniser guesses just that.

    Its timeline begins where this host claimed it. How long it lay in the queue is the time point `queued`, from
    wall clocks: it counts in no duration.
    """
    claimed = clock.now()
    sink: ReplySink | None = None

    async def keep(event: SessionOutput) -> None:
        nonlocal sink
        if isinstance(event, ReplySound):
            if sink is None:
                sink, account.reply_recording = new_sink(), uuid.uuid4().hex
                sink.begin(wanted.turn_id, account.reply_recording, event.rate)
                turn.reply.first_emitted = clock.now()
            sink.write(event.pcm)

    async def believe(text: str | None) -> None:
        guesses = (guess_of(task.output) for task in turn.tasks if task.stage.kind == "stt")
        if believed and text is not None and not text.strip() and believed in guesses:
            turn.reply.transcript = believed

    turn = Turn(wanted.turn_id, pipeline, runner, utterance, keep, clearance=believe if believed else None)
    start = round(wanted.start * AXIS_RATE) + wanted.position
    end = start + (len(utterance.audio.samples) if utterance.audio is not None else 0)
    account = Account(
        project=work.project,
        session_id=wanted.session_id,
        index=wanted.index,
        turn=turn,
        start=start,
        end=end,
        speech_end=claimed,
        decided=claimed,
        speech_start=claimed,
        began_at=time.time(),
        recording=wanted.recording,
        sound=(start, end) if end > start else None,
        track=wanted.track,
        channel=wanted.channel,
        live=False,
        provenance=provenance_of(wanted),
        source="reprocess",
    )
    try:
        await turn.run()
        account.status = "completed"
    except TurnFailed as failure:
        account.status, account.reason = "failed", str(failure)
    except asyncio.CancelledError:
        account.status = "cancelled"
        raise
    finally:
        account.ended = clock.now()
        if sink is not None:
            sink.end()
    # The row was made as version 1 when the turn was queued.
    account.version += 1
    record = account.record()
    waited = max(time.time() - (clock.now() - claimed) - work.ready_at, 0.0)
    record.time_points.insert(0, TimePointRecord("queued", -round(waited, 6), "queue"))
    return record


def provenance_of(wanted: TurnWork) -> Provenance:
    """As whoever queued it says; a value of another sort is as good as none."""
    told = {name: str(wanted.options.get(name) or "")[:MAX_NAME] for name in ("participant", "cell", "reruns")}
    told["reruns"] = wanted.reruns or told["reruns"]
    origin = wanted.options.get("origin")
    return Provenance(cast(Origin, origin) if origin in get_args(Origin) else "reprocess", **told)
