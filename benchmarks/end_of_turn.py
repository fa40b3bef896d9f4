"""How well the end of a turn is told from a pause in mid-sentence, by each model that looks at it and by all of them.

    python benchmarks/end_of_turn.py [--utterances 60] [--paused 60] [--seed 11] [--json FILE]

Each utterance of `openomni bench live`'s kind is played through the VAD of the `local` pipeline, and at each pause that
may be an end its models are asked, as a session asks them: the recogniser how likely its text goes on, the language
model, with the conversation so far, how likely a message ends there, Smart Turn how the last seconds sound. Of pauses
inside a sentence only those are counted that are long enough to be taken for an end.

The weights of `components/turn/smart_turn.py` are fitted on the sentences of `end_of_turn_sentences.txt`, and tested on
the questions of the benchmark, which are others. Ends and pauses weigh the same in all of it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from openomni.bench import corpus
from openomni.client.caller.room import ROOM_NOISE
from openomni.client.caller.utterance import SpokenUtterance
from openomni.components import registry
from openomni.events import AXIS_RATE, Message
from openomni.media import Audio, Samples
from openomni.pipeline.judging import JUDGED_SECONDS, TAIL_SECONDS
from openomni.pipeline.prompt import beginning
from openomni.pipeline.spec import TurnTaking, builtin
from openomni.pipeline.turn_taking import SpeechFinder, SpeechPaused, SpeechResumed

SENTENCES = Path(__file__).parent / "end_of_turn_sentences.txt"
BEFORE_S, AFTER_S = 0.5, 1.75
"""Room before and after each utterance."""
LONG_S = 0.42
"""A pause that is shorter is over before anything is decided."""
NEAR_END_S = 0.2
SURE = 1e-3
WAYS = (
    ("ear", "recogniser", "reader"), ("ear", "recogniser"), ("ear", "reader"),
    ("ear",), ("recogniser",), ("reader",),
)  # fmt: skip
SHARES = (50, 60, 70, 80, 90)


@dataclass(frozen=True, slots=True)
class Pause:
    """`over`: it is the end. `seconds`: to the next word, None at the end; the three are probabilities."""

    utterance: str
    real: bool
    over: bool
    seconds: float | None
    text: str
    ear: float
    recogniser: float
    reader: float


class Models:
    """Those of a pipeline, as a session would ask them."""

    def __init__(self, pipeline: str) -> None:
        self.pipeline = builtin()[pipeline]
        stages = {stage.kind: stage for stage in self.pipeline.stages}
        self._framework = stages["llm"].framework
        self._recogniser = registry.build("stt", stages["stt"].component, stages["stt"].parameters)
        self._writer = registry.build("llm", stages["llm"].component, stages["llm"].parameters)
        self._ear = registry.build("turn", "smart-turn", {"words": False})
        self._vad = registry.build("vad", self.pipeline.turn_taking.vad)
        self._history: list[Message] = []

    def pauses(self, utterance: SpokenUtterance, room: Samples) -> Iterator[Pause]:
        """Each that may be an end; the conversation then goes on with a reply."""
        before = round(BEFORE_S * AXIS_RATE)
        sound = room[: before + len(utterance.audio.samples) + round(AFTER_S * AXIS_RATE)].copy()
        sound[before : before + len(utterance.audio.samples)] += utterance.audio.samples
        told = beginning(self._framework, self._history)
        text = ""
        for start, end, noticed, seconds in self._found(sound):
            begin = max(start - round(self.pipeline.turn_taking.padding * AXIS_RATE), 0)
            heard = self._recogniser.transcribe(Audio(sound[begin:noticed], AXIS_RATE))
            text = heard.text
            if heard.ending is None:
                continue
            last = end - before >= utterance.end - round(NEAR_END_S * AXIS_RATE)
            tail = sound[max(start, end - round(JUDGED_SECONDS * AXIS_RATE)) : end + round(TAIL_SECONDS * AXIS_RATE)]
            yield Pause(utterance.name, utterance.real, last, None if last else seconds, text,
                        float(self._ear.finished(Audio(tail, AXIS_RATE), "")), heard.ending,
                        float(self._writer.ending([*told, Message("user", text)])))  # fmt: skip
        if text:
            reply = "".join(
                piece for piece in self._writer.generate([*told, Message("user", text)]) if isinstance(piece, str)
            )
            self._history += [Message("user", text), Message("assistant", reply)]

    def _found(self, sound: Samples) -> list[tuple[int, int, int, float | None]]:
        """(start of the speech, end, where that was noticed, seconds to the next speech) of each pause."""
        taking = TurnTaking(speculate_after=self.pipeline.turn_taking.speculate_after, end_of_turn_silence=AFTER_S)
        finder = SpeechFinder(self._vad.open(), taking)
        found: list[tuple[int, int, int, float | None]] = []
        for block in range(0, len(sound), AXIS_RATE // 50):
            for event in finder.feed(sound[block : block + AXIS_RATE // 50]):
                if isinstance(event, SpeechPaused):
                    found.append((event.start, event.end, event.noticed, None))
                elif isinstance(event, SpeechResumed) and found:
                    start, end, noticed, _ = found[-1]
                    found[-1] = (start, end, noticed, (event.noticed - end) / AXIS_RATE)
        return found


def collect(models: Models, sentences: Sequence[str] | None, utterances: int, paused: int, seed: int) -> list[Pause]:
    """`sentences` stand for the benchmark's own questions."""
    own = corpus.QUESTIONS
    corpus.QUESTIONS = tuple(sentences or own)
    try:
        made = corpus.build(utterances, paused, seed, None, print)
    finally:
        corpus.QUESTIONS = own
    chance = np.random.default_rng(seed)
    said = [*made.questions, *made.paused]
    chance.shuffle(said)  # type: ignore[arg-type]
    found: list[Pause] = []
    for number, utterance in enumerate(said):
        room = (chance.standard_normal(20 * AXIS_RATE) * ROOM_NOISE).astype(np.float32)
        found += models.pauses(utterance, room)
        print(f"\r{number + 1} of {len(said)} utterances", end="", flush=True)
    print()
    return [each for each in found if each.over or (each.seconds or 0.0) >= LONG_S]


