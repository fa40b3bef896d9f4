"""The utterances of a benchmark: synthetic questions in several voices, real ones among them, some with pauses."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..client.caller.utterance import SpokenUtterance
from ..components import registry
from ..errors import OpenOmniError
from ..events import AXIS_RATE
from ..media import Audio, MediaError
from ..metrics import heard
from . import prompts, speech
from .questions import BACKCHANNELS, QUESTIONS

VOICE = "en_US-joe-medium"
RECOGNISER = "tiny.en"
VOICES = {
    "joe": (1.0, 1.0),
    "joe-high": (1.18, 1.0),
    "joe-low": (0.88, 0.95),
    "joe-quick": (1.05, 1.2),
    "joe-higher": (1.3, 1.05),
    "joe-slow": (0.95, 0.85),
}
"""A name for each voice that is made of the one: how much higher, and how fast, both 1 as it is. The last is the
slowest."""
EVERY_REAL = 3
"""Each third utterance is a real person's."""
SHORTEST_S, LONGEST_S = 1.0, 12.0
SHORT_S = 2.0
UNBROKEN_S = 0.3
"""A plain question has no longer silence inside."""
PAUSES_S = (0.3, 0.7)
SECOND_PAUSE_FROM_S = 4.5
"""An utterance from this length on gets two pauses."""
FROM_AN_END_S = 0.35
"""No pause is put nearer to where the speech begins or ends."""

Told = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Corpus:
    """`notes` say what could not be had."""

    questions: list[SpokenUtterance]
    paused: list[SpokenUtterance]
    backchannels: list[SpokenUtterance]
    notes: list[str] = field(default_factory=list)


