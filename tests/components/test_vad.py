"""The detectors of speech: a network, and plain loudness."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openomni.components.conformance import conformance
from openomni.components.vad.energy import Energy
from openomni.components.vad.silero import Silero
from openomni.errors import OpenOmniError
from openomni.media import Audio, Samples


def heard(detector: Any, samples: Samples) -> Samples:
    windows = len(samples) // detector.window
    return np.array([detector(samples[i * detector.window :][: detector.window]) for i in range(windows)])


def noise(seconds: float, level: float) -> Samples:
    """White noise at so many dBFS."""
    generator = np.random.default_rng(1)
    return (generator.standard_normal(round(seconds * 16_000)) * 10 ** (level / 20)).astype(np.float32)


@pytest.fixture(scope="module")
def jfk(shared_data: Path) -> Samples:
    return Audio.load(shared_data / "jfk.wav", 16_000).samples


@pytest.fixture(scope="module")
def silero() -> Silero:
    return Silero()


class TestSilero:
    def test_conforms(self, silero: Silero) -> None:
        conformance("vad", lambda: silero)

    def test_hears_a_voice_and_its_pauses(self, silero: Silero, jfk: Samples) -> None:
        speech = heard(silero.open(), jfk)
        assert speech[20:60].mean() > 0.7  # "And so, my fellow Americans"
        assert speech[75:100].mean() < 0.1  # the pause behind it

    def test_hears_none_in_noise(self, silero: Silero) -> None:
        assert heard(silero.open(), noise(2, -30)).max() < 0.5

    def test_gives_what_its_makers_code_gives(self, silero: Silero, jfk: Samples) -> None:
        from faster_whisper.vad import get_vad_model

        whole = jfk[: len(jfk) // 512 * 512]
        reference = get_vad_model()(whole.copy()).reshape(-1)
        # The last window differs: faster-whisper's code overwrites the end of it.
        assert np.allclose(heard(silero.open(), whole)[:-1], reference[:-1], atol=1e-4)

    def test_each_stream_has_a_state_of_its_own(self, silero: Silero, jfk: Samples) -> None:
        alone = heard(silero.open(), jfk[:32_000])
        one, other = silero.open(), silero.open()
        mixed = []
        for i in range(62):
            other(noise(0.032, -20))
            mixed.append(one(jfk[i * 512 : (i + 1) * 512]))
        assert np.allclose(mixed, alone)

    def test_a_window_of_another_length_is_refused(self, silero: Silero) -> None:
        with pytest.raises(ValueError, match="windows of 512"):
            silero.open()(np.zeros(480, np.float32))

    def test_a_model_that_is_not_there_is_one_line(self) -> None:
        with pytest.raises(OpenOmniError, match="no Silero model at /nonexistent"):
            Silero("/nonexistent.onnx")


class TestEnergy:
    def test_conforms(self) -> None:
        conformance("vad", Energy)

    def test_hears_a_voice_over_a_quiet_room(self, jfk: Samples) -> None:
        stream = np.concatenate((noise(1, -60), jfk[5_000:32_000] + noise(27_000 / 16_000, -60), noise(1, -60)))
        speech = heard(Energy().open(), stream) > 0.5
        assert not speech[:50].any()
        assert speech[55:120].mean() > 0.7
        assert not speech[-45:].any()

    def test_a_room_that_becomes_louder_is_taken_for_the_room_after_a_while(self) -> None:
        detector = Energy().open()
        heard(detector, noise(3, -60))
        louder = heard(detector, noise(5, -35)) > 0.5
        assert louder[:100].all()
        assert not louder[-50:].any()
        assert detector.floor == pytest.approx(-35, abs=2)

    def test_a_room_that_becomes_quieter_is_followed_at_once(self) -> None:
        detector = Energy().open()
        heard(detector, noise(3, -35))
        heard(detector, noise(0.1, -60))
        assert detector.floor == pytest.approx(-60, abs=2)

    def test_what_is_very_quiet_is_no_speech_even_over_silence(self) -> None:
        detector = Energy().open()
        heard(detector, np.zeros(16_000, np.float32))
        assert heard(detector, noise(0.5, -55)).max() < 0.5
