"""What a short word does while a reply is heard: whether it stops it, goes along with it, or is not noticed at all.

    apt-get install -y flite
    python benchmarks/short_words.py [--levels=-20,-30,-40] [--voices joe,rms,slt,awb,asterisk] [--json FILE]

Each word is said in each voice at each level, in a room of −66 dBFS, into a long reply of a scripted conversation. What
hears it is the `local` pipeline's own: its detector, its recogniser, its judge of pauses and the session. The clock is
virtual, so that only the models take time. flite's voices are left out where it is not installed, and asterisk's, which
is a real person's, where Debian's package can't be fetched: its words are cut out of longer prompts.

Commands are to stop a reply in 95 % and more, words that may be either in 5 % and less; and they are to be an answer
behind a reply that asks. Noises are to stop it in 5 % and less.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np

from openomni import models
from openomni.bench import prompts, speech
from openomni.client.caller.room import ROOM_NOISE
from openomni.components import registry
from openomni.errors import OpenOmniError
from openomni.events import AXIS_RATE, Endings, ReplyPaused, ReplySound, Respond, Sound, Value
from openomni.media import Audio, Samples
from openomni.pipeline.spec import builtin

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from pipeline.test_dialogue import REPLY, Runner, Talk

COMMANDS = ("stop", "wait", "no", "why", "help", "hold on")
EITHER = ("yes", "right", "okay", "good", "mm-hm")
VOICES = ("joe", "rms", "slt", "awb", "asterisk")
LEVELS = (-20, -25, -30, -35, -40)
QUESTION = "It is long, that story. Shall I tell you more of it?"
RECOGNISING_S = 0.12
"""What a recognition takes on the virtual clock."""
CUTS: dict[str, tuple[tuple[str, float, float], ...]] = {
    "no": (("vm-no.g722", 0.0, 9.0),),
    "why": (("letters/y.g722", 0.0, 9.0),),  # it sounds the same
    "help": (("dictate/forhelp.g722", 1.26, 9.0), ("vm-helpexit.g722", 1.16, 1.56)),
}
"""Words in asterisk's prompts: (file, from second, to second). Others do not stand free in them."""
HUM = "mm-hm"
HUMMED = {"joe": "[[ mˈm hˈm ]]", "flite": "pau m m hh m m pau"}
"""Synthetic voices read it letter by letter; these are its sounds."""


@dataclass(frozen=True, slots=True)
class Said:
    """`kind`: command, either or noise."""

    word: str
    kind: str
    voice: str
    level: int
    sound: Samples


@dataclass(slots=True)
class Outcome:
    """`noticed`: the reply fell silent at once; `stopped`: for good; `answered`: it became a turn of its own.
    `heard`: each text that the recogniser gave, with its average log probability."""

    word: str
    kind: str
    voice: str
    level: int
    asked: bool
    noticed: bool
    stopped: bool
    answered: str
    heard: list[tuple[str, float]] = field(default_factory=list)


# ---- the sounds ----


def spoken(word: str, voice: str) -> Iterator[Audio]:
    """The word in a voice, as often as there is a recording of it."""
    if voice == "asterisk":
        folder = prompts.debian_prompts()
        for name, start, end in CUTS.get(word, ()):
            (path,) = (path for path in folder.rglob(Path(name).name) if path.match(f"*/{name}"))
            audio = Audio.load(path, AXIS_RATE)
            yield Audio(speech.faded(audio.samples[round(start * AXIS_RATE) : round(end * AXIS_RATE)]), AXIS_RATE)
    elif voice == "joe":
        said = HUMMED[voice] if word == HUM else f"{word.capitalize()}."
        made = [np.asarray(each.audio_float_array, np.float32) for each in _piper().synthesize(said)]
        yield Audio(np.concatenate(made), _piper().config.sample_rate).resample(AXIS_RATE)
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/word.wav"
            sounds = ["-p", HUMMED["flite"]] if word == HUM else ["-t", f"{word}."]
            subprocess.run(["flite", "-voice", voice, *sounds, "-o", path], check=True, capture_output=True)
            yield Audio.load(Path(path), AXIS_RATE)


