"""Piper voices, sentence by sentence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from ... import models
from ...errors import OpenOmniError
from ...media import Audio
from .. import cores
from ..registry import component

LEAD = 0.005
"""Seconds of silence kept before the first audible sample: a consonant's onset is quieter than −40 dBFS."""


@component("tts", "piper", install="openomni[local]", requires=("piper", "onnxruntime"))
class Piper:
    """A Piper voice (the runtime is GPL-3.0; voices have licences of their own).

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
        from piper import SynthesisConfig

        self._voice = _load(*_files(voice), cores.threads_for(threads))
        natural = self._voice.config.length_scale
        self._settings = SynthesisConfig(speaker_id=speaker, length_scale=natural / speed)
        speakers = max(self._voice.config.num_speakers, 1)
        if speaker >= speakers:
            raise OpenOmniError(f"the voice {voice} has {speakers} speaker(s), numbered from 0; there is no {speaker}")

    def synthesize(self, text: str) -> Iterator[Audio]:
        """A piece of audio per sentence; silence before the first sound of the first one is left out."""
        first = True
        chunks = self._voice.synthesize(text, self._settings)
        while True:
            with cores.VOICE.taken():
                chunk = next(chunks, None)
            if chunk is None:
                return
            audio = Audio(chunk.audio_float_array, chunk.sample_rate)
            if first:
                audio = _without_lead(audio)
            if len(audio.samples):
                first = False
                yield audio

    def warm_up(self) -> None:
        for _ in self.synthesize("Hello."):
            pass


def _without_lead(audio: Audio) -> Audio:
    """Nothing is left where nothing is audible."""
    audible = audio.first_audible()
    return audio.cut(audio.duration if audible is None else max(audible - LEAD, 0.0))


def _files(voice: str) -> tuple[Path, Path]:
    model = models.locate(voice, "piper")
    settings = models.locate(f"{voice}.json", "piper") if voice.startswith("hf://") else Path(f"{model}.json")
    if model.is_dir() or not settings.is_file():
        raise OpenOmniError(f"{voice} is no Piper voice; name a .onnx file that has its .onnx.json beside it")
    return model, settings


def _load(model: Path, settings: Path, threads: int) -> Any:
    """As `PiperVoice.load` does, but with the number of threads ours to say."""
    import json

    import onnxruntime
    from piper import PiperVoice
    from piper.config import PiperConfig

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that wait by spinning would take the core from the language model that writes the next clause.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return PiperVoice(session=session, config=PiperConfig.from_dict(json.loads(settings.read_text("utf-8"))))
