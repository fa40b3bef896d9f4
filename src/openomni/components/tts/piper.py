"""Piper voices, sentence by sentence, each in pieces as it is made."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from ... import models
from ...errors import Declined, OpenOmniError, nearest
from ...events import Sound, Word
from ...lazy import Lazy
from ...media import Audio, Samples
from .. import cores
from ..registry import component

if TYPE_CHECKING:
    import numpy as np
else:
    np = Lazy("numpy")

LEAD = 0.005
"""Seconds of silence kept before the first audible sample: a consonant's onset is quieter than −40 dBFS."""
MEASURED = "The quick brown fox jumps over the lazy dog, and nobody knows why."
"""What a voice says to find out how loud it is."""
LOUDEST = 0.75
"""The highest sample of that, once it is made as loud as a voice should be."""
RAMP_S = 0.005
"""A voice that gets too loud is turned down over so long."""
OTHERS = 2
"""Voices besides its own that a component keeps loaded; the longest unused one goes first."""


_PHONEMES = re.compile(r"\[{2,}|\]{2,}")
"""Piper takes what stands between two brackets for phonemes; whoever writes a reply does not mean that."""


@component("tts", "piper", install="openomni[local]", requires=("piper", "onnxruntime", "onnx"))
class Piper:
    """A Piper voice (the runtime is GPL-3.0; voices have licences of their own).

    A session may ask for another voice by its name: one of the catalogue that was fetched before, or one whose `.onnx`
    lies beside that of the pipeline's. Two such voices stay loaded, each of about 190 MB of memory for a medium one.

    Args:
        voice: A name of the catalogue (`openomni models list`), the path of a `.onnx` with its `.onnx.json` beside it,
            or `hf://organisation/repository/path/to/voice.onnx`.
        speed: How fast it speaks; 1 is the voice's own pace, 2 twice as fast.
        speaker: Which of a voice's speakers, by number, where it has several.
        threads: Threads of the network; 0 takes one per physical core.
    """

    def __init__(
        self,
        voice: str = "en_US-joe-medium",
        speed: Annotated[float, Meta(ge=0.25, le=4)] = 1.0,
        speaker: Annotated[int, Meta(ge=0)] = 0,
        threads: Annotated[int, Meta(ge=0)] = 0,
    ) -> None:
        self._file, settings = _files(voice)
        self._speed, self._threads = speed, threads
        self._own = _Voice(self._file, settings, speed, speaker, threads)
        self._catalogue = models.load_catalogue()
        self._others: OrderedDict[str, _Voice] = OrderedDict()
        self._kept, self._loading = threading.Lock(), threading.Lock()

    def synthesize(self, text: str, voice: str | None = None) -> Iterator[Sound]:
        """Each sentence in pieces, the first of about 0.2 s, with its words where the voice tells when they are
        spoken; silence before the first sound of all is left out. Raises `Declined` for a voice that is not here."""
        yield from (self._own if voice is None else self._other(voice)).speak(text)

    def warm_up(self) -> None:
        self._own.warm_up()

    def load_voice(self, voice: str) -> None:
        """So that no reply waits for it. Raises `Declined`."""
        self._other(voice)

    def _other(self, name: str) -> _Voice:
        """The voice of that name, loaded where it is not yet; those that are loaded speak on meanwhile."""
        if (voice := self._loaded(name)) is not None:
            return voice
        file = self._find(name)
        if file == self._file:
            return self._own
        with self._loading:
            if (voice := self._loaded(name)) is not None:  # by another thread, while this one waited
                return voice
            try:
                voice = _Voice(file, Path(f"{file}.json"), self._speed, 0, self._threads)
                voice.warm_up()
            except Exception as error:  # whatever is wrong with its files, the pipeline's own voice can speak
                raise Declined("voice", f"the voice {name!r} can't be loaded: {error}") from error
            with self._kept:
                self._others[name] = voice
                while len(self._others) > OTHERS:
                    self._others.popitem(last=False)
            return voice

    def _loaded(self, name: str) -> _Voice | None:
        with self._kept:
            if name in self._others:
                self._others.move_to_end(name)
            return self._others.get(name)

    def _find(self, name: str) -> Path:
        """Its file. No path is taken, and nothing fetched: whoever talks to the session may name anything."""
        here = {file.stem: file for file in self._file.parent.glob("*.onnx") if Path(f"{file}.json").is_file()}
        here[self._file.stem] = self._file
        if name in self._catalogue:
            model = self._catalogue.find(name)
            if model.component == "piper" and models.is_present(model):
                here[name] = model.path
        if name not in here:
            raise Declined("voice", f"the voice {name!r} is not on this machine; {nearest(name, here)}")
        return here[name]


