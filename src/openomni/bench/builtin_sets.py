"""The datasets that come along: spoken on this machine by the local pipeline's voice, so that a comparison needs
neither a recording nor a download.

The same texts in the same voices are the same bytes on every machine with the same runtimes. What is made is kept.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import folders
from ..components import registry
from ..errors import WrongUsage, nearest
from ..events import AXIS_RATE
from ..media import Audio
from . import speech
from .corpus import VOICE
from .questions import QUESTIONS

EDITION = 1
"""Counted on whenever something that is said changes."""
VOICES: Mapping[str, float] = {"joe": 1.0, "joe-up": 1.16, "joe-down": 0.88, "joe-far-up": 1.3}
"""How much higher and quicker each is than the one voice that they are made of, which is loaded once."""
LONGEST = 10
"""Words of one of the benchmark's questions: longer ones make the first run slow."""
ANSWERS = {
    "What is the capital of Italy?": "Rome.",
    "How many days are there in a leap year?": "366 days.",
    "Who wrote Romeo and Juliet?": "William Shakespeare.",
    "How far away is the sun?": "About 150 million kilometres.",
    "What does a cardiologist do?": "They treat diseases of the heart.",
    "Which planet has the most moons?": "Saturn.",
    "Can dogs see colours?": "Yes, blue and yellow, but not red and green.",
    "When did people first land on the moon?": "In 1969.",
    "Where do penguins live?": "In the southern hemisphere, many of them in Antarctica.",
    "Who painted the Mona Lisa?": "Leonardo da Vinci.",
    "Is a tomato a fruit or a vegetable?": "Botanically a fruit.",
    "What time is it in New York when it is noon in London?": "Seven in the morning.",
    "How old is the universe?": "About 13.8 billion years.",
    "Which languages are spoken in Switzerland?": "German, French, Italian and Romansh.",
    "What is the tallest building in the world?": "The Burj Khalifa.",
    "How do I say good morning in Spanish?": "Buenos días.",
}

MORE = {
    "How many legs does a spider have?": "Eight.",
    "What is seven times eight?": "Fifty-six.",
    "Which day comes after Tuesday?": "Wednesday.",
    "What is the opposite of hot?": "Cold.",
    "How many minutes are there in an hour?": "Sixty.",
    "What colour is a ripe banana?": "Yellow.",
    "Which animal gives us wool?": "The sheep.",
    "At how many degrees does water freeze?": "At zero degrees Celsius.",
}
"""Short questions with one right answer, beside those of the benchmark."""
Turn = tuple[str, dict[str, Any] | None]
"""What is said, and the rule when; None for what comes first."""
_NEXT: dict[str, Any] = {"rule": "after_reply", "seconds": 0.5}


def _pause(seconds: float) -> dict[str, Any]:
    return {"rule": "after_pause", "seconds": seconds}


def _into(word: int) -> dict[str, Any]:
    return {"rule": "into_reply", "word": word}


DIALOGUES: Mapping[str, Sequence[Turn]] = {
    "table-for-two": (
        ("I would like to book a table.", None),
        ("For two people, on Friday evening.", _pause(0.9)),
        ("Thank you, that is all.", _NEXT),
    ),
    "my-name": (("My name is Robin.", None), ("What is my name?", _NEXT)),
    "capitals": (
        ("What is the capital of France?", None),
        ("And of Spain?", _NEXT),
        ("Which of the two is larger?", _NEXT),
    ),
    "train": (
        ("When does the train leave for,", None),
        ("for Hamburg, I mean?", _pause(0.7)),
    ),
    "soup": (("Tell me how to make a soup.", None), ("Shorter, please.", _NEXT), ("Thanks.", _NEXT)),
}
INTERRUPTIONS: Mapping[str, Sequence[Turn]] = {
    "wait": (("Tell me a long story about a fisherman.", None), ("Wait, stop.", _into(4))),
    "rather": (("Explain to me how a battery works.", None), ("No, how does a clock work?", _into(3))),
    "louder": (("Count from one to twenty.", None), ("Slower, please.", _into(2)), ("Thank you.", _NEXT)),
    "yes": (("Is it safe to drink water from a stream?", None), ("Yes or no is enough.", _into(5))),
}

Told = Callable[[str], None]


def _questions() -> list[dict[str, Any]]:
    answers = ANSWERS | MORE
    texts = [text for text in QUESTIONS if len(text.split()) <= LONGEST and not text.startswith("Could you remind me")]
    singles: list[dict[str, Any]] = [
        {"id": f"question-{number:02}", "said": ((text, None),), "answer": answers.get(text)}
        for number, text in enumerate([*texts, *MORE], 1)
    ]
    return singles + [{"id": name, "said": said} for name, said in DIALOGUES.items()]


def _interruptions() -> list[dict[str, Any]]:
    return [{"id": name, "said": said} for name, said in INTERRUPTIONS.items()]


SETS: Mapping[str, Callable[[], list[dict[str, Any]]]] = {"questions": _questions, "interruptions": _interruptions}


def folder(name: str, told: Told) -> Path:
    """The folder of a set, as a manifest with its media; made when it is asked for first. `told` gets a line when
    something takes a while. Raises WrongUsage for a name that none has."""
    if name not in SETS:
        raise WrongUsage(f"there is no built-in dataset {name!r}; {nearest(name, SETS)}")
    made = folders.models() / "datasets" / f"{name}-{EDITION}"
    if made.is_dir():
        return made
    made.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=made.parent))
    try:
        _make(SETS[name](), part, told)
        part.chmod(0o755)
        try:
            part.replace(made)
        except OSError:  # somebody beside us was quicker
            if not made.is_dir():
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return made


def _make(samples: Sequence[Mapping[str, Any]], out: Path, told: Told) -> None:
    told("speaking the dataset (once)")
    voice = registry.build("tts", "piper", {"voice": VOICE})
    lines = []
    for number, sample in enumerate(samples):
        utterances = []
        name = list(VOICES)[number % len(VOICES)]
        for place, (text, when) in enumerate(sample["said"], 1):
            spoken = _spoken(voice, text, name)
            path = f"{sample['id']}-{place}.wav" if len(sample["said"]) > 1 else f"{sample['id']}.wav"
            spoken.save(out / path)
            utterance = {"path": path, "text": text, "speaker": name, "language": "en",
                         "consent": "synthetic voice", "source": "OpenOmni"}  # fmt: skip
            utterances.append(utterance | ({"when": when} if when else {}))
        if sample.get("answer"):
            utterances[-1]["answer"] = sample["answer"]
        alone = len(utterances) == 1
        lines.append({"id": sample["id"]} | (utterances[0] if alone else {"utterances": utterances}))
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (out / "samples.jsonl").write_text(text, encoding="utf-8")


def _spoken(voice: Any, text: str, name: str) -> Audio:
    """Played faster than it was made, a voice is higher and quicker."""
    audio = Audio.join([sound.audio for sound in voice.synthesize(text)])
    audio = Audio(audio.samples, round(audio.rate * VOICES[name])).resample(AXIS_RATE)
    return speech.utterance(text, name, audio, text).audio
