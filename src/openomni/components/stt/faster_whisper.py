"""Whisper through faster-whisper and CTranslate2, on a window no longer than the utterance needs.

Whisper was trained on windows of 30 s, and pads every utterance to that. A shorter window costs a fraction of the
time, but the decoder then sometimes runs away and repeats itself. So it is guarded: some silence stays behind the
speech, timestamps are on (an end-stamp is what stops the decoder), what follows an end-stamp near the end of the
speech is cut off, the length is capped, and a text that repeats itself or never came to an end is thrown away and
decoded again on a longer window, at last on the full one. `benchmarks/whisper_window.py` measures all this. What is
longer than the full window is cut where it is quiet. Nothing is sampled: the same audio gives the same text.

The encoder is CTranslate2's; what writes the text is another's on the CPU, see `whisper_decoder`.
"""

from __future__ import annotations

import logging
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta

from ... import models
from ...errors import Declined, OpenOmniError
from ...events import AXIS_RATE, Transcript
from ...lazy import Lazy
from ...media import Audio, Samples
from ..cores import ctranslate2_alone, threads_for
from ..registry import component
from .pieces import pieces
from .whisper_decoder import CTranslate2Decoder, Decoder, GreedyDecoder, Marks
from .whisper_graph import Bits
from .whisper_vocabulary import Vocabulary

if TYPE_CHECKING:
    import numpy as np
else:
    np = Lazy("numpy")

log = logging.getLogger(__name__)

FULL = 30.0
"""Seconds of the window that Whisper was trained on."""
WINDOWS = ((6.0, 3.0), (10.0, 2.0))
"""(the shortest window, seconds of it behind the speech), in the order in which they are tried. Measured on 60
questions of 1 to 12 s on two cores: the first takes 181 ms in the median and is given up twice, the second 228 ms and
never; the words of both differ from the full window's in 1.7 and 1.5 %."""
SHORT = 6
"""Tokens of a text of a word or two, with its timestamps."""
STAMP = 0.02
"""Seconds between two timestamps."""
NEAR_END = 0.5
"""Seconds before the end of the speech from which on an end-stamp is believed to be the last."""
COMPRESSIBLE = 2.4
"""A text that zlib shrinks more than this repeats itself (Whisper's own threshold)."""
NO_SPEECH, UNSURE = 0.6, -1.0
"""Whisper's thresholds: no speech when this probable, unless the text is surer than this average log probability."""
SILENT_FRAMES = 8
"""Frames of silence after the sound that are worked out: a frame looks at 400 samples, and 160 lie between two."""
SAME_BEGINNING = 4000
"""Samples that are alike where an utterance is recognised again because it went on."""
SILENCE = 0.9
"""No speech when this probable, however sure the text: tiny models are sure that silence says "you". Measured:
speech stays below 0.35, silence and noise are above 0.94."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What the decoder gave for a piece of speech on a window of `window` seconds; `ended`: it came to an end by
    itself."""

    audio: Audio
    text: str
    ended: bool
    avg_logprob: float
    no_speech: float
    window: float
    language: str
    ending: float | None = None
    """How likely the text ends after its last word, rather than going on."""
    draft: Sequence[int] = ()
    """The tokens up to the last word, which stay if the speaker goes on."""
    fallback: bool = False
    """The shortest window was given up."""
    noise: float | None = None
    """How likely the text begins with a mark that stands for a noise."""
    first_words: Mapping[str, float] = field(default_factory=dict)
    """What a short text may begin with: word → probability."""
    repetition: bool = False
    """What ran in a circle was cut off."""

    def is_of(self, audio: Audio, language: str | None) -> bool:
        """Whether decoding this sound would give the same again."""
        return language in (None, self.language) and np.array_equal(self.audio.samples, audio.samples)

    @property
    def silent(self) -> bool:
        unsure = self.no_speech > NO_SPEECH and self.avg_logprob < UNSURE
        return unsure or self.no_speech > SILENCE or not any(map(str.isalnum, self.text))

    @property
    def sound(self) -> bool:
        return self.silent or (self.ended and not repeats(self.text))


