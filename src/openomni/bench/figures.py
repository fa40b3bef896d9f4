"""From calls that are over to numbers. Nothing here runs or waits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..client.caller.caller import SyntheticCaller
from ..client.caller.ear import HeardReply
from ..client.caller.measured import decided, stop_seconds, turns_of
from ..events import AXIS_RATE
from ..latency import percentile
from .scenes import PlayedCall, Scene

PARTS = (
    *("end_of_turn", "model_stt", "model_llm", "model_tts"),
    *("queue", "lost", "transfer", "load", "aggregation", "playback", "residue"),
)
"""What a turn's time is told apart into, in the order in which it mostly passes."""

JUDGED_S = 1.0
"""A reply that went on for so long after a backchannel was not stopped by it."""

Turn = dict[str, Any]


@dataclass(slots=True)
class UtteranceRow:
    """One utterance and what became of it. Seconds; None where it can't be said."""

    what: str
    name: str
    voice: str
    real: bool
    seconds: float
    turns: int
    """User turns that the server made of it; one is right."""
    cut: bool
    """A turn was decided before its last speech sample."""
    voice_to_voice_s: float | None
    host_voice_to_voice_s: float | None
    """As the turn's own record has it, with the end of speech as the pipeline's VAD found it."""
    transcript: str = ""
    reply_text: str = ""
    remembered: str = ""
    """What the conversation holds of the reply."""
    turn_id: str = ""
    played_text: str = ""
    """As a recogniser hears what was played of a reply that was cut."""
    history_words_off: int | None = None
    """How many words more or fewer the record has than were played."""
    interrupted_a_reply: bool = False
    stop_s: float | None = None
    """The reply that it interrupted fell silent so long after its first speech sample."""
    backchannel: str = ""
    backchannel_stopped: bool | None = None
    """None: there was none, or the reply was over by itself."""
    backchannel_pause_s: float | None = None
    finished: float | None = None
    """How sure the pipeline was at the end that the person had finished, 0…1."""
    silence_s: float | None = None
    """How long a silence ended the turn therefore."""
    parts: dict[str, float] = field(default_factory=dict)


def row(caller: SyntheticCaller, scene: Scene) -> UtteranceRow:
    """What became of one scene of a call that is over."""
    said, utterance = scene.said, scene.step.utterance
    turns = turns_of(caller.turns, said.span)
    last = turns[-1] if turns else None
    reply = caller.replies.get(last["turn_id"]) if last else None
    answered = reply is not None and reply.audible is not None and reply.audible >= said.end
    made = UtteranceRow(
        what=scene.step.what,
        name=utterance.name,
        voice=utterance.voice,
        real=utterance.real,
        seconds=round(utterance.seconds, 3),
        turns=len(turns),
        cut=any(decided(turn) < said.span[1] / AXIS_RATE for turn in turns),
        voice_to_voice_s=round(reply.audible - said.end, 4) if answered and reply and reply.audible else None,
        host_voice_to_voice_s=last["voice_to_voice_s"] if last else None,
        interrupted_a_reply=scene.sounding is not None,
        stop_s=stop_seconds(scene.sounding, said.start),
        parts=parts(last) if last else {},
    )
    if last:
        made.transcript, made.reply_text, made.turn_id = last["transcript"], last["reply_text"], last["turn_id"]
        outputs = [stage.get("output") or {} for stage in last.get("stages", ())]
        made.remembered = next((str(each["heard"]) for each in outputs if "heard" in each), made.reply_text)
        if (pause := next((pause for pause in last.get("pauses", ()) if pause["ended"]), None)) is not None:
            made.finished, made.silence_s = pause["finished"], pause["silence_s"]
    if scene.murmur is not None and scene.murmured_in is not None:
        made.backchannel = scene.murmur.utterance.name
        made.backchannel_stopped = stopped_by_murmur(scene.murmured_in, scene.murmur.start, scene.watched_until)
        if made.backchannel_stopped is False:
            pauses = paused_by_murmur(scene.murmured_in, scene.murmur.start, scene.watched_until)
            made.backchannel_pause_s = round(sum(end - begun for begun, end in pauses if end is not None), 4)
    return made