# ---- the fit ----


def features(pauses: Sequence[Pause], way: Sequence[str]) -> Any:
    """1 and the log-odds of each signal: shape (pauses, 1 + signals)."""
    likely = np.clip([[getattr(each, name) for name in way] for each in pauses], SURE, 1 - SURE)
    return np.hstack([np.ones((len(pauses), 1)), np.log(likely / (1 - likely))])


def fit(pauses: Sequence[Pause], way: Sequence[str], ridge: float = 0.5) -> Any:
    """Weights of a logistic regression, by Newton's method; shape (1 + signals,)."""
    given, over = features(pauses, way), np.array([each.over for each in pauses], float)
    counts = np.where(over == 1, 0.5 / over.mean(), 0.5 / (1 - over.mean()))
    weights = np.zeros(given.shape[1])
    held = ridge * np.eye(len(weights))
    for _ in range(50):
        likely = 1 / (1 + np.exp(-given @ weights))
        slope = given.T @ (counts * (over - likely)) - ridge * np.r_[0, weights[1:]]
        weights += np.linalg.solve((given * (counts * likely * (1 - likely))[:, None]).T @ given + held, slope)
    return weights


def judged(pauses: Sequence[Pause], scores: Any) -> dict[str, float]:
    """The area under the curve, and the share of pauses that is taken for an end when so many ends are believed."""
    over = np.array([each.over for each in pauses])
    ends, inside = scores[over], scores[~over]
    area = np.mean((ends[:, None] > inside[None]) + 0.5 * (ends[:, None] == inside[None]))
    return {"area": float(area)} | {
        f"at_{share}": float(np.mean(inside >= np.percentile(ends, 100 - share))) for share in SHARES
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=60, help="plain ones, of each set")
    parser.add_argument("--paused", type=int, default=60, help="with pauses inside, of each set")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--json", type=Path, help="writes pauses and figures")
    given = parser.parse_args()
    models = Models("local")
    fitted = collect(models, SENTENCES.read_text("utf-8").split("\n"), given.utterances, given.paused, given.seed)
    tested = collect(models, None, given.utterances, given.paused, given.seed + 1)
    for name, pauses in (("fitted on", fitted), ("tested on", tested)):
        over = sum(each.over for each in pauses)
        print(f"{name} {over} ends and {len(pauses) - over} pauses of {LONG_S:g} s and more")
    print("pauses that are taken for ends, when so many ends are believed:")
    print(f"{'':<38}   area" + "".join(f"{share:5d} %" for share in SHARES))
    figures = {}
    for way in WAYS:
        weights = fit(fitted, way)
        found = judged(tested, features(tested, way) @ weights)
        figures[" + ".join(way)] = {"weights": [round(float(each), 2) for each in weights], **found}
        shares = "".join(f"{100 * found[f'at_{share}']:5.0f} %" for share in SHARES)
        print(f"{' + '.join(way):<38}  {found['area']:.3f}{shares}   weights {figures[' + '.join(way)]['weights']}")
    if given.json:
        every = {"fitted": [asdict(each) for each in fitted], "tested": [asdict(each) for each in tested]}
        given.json.write_text(json.dumps({"figures": figures, **every}, indent=1))


if __name__ == "__main__":
    main()