@component(
    "stt",
    "faster-whisper",
    install="openomni[local]",
    requires=("faster_whisper", "ctranslate2", "onnxruntime", "onnx"),
)
class FasterWhisper:
    """Whisper (MIT) by CTranslate2, with a short guarded window.

    Args:
        model: A name of the catalogue (`openomni models list`), the folder of a model converted for CTranslate2, or
            `hf://organisation/repository`.
        device: Where it runs; auto takes a GPU when there is one.
        compute_type: CTranslate2's number format, such as int8, int8_float16, float16 or float32.
        language: Code such as `en`; found out for each utterance when it is left out and the model knows several.
            A session may say another.
        beam_size: Hypotheses that the decoder keeps; 1 is fastest.
        threads: Threads on the CPU; 0 takes one per physical core.
        window: `short` is the guarded window, `full` always the 30 s one.
        decoder: What writes the text. `auto` is ONNX Runtime where it can: on the CPU, with a beam of 1, and with a
            compute type of int8 or float32.
    """

    def __init__(
        self,
        model: str = "tiny.en",
        device: Literal["auto", "cpu", "cuda"] = "auto",
        compute_type: str = "int8",
        language: str | None = None,
        beam_size: Annotated[int, Meta(ge=1, le=20)] = 1,
        threads: Annotated[int, Meta(ge=0)] = 0,
        window: Literal["short", "full"] = "short",
        decoder: Literal["auto", "ctranslate2"] = "auto",
    ) -> None:
        with ctranslate2_alone():
            from faster_whisper import WhisperModel

        wanted = ("*.json", "vocabulary.*", "model.bin")
        folder = models.locate(model, "faster-whisper", needed=("model.bin", "config.json"), wanted=wanted)
        self._model = WhisperModel(
            str(folder), device=device, compute_type=compute_type, cpu_threads=threads_for(threads)
        )
        self._language = language if self._model.model.is_multilingual else "en"
        self._beam_size = beam_size
        self._window = window
        self._decoder = (
            self._choose_decoder(folder, compute_type, threads) if decoder == "auto" else self._ctranslate2()
        )
        self._cancelled = False
        self._done: list[Decoded] = []

    def transcribe(self, audio: Audio, language: str | None = None) -> Transcript:
        """The text of one utterance. `diagnostics`: `fallback` (the short window was given up), `window_s`,
        `avg_logprob`, `no_speech_prob`; where they say something, `noise_prob` (it is a noise and no word),
        `first_words` (of a short text: what it may begin with, "okay:0.130 loki:0.063"), `guess` (what it would have
        been, had anybody spoken) and `repetition` (it ran in a circle, which was cut off). Raises
        `Declined` for a language that the model does not know."""
        if language is not None and language not in (known := self._model.supported_languages):
            several = len(known) > 1
            raise Declined(
                "language", f"the model knows no {language!r}" if several else f"the model knows {known[0]!r} alone"
            )
        language = language or self._language
        self._cancelled = False
        audio = audio.resample(AXIS_RATE)
        if not len(audio.samples):
            return Transcript("", language=language)
        before = self._of_this_utterance(audio)
        done: list[Decoded] = []
        try:
            for number, piece in enumerate(pieces(audio, FULL)):
                earlier = before[number] if number < len(before) else None
                if earlier and earlier.is_of(piece, language):
                    # A view of the newest sound: one of an older keeps all of that.
                    done.append(replace(earlier, audio=piece))
                else:
                    done.append(self._guarded(piece, language, earlier.draft if earlier and earlier.sound else ()))
                language = done[-1].language
        finally:  # when it is cancelled, for the person speaks on, the pieces that were finished stay
            self._done = done or before
        return as_transcript(done)

    def cancel(self) -> None:
        """What is encoded is not decoded any more: the person spoke on, and the next call waits."""
        self._cancelled = True

    def warm_up(self) -> None:
        self._decode(Audio.silence(1.0, AXIS_RATE), WINDOWS[0][0], self._language)

    def _choose_decoder(self, folder: Path, compute_type: str, threads: int) -> Decoder:
        bits: Bits | None = 8 if compute_type.startswith("int8") else 32 if compute_type == "float32" else None
        if self._beam_size > 1 or self._model.model.device != "cpu" or bits is None:
            return self._ctranslate2()
        tokenizer = self._tokenizer("en")
        known = self._model.hf_tokenizer.token_to_id
        no_speech = known("<|nospeech|>") or known("<|nocaptions|>")  # as models before and after large-v3 have it
        marks = Marks(tokenizer.eot, tokenizer.no_timestamps, no_speech)
        try:
            return GreedyDecoder(folder, marks, bits, threads_for(threads))
        except OpenOmniError as error:
            log.info("CTranslate2 writes the text of %s: %s", folder, error)
            return self._ctranslate2()

    def _ctranslate2(self) -> Decoder:
        return CTranslate2Decoder(self._model.model, self._beam_size)

    def _of_this_utterance(self, audio: Audio) -> list[Decoded]:
        """What came of its pieces when less of it had been said; nothing where this is another utterance."""
        earlier = [decoded.audio.samples for decoded in self._done]
        longer = len(audio.samples) > sum(map(len, earlier)) >= SAME_BEGINNING
        same = longer and np.array_equal(audio.samples[:SAME_BEGINNING], earlier[0][:SAME_BEGINNING])
        return self._done if same else []

    def _guarded(self, audio: Audio, language: str | None, draft: Sequence[int]) -> Decoded:
        """On the shortest window that gives a sound text; at last on the full one, and then without what repeats
        itself: babble in the background becomes a text that runs in a circle."""
        windows = [min(max(shortest, audio.duration + beyond), FULL) for shortest, beyond in WINDOWS]
        first, *longer = sorted({*windows, FULL}) if self._window == "short" else [FULL]
        decoded = self._decode(audio, first, language, draft)
        for window in longer:
            if not decoded.sound:
                decoded = replace(self._decode(audio, window, language), fallback=True)
        # People say "no, no, no", too, and whole sentences twice.
        if decoded.sound or (decoded.ended and not (compressible(decoded.text) and loops(decoded.text))):
            return decoded
        return replace(decoded, text=without_loop(decoded.text), repetition=repeats(decoded.text))

    def _decode(self, audio: Audio, window: float, language: str | None, draft: Sequence[int] = ()) -> Decoded:
        """One pass over one window, greedy or by beam, without sampling: the same audio gives the same text."""
        whisper = self._model
        encoded = whisper.encode(self._features(audio.samples, window))
        if self._cancelled:
            raise OpenOmniError("the call was cancelled")
        language = language or whisper.model.detect_language(encoded)[0][0][0][2:-2]
        tokenizer = self._tokenizer(language)
        prompt = list(tokenizer.sot_sequence)
        most = min(longest(audio.duration), whisper.max_length // 2)
        written = self._decoder.write(encoded, prompt, most, draft, lambda: self._cancelled)
        tokens, first_stamp = written.tokens, tokenizer.timestamp_begin
        spoken = before_last_stamp(tokens, first_stamp, audio.duration)
        known, first = self._vocabulary, written.logits[1] if len(written.logits) > 1 else None
        last = known.last_word(spoken)
        return Decoded(
            audio=audio,
            text=tokenizer.decode([token for token in spoken if token < tokenizer.eot]).strip(),
            # What was cut off behind an end-stamp had come to its end before.
            ended=len(spoken) < len(tokens) or len(tokens) < most or tokens[-1] >= first_stamp,
            # As Whisper counts it: the end of the text is a token too.
            avg_logprob=written.logprob / (len(tokens) + 1),
            no_speech=written.no_speech,
            window=window,
            language=language,
            ending=known.ending(written.logits[last + 1]) if 0 <= last < len(written.logits) - 1 else None,
            draft=spoken[: last + 1],
            noise=None if first is None else known.noise(first),
            first_words={} if first is None or len(spoken) > SHORT else known.first_words(first),
        )

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return Vocabulary(self._model.hf_tokenizer)

    def _features(self, samples: Samples, window: float) -> Any:
        """Log-mel features of the sound, and of silence up to `window` seconds.

        Silence is padded before the spectrogram is made: it then looks as silence does in training. Beyond the reach
        of the last sample it is the same in each frame, so it is made once and repeated.
        """
        extractor = self._model.feature_extractor
        frames = round(window * AXIS_RATE) // extractor.hop_length
        made = min(len(samples) // extractor.hop_length + SILENT_FRAMES, frames)
        padded = np.zeros(made * extractor.hop_length, np.float32)
        padded[: len(samples)] = samples[: len(padded)]
        features = extractor(padded)[:, :made]
        return np.pad(features, ((0, 0), (0, frames - made)), mode="edge")

    def _tokenizer(self, language: str) -> Any:
        from faster_whisper.tokenizer import Tokenizer

        multilingual = self._model.model.is_multilingual
        return Tokenizer(self._model.hf_tokenizer, multilingual, task="transcribe", language=language)


def as_transcript(done: Sequence[Decoded]) -> Transcript:
    """The pieces of one utterance as one: by their seconds where a number is of each."""
    said = [decoded for decoded in done if not decoded.silent]
    diagnostics: dict[str, float | str | bool] = {
        "fallback": any(decoded.fallback for decoded in done),
        "window_s": max(decoded.window for decoded in done),
        "avg_logprob": _mean(done, "avg_logprob"),
        "no_speech_prob": _mean(done, "no_speech"),
    }
    if done[0].noise is not None:
        diagnostics["noise_prob"] = done[0].noise
    if len(done) == 1 and done[0].first_words:
        diagnostics["first_words"] = " ".join(f"{word}:{share:.3f}" for word, share in done[0].first_words.items())
    if not said and any(decoded.text for decoded in done):
        diagnostics["guess"] = " ".join(decoded.text for decoded in done)
    if any(decoded.repetition for decoded in done):
        diagnostics["repetition"] = True
    return Transcript(
        " ".join(decoded.text for decoded in said),
        language=done[0].language,
        ending=said[-1].ending if said else None,
        diagnostics=diagnostics,
    )


def _mean(done: Sequence[Decoded], name: str) -> float:
    """Each second counts the same."""
    if len(done) == 1:
        return float(getattr(done[0], name))
    return float(np.average([getattr(d, name) for d in done], weights=[d.audio.duration for d in done]))


def longest(seconds: float) -> int:
    """How many tokens an utterance may take: nobody says six a second, and a short one needs a few to spare."""
    return 8 + round(6 * seconds)


def before_last_stamp(tokens: Sequence[int], first_stamp: int, seconds: float) -> Sequence[int]:
    """The tokens up to the first end-stamp near the end of the speech: what follows was not said."""
    said = False
    for index, token in enumerate(tokens):
        if token < first_stamp:
            said = True
        elif said and (token - first_stamp) * STAMP >= seconds - NEAR_END:
            return tokens[:index]
    return tokens


def compressible(text: str) -> bool:
    """Whether zlib shrinks it so well that most of it must be repetition."""
    data = text.encode()
    return bool(data) and len(data) / len(zlib.compress(data)) > COMPRESSIBLE


def repeats(text: str) -> bool:
    """Whether the text runs in a circle: zlib shrinks it too well, or a phrase comes three times in a row."""
    return compressible(text) or loops(text)


def loops(text: str) -> bool:
    """Whether a phrase of a few words comes three times in a row."""
    return _LOOP.search(_words(text)) is not None


def without_loop(text: str) -> str:
    """What was said before the text began to run in a circle, and the first round; nothing where it did from its
    first words on, or is a repetition without one."""
    spaced = _words(text)
    loop = _LOOP.search(spaced)
    if loop is None or loop.start() == 0:
        return "" if repeats(text) else text
    kept = len(spaced[: loop.end(1)].split())
    words = list(_WORD.finditer(text))
    return text[: words[kept - 1].end()]


def _words(text: str) -> str:
    """In lower case, each with a blank behind it."""
    return "".join(f"{word} " for word in _WORD.findall(text.lower()))


_WORD = re.compile(r"[\w']+")
_LOOP = re.compile(r"\b((?:[\w']+ ){1,8}?)\1\1")
"""A phrase of up to eight words three times in a row."""
