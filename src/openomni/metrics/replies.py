"""Whether the reply was spoken as it was written: its sound, recognised, against its text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..components import registry as components
from ..lazy import Lazy
from ..models import load_catalogue
from .declaring import metric
from .results import Measured, NotApplicable, not_applicable
from .runs import Run
from .words import Normaliser, normalised, pins, rate_of

if TYPE_CHECKING:
    from ..evaluation import text
else:
    text = Lazy("openomni.evaluation.text")

RECOGNISER = ("stt", "faster-whisper")
MODEL = "whisper-tiny.en"


@metric("reply_wer", version="1", better="lower", kind="accuracy", statistic="rate", install="openomni[all]",
        requires=("faster_whisper", "ctranslate2", "onnxruntime", "jiwer", "whisper_normalizer"))  # fmt: skip
class ReplyWordErrorRate:
    """Word error rate of the spoken reply: its sound, transcribed by a pinned recogniser, against its text.

    The recogniser is Whisper tiny.en as the catalogue has it, on its full window; the hash of its weights is part of
    the version. It errs, too: compare pipelines by it, and don't take it for the voice's own rate. A reply that was
    interrupted is left out, for it was written and not spoken to its end.

    Args:
        normaliser: As of `wer`.
    """

    def __init__(self, normaliser: Normaliser = "auto") -> None:
        files = load_catalogue().find(MODEL).files
        self.pins = {**pins(normaliser), "recogniser": ":".join(RECOGNISER), "model": MODEL,
                     "sha256": files["model.bin"].sha256}  # fmt: skip
        self._normaliser: Normaliser = normaliser
        self._recogniser: Any = None

    def warm_up(self) -> None:
        self._recogniser = components.build(*RECOGNISER, {"model": MODEL, "window": "full"})

    def measure(self, run: Run) -> Measured | NotApplicable:
        replies = [turn for turn in run.turns if turn.reply_text.strip() and not turn.interrupted]
        sounds = [turn.reply() for turn in replies]
        if not any(sound is not None for sound in sounds):
            return not_applicable("no reply was both written and spoken")
        if self._recogniser is None:
            self.warm_up()
        written, heard = [], []
        for turn, sound in zip(replies, sounds, strict=True):
            spoken = "" if sound is None else self._recogniser.transcribe(sound).text
            written.append(normalised(turn.reply_text, "en", self._normaliser))
            heard.append(normalised(spoken, "en", self._normaliser))
        return rate_of(text.word_errors(written, heard), "words")