def stopped_by_murmur(reply: HeardReply, start: float, watched_until: float) -> bool | None:
    """Whether a backchannel at `start` ended the reply; None when it was over by itself before it could be told.

    A reply that paused and did not go on while the caller listened counts as ended.
    """
    pauses = paused_by_murmur(reply, start, watched_until)
    if any(end is None for _, end in pauses):
        return True
    if reply.over is None or reply.over > watched_until:
        return False
    if reply.cut and reply.over >= start:
        return True
    # It was over at its own last word: with the murmur still to be judged, nothing was shown.
    return False if pauses or reply.over > start + JUDGED_S else None


def paused_by_murmur(reply: HeardReply, start: float, watched_until: float) -> list[tuple[float, float | None]]:
    """The pauses that began while the caller said nothing but the murmur."""
    return [pause for pause in reply.pauses if start <= pause[0] < watched_until]


def parts(turn: Turn) -> dict[str, float]:
    """Seconds of a turn's critical path by owner, models by their kind."""
    found: dict[str, float] = {}
    for part in turn["parts"]:
        what = part["what"]
        name = f"model_{part['stage'].partition(':')[0]}" if what == "model" else what
        found[name] = found.get(name, 0.0) + part["end_s"] - part["start_s"]
    return {name: round(seconds, 6) for name, seconds in found.items()}


def wasted(turns: Iterable[Turn]) -> float:
    """Seconds that models worked on revisions which were superseded."""
    stages = [stage for turn in turns for stage in turn["stages"]]
    return sum(float(stage["model_s"] or 0.0) for stage in stages if stage["status"] == "superseded")


def summary(calls: Sequence[PlayedCall], rows: Sequence[UtteranceRow]) -> dict[str, float]:
    """The figures of some calls. What was not tried is not among them."""
    turns = [turn for call in calls for turn in call.caller.turns]
    plain = [each for each in rows if each.what == "question"]
    paused = [each for each in rows if each.what == "paused"]
    waits = [each.voice_to_voice_s for each in plain if each.voice_to_voice_s is not None]
    shares = [turn["residue_s"] / turn["voice_to_voice_s"] for turn in turns
              if turn["residue_s"] is not None and (turn["voice_to_voice_s"] or 0) > 0]  # fmt: skip
    stops = [each.stop_s for each in rows if each.stop_s is not None]
    murmurs = [each for each in rows if each.backchannel_stopped is not None]
    pauses = [each.backchannel_pause_s for each in murmurs if each.backchannel_pause_s]
    figures: dict[str, float | None] = {
        "voice_to_voice_p50_s": percentile(waits, 50),
        "voice_to_voice_p95_s": percentile(waits, 95),
        "questions": len(plain),
        "answered": len(waits),
        "false_cut_rate": _share([each.cut for each in paused]),
        "paused_utterances": len(paused),
        "plain_cut_rate": _share([each.cut for each in plain]),
        "interruption_stop_p50_s": percentile(stops, 50),
        "interruption_stop_p95_s": percentile(stops, 95),
        "interruptions": len(stops),
        "backchannel_stop_rate": _share([bool(each.backchannel_stopped) for each in murmurs]),
        "backchannel_pause_p50_s": percentile(pauses, 50),
        "backchannels": len(murmurs),
        "residue_p95_share": percentile(shares, 95),
        "wasted_model_s_per_turn": wasted(turns) / len(turns) if turns else None,
        "microphone_late_p99_s": percentile([late for call in calls for late in call.caller.room.late], 99),
    }
    for name in PARTS:
        seconds = [each.parts.get(name, 0.0) for each in plain if each.parts]
        if any(seconds):
            figures[f"part_{name}_p50_s"] = percentile(seconds, 50)
    return {name: round(value, 6) for name, value in figures.items() if value is not None}


def _share(of: Sequence[bool]) -> float | None:
    return sum(of) / len(of) if of else None
