"""Smart Turn: an open model that hears, in the last seconds of an utterance, whether the speaker has finished."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from ... import models
from ...events import AXIS_RATE, NOTHING_KNOWN, Endings
from ...lazy import Lazy
from ...media import Audio, Samples
from ..cores import ctranslate2_alone
from ..registry import component
from .words import finished_by_words

if TYPE_CHECKING:
    import numpy as np
else:
    np = Lazy("numpy")

SECONDS = 8
"""Of the end of the utterance; a shorter one has silence before it."""
WINDOW, HOP = 400, 160
"""Samples of one frame of the spectrogram, and between two."""
FLOOR = 1e-10
EAR, BIAS = 0.26, -1.2
WEIGHTS = {
    (True, True): (BIAS, EAR, 0.71, 0.51),
    (True, False): (-2.86, 0.22, 1.1, 0.0),
    (False, True): (0.92, 0.28, 0.0, 0.81),
}
"""By whether a recogniser and a reader said something: log-odds = the first + the others × the log-odds by ear, of the
recogniser and of the reader. `benchmarks/end_of_turn.py` fits and tests them."""
OPEN = 0.25, 0.85
"""Between these the ear is asked, too."""
HALF = 0.5
SURE = 1e-3
"""No probability is believed to be nearer to 0 or 1."""


@component("turn", "smart-turn", install="openomni[local]", requires=("onnxruntime", "faster_whisper"))
class SmartTurn:
    """Smart Turn v3 by Daily (BSD-2-Clause): intonation, pace and what is said, in 23 languages.

    Args:
        model: A name of the catalogue (`openomni models list`) or the path of an `.onnx`.
        words: Whether the transcript has a say, too: a sentence that ends in "and the" is not over, however it sounds.
            Where the pipeline's recogniser and language model can say how likely what was said ends there, that counts
            most (English was measured); else the words that a sentence can't end in.
        threads: Threads on the CPU; more than one gains little, and takes the core that the reply is written on.
    """

    def __init__(
        self, model: str = "smart-turn-v3.2", words: bool = True, threads: Annotated[int, Meta(ge=1)] = 1
    ) -> None:
        import onnxruntime

        with ctranslate2_alone():  # the package brings it
            from faster_whisper.feature_extractor import FeatureExtractor

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        path = models.locate(model, "smart-turn")
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._filters = FeatureExtractor(feature_size=80).mel_filters.astype(np.float32)
        self._hann = np.hanning(WINDOW + 1)[:-1].astype(np.float32)
        self._words = words

    def finished(self, audio: Audio, text: str, endings: Endings = NOTHING_KNOWN) -> float:
        """The probability, 0…1, that nothing follows. `audio`: the utterance so far, the pause included."""
        known = self._words and bool(text.strip()) and endings != NOTHING_KNOWN
        if known and not OPEN[0] < (sure := together(HALF, endings)) < OPEN[1]:
            return sure  # the ear could hardly turn it, and takes time
        heard: Any = self._session.run(None, {"input_features": self._features(audio.resample(AXIS_RATE).samples)})
        probability = float(np.asarray(heard[0]).reshape(-1)[0])
        if known:
            return together(probability, endings)
        return combined(probability, finished_by_words(text)) if self._words and text.strip() else probability

    def warm_up(self) -> None:
        self.finished(Audio.silence(1.0, AXIS_RATE), "")

    def _features(self, samples: Samples) -> Any:
        """Log-mel features as Whisper takes them, of sound with mean 0 and variance 1: shape (1, 80, 800)."""
        length = SECONDS * AXIS_RATE
        sound = np.zeros(length, np.float32)
        if len(samples):
            sound[-min(len(samples), length) :] = samples[-length:]
        sound = (sound - sound.mean()) / np.sqrt(sound.var() + 1e-7)
        padded = np.pad(sound, WINDOW // 2, mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:-1]
        power = np.abs(np.fft.rfft(frames * self._hann, axis=-1)) ** 2
        mel = np.log10(np.maximum(self._filters @ power.T, FLOOR))
        return ((np.maximum(mel, mel.max() - 8.0) + 4.0) / 4.0).astype(np.float32)[None]


def together(heard: float, endings: Endings) -> float:
    """By ear and by those of the other models that said something, as their log-odds were found to count."""
    others = (endings.recogniser, endings.reader)
    bias, *weights = WEIGHTS[others[0] is not None, others[1] is not None]
    known = (heard, *(HALF if each is None else each for each in others))
    log_odds = bias + sum(weight * _log_odds(each) for weight, each in zip(weights, known, strict=True))
    return 1 / (1 + math.exp(-log_odds))


def _log_odds(probability: float) -> float:
    believed = min(max(probability, SURE), 1 - SURE)
    return math.log(believed / (1 - believed))


def combined(heard: float, read: float) -> float:
    """Both have to believe it: whoever doubts is right more often."""
    return min(heard, read)