@cache
def _piper() -> Any:
    """Piper itself: the component takes no phonemes."""
    from piper import PiperVoice

    return PiperVoice.load(models.locate("en_US-joe-medium", "piper"))


def at_level(audio: Audio, level: float) -> Samples:
    """Without the silence around it, its root mean square at `level` dBFS."""
    loud = np.flatnonzero(np.abs(audio.samples) > 0.01 * np.abs(audio.samples).max())
    samples = audio.samples[loud[0] : loud[-1] + 1]
    gain = 10 ** (level / 20) / float(np.sqrt(np.mean(samples**2)))
    return np.clip(samples * gain, -1, 1).astype(np.float32)


def noises() -> Iterator[tuple[str, Audio]]:
    """What a room has: coughs, a breath, a tap on a table, a hum without a word."""
    for seed in range(6):
        yield "cough", speech.cough(seed)
    for seed in range(3):
        chance = np.random.default_rng(seed)
        time = np.arange(round(0.5 * AXIS_RATE)) / AXIS_RATE
        breath = chance.standard_normal(len(time)) * np.hanning(len(time))
        yield "breath", Audio(breath.astype(np.float32) * 0.1, AXIS_RATE)
        tap = chance.standard_normal(len(time)) * np.exp(-time / 0.01)
        yield "tap", Audio(tap.astype(np.float32) * 0.1, AXIS_RATE)
        tone = 100 + 30 * seed
        hum = sum(np.sin(2 * np.pi * tone * n * time) / n**2 for n in range(1, 12)) * np.hanning(len(time))
        yield "hum", Audio(np.asarray(hum, np.float32) * 0.1, AXIS_RATE)


def everything(voices: Iterable[str], levels: Iterable[int]) -> Iterator[Said]:
    for voice in voices:
        for kind, words in (("command", COMMANDS), ("either", EITHER)):
            for word in words:
                for audio in spoken(word, voice):
                    for level in levels:
                        yield Said(word, kind, voice, level, at_level(audio, level))
    for name, audio in noises():
        for level in levels:
            yield Said(name, "noise", "noise", level, at_level(audio, level))


# ---- the conversation ----


@dataclass
class Recogniser(Runner):
    """The `local` pipeline's, and a scripted reply."""

    stt: Any = None
    recognised: list[tuple[str, float]] = field(default_factory=list)

    async def _give(self, kind: str, inputs: AsyncIterator[Value], taken: list[Value]) -> AsyncIterator[Value]:
        if kind != "stt":
            async for value in super()._give(kind, inputs, taken):
                yield value
            return
        async for value in inputs:
            assert isinstance(value, Sound)
            transcript = self.stt.transcribe(value.audio)
            self.recognised.append((transcript.text, round(float(transcript.diagnostics["avg_logprob"]), 2)))
            await asyncio.sleep(RECOGNISING_S)
            yield transcript


