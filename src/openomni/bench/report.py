"""The figures of `bench live` for people."""

from __future__ import annotations

from collections.abc import Iterator

from .figures import PARTS
from .live import LiveFigures

LINES: tuple[tuple[str, str, str], ...] = (
    ("voice_to_voice_p50_s", "voice to voice, p50", "ms"),
    ("voice_to_voice_p95_s", "voice to voice, p95", "ms"),
    ("answered", "questions answered", ""),
    ("questions", "  of", ""),
    ("false_cut_rate", "cut at a pause of 0.3–0.7 s in a sentence", "%"),
    ("paused_utterances", "  of", ""),
    ("plain_cut_rate", "cut without such a pause", "%"),
    ("interruption_stop_p50_s", "interrupted: voice stops after, p50", "ms"),
    ("interruption_stop_p95_s", "interrupted: voice stops after, p95", "ms"),
    ("interruptions", "  of", ""),
    ("backchannel_stop_rate", "stopped by a backchannel or a cough", "%"),
    ("backchannels", "  of", ""),
    ("backchannel_pause_p50_s", "paused by one, p50", "ms"),
    ("history_words_off", "words that the history is off after a cut, mean", "n"),
    ("history_exact_rate", "  exact to the word", "%"),
    ("residue_p95_share", "residue, share of voice to voice, p95", "%"),
    ("wasted_model_s_per_turn", "models' time on superseded revisions, per turn", "ms"),
    ("frames_lost", "frames lost", ""),
    ("microphone_late_p99_s", "the bench's own microphone late, p99", "ms"),
    ("sessions", "sessions", ""),
    ("sessions_voice_to_voice_p50_s", "voice to voice beside others, p50", "ms"),
    ("sessions_voice_to_voice_p95_s", "voice to voice beside others, p95", "ms"),
    ("added_p95_s", "added by the others, p95", "ms"),
)
WIDTH = 48


def table(measured: LiveFigures) -> Iterator[str]:
    """A line a figure, then where the time went, then what the run has to say."""
    figures = measured.figures
    for name, label, unit in LINES:
        if name in figures:
            yield f"{label:<{WIDTH}} {_value(figures[name], unit)}"
    yield ""
    yield "on the path to the first sound, p50 of each"
    for part in PARTS:
        if (name := f"part_{part}_p50_s") in figures:
            yield f"  {part.replace('_', ' '):<{WIDTH - 2}} {_value(figures[name], 'ms')}"
    for note in measured.notes:
        yield f"note: {note}"


def _value(value: float, unit: str) -> str:
    match unit:
        case "ms":
            return f"{value * 1000:8.0f} ms"
        case "%":
            return f"{value * 100:8.1f} %"
        case "n":
            return f"{value:8.2f}"
    return f"{value:8.0f}"