class _Voice:
    """One voice, loaded. Raises `OpenOmniError` for files that are no voice, and for a speaker that it lacks."""

    def __init__(self, model: Path, settings: Path, speed: float, speaker: int, threads: int) -> None:
        import json

        from piper import PiperVoice
        from piper.config import PiperConfig

        from .vits import Vits

        self._config = PiperConfig.from_dict(json.loads(settings.read_text("utf-8")))
        speakers = max(self._config.num_speakers, 1)
        if speaker >= speakers:
            raise OpenOmniError(
                f"the voice {model.stem} has {speakers} speaker(s), numbered from 0; there is no {speaker}"
            )
        self._network = Vits(model, cores.threads_for(threads))
        # It makes phonemes of text; the network is run here, in pieces.
        self._voice = PiperVoice(session=None, config=self._config)
        config = self._config
        scales = [config.noise_scale, config.length_scale / speed, config.noise_w_scale]
        self._given: dict[str, Any] = {"scales": np.array(scales, np.float32)}
        if config.num_speakers > 1:
            self._given["sid"] = np.array([speaker], np.int64)
        self._gain: float | None = None

    def speak(self, text: str) -> Iterator[Sound]:
        if self._gain is None:
            self.warm_up()
        text = _PHONEMES.sub(lambda marks: marks.group()[0], text)
        rate = self._config.sample_rate
        sentences = [phonemes for phonemes in self._voice.phonemize(text) if phonemes]
        first, left_out = True, 0.0
        for phonemes in sentences:
            gain = self._gain or 1.0
            ids = self._voice.phonemes_to_ids(phonemes)
            with cores.VOICE.taken():
                pieces, frames = self._network.speak(self._inputs(ids))
            for samples in _each(pieces):
                samples, gain = _turned_down(samples, gain, rate)
                audio = Audio(samples, rate)
                if not first:
                    yield Sound(audio)
                    continue
                whole, audio = audio.duration, _without_lead(audio)
                left_out += whole - audio.duration
                if not len(audio.samples):
                    continue
                first = False
                words: tuple[Word, ...] = ()
                if len(sentences) == 1 and frames is not None and len(frames) == len(ids):
                    known, seconds = self._config.phoneme_id_map, self._config.hop_length / rate
                    words = words_of(text, phonemes, frames, known, seconds, left_out)
                yield Sound(audio, words=words)

    def warm_up(self) -> None:
        """Says something, to know how loud the voice is: in pieces it can't be told from what it says."""
        peak = 0.0
        for phonemes in self._voice.phonemize(MEASURED):
            pieces, _ = self._network.speak(self._inputs(self._voice.phonemes_to_ids(phonemes)))
            peak = max(peak, *(float(np.abs(samples).max()) for samples in pieces))
        self._gain = LOUDEST / max(peak, 1e-3)

    def _inputs(self, ids: list[int]) -> dict[str, Any]:
        return {"input": np.array([ids], np.int64), "input_lengths": np.array([len(ids)], np.int64), **self._given}


def _each(pieces: Iterator[Samples]) -> Iterator[Samples]:
    """Piece by piece, with precedence while one is made."""
    while True:
        with cores.VOICE.taken():
            samples = next(pieces, None)
        if samples is None:
            return
        yield samples


def _turned_down(samples: Samples, gain: float, rate: int) -> tuple[Samples, float]:
    """As loud as the voice is made, or less: from where it would clip on, and for the rest of the sentence."""
    peak = float(np.abs(samples).max(initial=0.0))
    if peak * gain <= 1.0:
        return (samples * gain).astype(np.float32), gain
    lower = 1.0 / peak
    gains = np.full(len(samples), lower, np.float32)
    ramp = min(round(RAMP_S * rate), len(samples))
    gains[:ramp] = np.linspace(gain, lower, ramp)
    return np.clip(samples * gains, -1.0, 1.0).astype(np.float32), lower


def _without_lead(audio: Audio) -> Audio:
    """Nothing is left where nothing is audible."""
    audible = audio.first_audible()
    return audio.cut(audio.duration if audible is None else max(audible - LEAD, 0.0))


def _files(voice: str) -> tuple[Path, Path]:
    model = models.locate(voice, "piper")
    from_hub = voice.startswith("hf://")
    settings = models.locate(f"{voice}.json", "piper") if from_hub else models.note(Path(f"{model}.json"))
    if model.is_dir() or not settings.is_file():
        raise OpenOmniError(f"{voice} is no Piper voice; name a .onnx file that has its .onnx.json beside it")
    return model, settings


def words_of(text: str, phonemes: Sequence[str], frames: Sequence[float], ids: Mapping[str, Sequence[int]],
             seconds: float, left_out: float) -> tuple[Word, ...]:  # fmt: skip
    """When each word of a sentence is spoken; none where the phonemes can't be laid on the words, as for a number.

    `frames`: how many each id of the sentence takes, `seconds` is the length of one; `left_out` seconds of sound were
    taken off its beginning. Piper puts a pad after each phoneme.
    """
    pad = len(ids["_"])
    at = len(ids["^"]) + pad
    here = float(sum(frames[:at]))
    spans: list[tuple[float, float]] = []
    begun: float | None = None
    for phoneme in (*phonemes, " "):
        length = len(ids.get(phoneme, ())) + pad if phoneme in ids else 0
        then = here + float(sum(frames[at : at + length]))
        if phoneme == " ":
            if begun is not None:
                spans.append((begun, here))
            begun = None
        elif begun is None:
            begun = here
        at, here = at + length, then
    words = [word for word in text.split() if any(map(str.isalnum, word))]
    if len(words) != len(spans) or any(map(str.isdigit, text)):  # numbers are read out in many words
        return ()
    return tuple(
        Word(word, max(begin * seconds - left_out, 0.0), max(end * seconds - left_out, 0.0))
        for word, (begin, end) in zip(words, spans, strict=True)
    )