def build(questions: int, paused: int, seed: int, recordings: Path | None, told: Told) -> Corpus:
    """The same for the same numbers and seed. `told` gets a line when something takes a while.

    Raises OpenOmniError for `recordings` without any that fits.
    """
    notes: list[str] = []
    chance = random.Random(seed)
    made = _Synthetic(told)
    needed = questions + paused
    real = _real(needed // EVERY_REAL + 1, chance, recordings, notes)
    spoken = [_take(real, number) or made.question(number) for number in range(questions)]
    with_pauses: list[SpokenUtterance] = []
    while len(with_pauses) < paused:
        number = questions + len(with_pauses)
        # Long ones only: a pause in three words is no pause inside a sentence.
        whole = _take(real, number, shortest=2.0) or made.long_question(number)
        with_pauses.append(_broken(whole, chance) or whole)
    return Corpus(spoken, with_pauses, [*made.backchannels(), *_coughs()], notes)


# ---- synthetic voices ----


class _Synthetic:
    def __init__(self, told: Told) -> None:
        self._told = told
        self._voices: dict[float, Any] = {}
        self._long = [text for text in QUESTIONS if len(text.split()) >= 8]

    def question(self, number: int) -> SpokenUtterance:
        # 40 questions and 6 voices: a question that comes again comes in another voice.
        text, turn = QUESTIONS[number % len(QUESTIONS)], number // len(QUESTIONS)
        said = self.say(text, (number + turn) % len(VOICES))
        return said if said.seconds >= SHORTEST_S else self.say(text, len(VOICES) - 1)

    def long_question(self, number: int) -> SpokenUtterance:
        return self.say(self._long[number % len(self._long)], (number * 5 + 2) % len(VOICES))

    def backchannels(self) -> list[SpokenUtterance]:
        return [self.say(text, number) for number, text in enumerate(BACKCHANNELS)]

    def say(self, text: str, voice: int) -> SpokenUtterance:
        name = list(VOICES)[voice]
        higher, faster = VOICES[name]
        file = _cached(f"{VOICE} {higher} {faster} {text}", ".wav")
        if not file.is_file():
            self._told("speaking the questions (once) …")
            self._told = lambda line: None
            audio = Audio.join([sound.audio for sound in self._voice(faster / higher).synthesize(text)])
            # Played faster than it was made, a voice is higher and quicker.
            _keep(file, Audio(audio.samples, round(audio.rate * higher)).resample(AXIS_RATE))
        return speech.utterance(text, name, Audio.load(file), text)

    def _voice(self, speed: float) -> Any:
        if speed not in self._voices:
            self._voices[speed] = registry.build("tts", "piper", {"voice": VOICE, "speed": speed})
        return self._voices[speed]


def _coughs() -> list[SpokenUtterance]:
    found = []
    for seed in range(2):
        audio = speech.cough(seed)
        found.append(SpokenUtterance(f"cough {seed + 1}", "noise", audio, 0, len(audio.samples)))
    return found


# ---- real voices ----


def _real(count: int, chance: random.Random, recordings: Path | None, notes: list[str]) -> list[SpokenUtterance]:
    folders = [recordings] if recordings else []
    try:
        folders.append(prompts.debian_prompts())
    except OpenOmniError as error:
        if not recordings:
            notes.append(f"no real voices: {error}")
    found: list[SpokenUtterance] = []
    for place, folder in enumerate(folders):
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        chance.shuffle(files)
        # A person's own recordings come first, all of them that are wanted.
        pieces = _pieces(files, own=folder is recordings)
        found += [piece for _, piece in zip(range(count - len(found)), pieces, strict=False)]
        if recordings and place == 0 and not found:
            raise OpenOmniError(
                f"{recordings} holds no recording of one utterance of {SHORTEST_S:g} to {LONGEST_S:g} s"
            )
    chance.shuffle(found)
    return found


def _pieces(files: Sequence[Path], own: bool) -> Iterator[SpokenUtterance]:
    """Utterances of a fitting length. Of those that are not a person's own choice, none has a long silence inside, and
    most of the shortest, of which there are many, are left out."""
    short = 0
    for path in files:
        try:
            audio = Audio.load(path, AXIS_RATE)
            if not SHORTEST_S <= audio.duration <= 2 * LONGEST_S:
                continue
            piece = speech.utterance(path.stem, path.parent.name, audio, real=True)
        except (MediaError, OpenOmniError):
            continue
        if not SHORTEST_S <= piece.seconds <= LONGEST_S:
            continue
        if not own:
            short += piece.seconds < SHORT_S
            if (piece.seconds < SHORT_S and short % 3) or speech.longest_silence(piece.audio) > UNBROKEN_S:
                continue
        yield piece


def _take(real: list[SpokenUtterance], number: int, shortest: float = 0.0) -> SpokenUtterance | None:
    """Each third one, as long as there are some."""
    if number % EVERY_REAL != EVERY_REAL - 1:
        return None
    found = next((each for each in real if each.seconds >= shortest), None)
    if found is not None:
        real.remove(found)
    return found


# ---- pauses ----


def _broken(whole: SpokenUtterance, chance: random.Random) -> SpokenUtterance | None:
    """With pauses between words; None where no two words leave room for one."""
    ends = boundaries(_words(whole), whole.start / AXIS_RATE, whole.end / AXIS_RATE)
    if not ends:
        return None
    count = 2 if whole.seconds >= SECOND_PAUSE_FROM_S and len(ends) > 3 else 1
    places = sorted(chance.sample(ends, count))
    return speech.with_pauses(whole, [(at, chance.uniform(*PAUSES_S)) for at in places])


def boundaries(words: Sequence[tuple[str, float, float]], start: float, end: float) -> list[float]:
    """Where, in seconds, one word ends and the next begins within a sentence, not too near to where it all begins
    or ends. `words` are (text, start, end)."""
    found = []
    for (text, _, ends), (_, begins, _) in pairwise(words):
        at = (ends + begins) / 2
        if not text.strip().endswith((".", "?", "!")) and start + FROM_AN_END_S <= at <= end - FROM_AN_END_S:
            found.append(at)
    return found


def _words(spoken: SpokenUtterance) -> list[tuple[str, float, float]]:
    digest = hashlib.sha256(spoken.audio.pcm16()).hexdigest()
    file = _cached(f"words {RECOGNISER} {digest}", ".json")
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(timed_words(spoken.audio)))
    return [(str(text), float(start), float(end)) for text, start, end in json.loads(file.read_text())]


def timed_words(audio: Audio) -> list[tuple[str, float, float]]:
    """(text, start, end) of each word, in seconds."""
    return heard.timed_words(_recogniser(), audio)


@cache
def _recogniser() -> Any:
    return heard.recogniser()


def let_go() -> None:
    """The models that made the corpus leave memory before anything is measured."""
    _recogniser.cache_clear()


# ---- the cache ----


def _cached(what: str, ending: str) -> Path:
    return prompts.cache_folder() / "speech" / f"{hashlib.sha256(what.encode()).hexdigest()[:32]}{ending}"


def _keep(file: Path, audio: Audio) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    audio.save(part)
    part.replace(file)