class Listener:
    """The models of the `local` pipeline that hear."""

    def __init__(self) -> None:
        pipeline = builtin()["local"]
        stage = pipeline.stages[0]
        taking = pipeline.turn_taking
        self.stt = registry.build("stt", stage.component, stage.parameters)
        self.vad = registry.build("vad", taking.vad)
        self._judge = registry.build("turn", taking.judge)
        self.taking = {
            name: getattr(taking, name)
            for name in taking.__struct_fields__
            if name not in ("vad", "end_of_turn") and getattr(taking, name) is not None
        }

    async def finished(self, audio: Audio, text: str, endings: Endings) -> float:
        return float(self._judge.finished(audio, text, endings))

    def hears(self, said: Said, seed: int, asked: bool = False) -> Outcome:
        """`asked`: it is said behind a reply that asks."""
        runner = Recogniser(reply=QUESTION if asked else REPLY, stt=self.stt)
        talk = Talk(runner, finished=self.finished, taking=dict(self.taking), detector=self.vad.open())
        chance = np.random.default_rng(seed)

        def room(samples: Samples) -> Audio:
            return Audio(samples + (chance.standard_normal(len(samples)) * ROOM_NOISE).astype(np.float32), AXIS_RATE)

        async def script(talk: Talk) -> None:
            await talk.say(room(np.zeros(AXIS_RATE // 2, np.float32)))
            talk.inputs.put_nowait(Respond())
            while not talk.all(ReplySound):
                await talk.say(room(np.zeros(320, np.float32)))
            # 0.5 s a clause: the question is over after 1.5 s.
            silence = 1.7 if asked else 1.1
            pieces = [np.zeros(round(silence * AXIS_RATE)), said.sound, np.zeros(2 * AXIS_RATE)]
            await talk.say(room(np.concatenate(pieces).astype(np.float32)))

        talk.hold(script)
        first, *later = talk.turns
        return Outcome(
            said.word, said.kind, said.voice, said.level, asked, bool(talk.all(ReplyPaused)), first.interrupted,
            " ".join(turn.transcript for turn in later), runner.recognised,
        )  # fmt: skip


# ---- the figures ----


def share(outcomes: list[Outcome], name: str = "stopped") -> float:
    return sum(bool(getattr(each, name)) for each in outcomes) / len(outcomes) if outcomes else float("nan")


def table(outcomes: list[Outcome], name: str) -> None:
    voices = list(dict.fromkeys(each.voice for each in outcomes))
    print(f"{'':<10}" + "".join(f"{voice:>10}" for voice in voices) + f"{'all':>10}")
    for word in dict.fromkeys(each.word for each in outcomes):
        of_word = [each for each in outcomes if each.word == word]
        cells = [share([each for each in of_word if each.voice == voice], name) for voice in voices]
        print(f"{word:<10}" + "".join(f"{100 * cell:8.0f} %" for cell in [*cells, share(of_word, name)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--levels", default=",".join(map(str, LEVELS)), help="dBFS, with commas")
    parser.add_argument("--voices", default=",".join(VOICES))
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--json", type=Path, help="writes every outcome and the figures")
    given = parser.parse_args()
    voices = given.voices.split(",")
    if not which("flite"):
        voices = [voice for voice in voices if voice in ("joe", "asterisk")]
        print("no flite, and so no rms, slt and awb; on Debian: apt-get install flite")
    try:
        prompts.debian_prompts()
    except OpenOmniError as error:
        voices = [voice for voice in voices if voice != "asterisk"]
        print(f"no real voice: {error}")
    listener = Listener()
    said = list(everything(voices, [int(level) for level in given.levels.split(",")]))
    outcomes: list[Outcome] = []
    for number, each in enumerate(said):
        ways = (False, True) if each.kind == "either" else (False,)
        outcomes += [listener.hears(each, given.seed + number, asked) for asked in ways]
        print(f"\r{number + 1} of {len(said)} sounds", end="", flush=True)
    print()
    during = defaultdict(list)
    for outcome in outcomes:
        during[outcome.kind if not outcome.asked else "answer"].append(outcome)
    figures = {}
    for kind, name in (("command", "stopped"), ("either", "stopped"), ("noise", "stopped"), ("answer", "answered")):
        print(f"\n{kind}: {name}")
        table(during[kind], name)
        figures[f"{kind}_{name}"] = share(during[kind], name)
    figures["noticed"] = share(during["command"] + during["either"], "noticed")
    print("\n" + "   ".join(f"{name} {100 * value:.1f} %" for name, value in figures.items()))
    if given.json:
        every = [asdict(each) for each in outcomes]
        given.json.write_text(json.dumps({"figures": figures, "outcomes": every}, indent=1))


if __name__ == "__main__":
    main()
