"""The data sheet of a dataset's version: how much it holds, of whom, and how many references of each kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from ...datasets import Sample

MOST = 100
"""Values of one field that a sheet lists, the most frequent first; how many others there are is said."""
FIELDS = ("speaker", "language", "consent", "emotion")
REFERENCES = ("text", "answer", "speaker", "emotion", "language")


class Tally:
    """Counts samples one by one. `sheet` is what came of it, as JSON."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._samples, self._dialogues, self._realtime, self._utterances = 0, 0, 0, 0
        self._values: dict[str, Counter[str]] = {name: Counter() for name in FIELDS}
        self._references: Counter[str] = Counter(dict.fromkeys(REFERENCES, 0))

    def add(self, sample: Sample, seconds: float) -> None:
        """`seconds`: of sound, all its utterances together."""
        self.seconds += seconds
        self._samples += 1
        self._dialogues += sample.is_dialogue
        self._realtime += sample.needs_realtime
        self._utterances += len(sample.utterances)
        for utterance in sample.utterances:
            for name in FIELDS:
                self._values[name][getattr(utterance, name)] += 1
            # An empty text is known: nothing is said.
            self._references.update(name for name in REFERENCES if getattr(utterance, name) not in (None, "") or (
                name in ("text", "answer") and getattr(utterance, name) == ""))  # fmt: skip

    def sheet(self, recordings: int) -> dict[str, Any]:
        return {
            "hours": round(self.seconds / 3600, 4),
            "seconds": round(self.seconds, 3),
            "samples": self._samples,
            "dialogues": self._dialogues,
            "needs_realtime": self._realtime,
            "utterances": self._utterances,
            "recordings": recordings,
            "references": dict(self._references),
            **{f"{name}s" if name != "consent" else name: _counted(self._values[name]) for name in FIELDS},
        }


def _counted(values: Counter[str]) -> dict[str, Any]:
    """Each value with how many utterances have it; `unknown` have none, and `more` values are not listed."""
    unknown = values.pop("", 0)
    return {
        "known": len(values),
        "utterances": dict(values.most_common(MOST)),
        "more": max(len(values) - MOST, 0),
        "unknown": unknown,
    }


def tally(samples: Iterable[tuple[Sample, float]]) -> Tally:
    """Of samples with their seconds."""
    made = Tally()
    for sample, seconds in samples:
        made.add(sample, seconds)
    return made
