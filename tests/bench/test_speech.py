"""Utterances whose bounds are known, and silences put into them."""

from __future__ import annotations

import numpy as np
import pytest

from openomni.bench import speech
from openomni.bench.corpus import boundaries
from openomni.bench.speech import with_pauses
from openomni.client.caller.utterance import SpokenUtterance
from openomni.components.vad import offline
from openomni.errors import OpenOmniError
from openomni.events import AXIS_RATE
from openomni.media import AUDIBLE, Audio


def tone(seconds: float, gain: float = 0.3) -> Audio:
    return Audio(gain * np.sin(2 * np.pi * 200 * np.arange(round(seconds * AXIS_RATE)) / AXIS_RATE), AXIS_RATE)


def spoken(*seconds: float) -> SpokenUtterance:
    """Tones with 60 ms of silence between them: words of a kind."""
    gap = Audio.silence(0.06, AXIS_RATE)
    pieces = [piece for length in seconds for piece in (tone(length), gap)][:-1]
    audio = Audio.join(pieces)
    return SpokenUtterance("words", "tone", audio, 0, len(audio.samples))


def test_a_pause_is_cut_where_it_is_quietest_and_shifts_all_that_follows() -> None:
    whole = spoken(0.5, 0.5)
    broken = with_pauses(whole, [(0.49, 0.4)])  # a recogniser's end of the word, 10 ms before the gap
    ((start, end),) = broken.pauses
    assert start == pytest.approx(0.5 * AXIS_RATE, abs=2)
    assert end - start == 0.4 * AXIS_RATE
    assert np.abs(broken.audio.samples[start:end]).max() <= AUDIBLE
    # The gap between the words was 60 ms of the pause already.
    assert broken.end == pytest.approx(whole.end + 0.34 * AXIS_RATE, abs=2)
    assert len(broken.audio.samples) == len(whole.audio.samples) + broken.end - whole.end
    assert np.abs(broken.audio.samples[: round(0.4 * AXIS_RATE)]).max() == pytest.approx(0.3, abs=0.01)


def test_several_pauses_keep_their_order_and_the_speech_between_them() -> None:
    whole = spoken(0.5, 0.5, 0.5)
    broken = with_pauses(whole, [(0.53, 0.3), (1.09, 0.7)])
    (first, second) = broken.pauses
    assert first[1] < second[0]
    assert sum(end - start for start, end in broken.pauses) == AXIS_RATE
    between = broken.audio.samples[first[1] : second[0]]
    assert len(between) / AXIS_RATE == pytest.approx(0.5, abs=0.01)
    assert np.abs(between).max() > 0.25


def test_a_cut_in_a_tone_does_not_click() -> None:
    whole = spoken(1.0)
    broken = with_pauses(whole, [(0.5, 0.3)])
    steps = np.abs(np.diff(broken.audio.samples))
    assert steps.max() <= np.abs(np.diff(whole.audio.samples)).max() * 1.1


def test_pauses_come_between_words_of_one_sentence_and_not_near_its_ends() -> None:
    words = [("Well.", 0.0, 0.6), (" So", 0.7, 0.9), (" what", 0.9, 1.2), (" is", 1.25, 1.4), (" it?", 1.5, 1.9)]
    assert boundaries(words, 0.0, 1.9) == pytest.approx([0.9, 1.225, 1.45])
    assert boundaries(words, 0.0, 1.6) == pytest.approx([0.9, 1.225])
    assert boundaries([("Yes.", 0.0, 0.4)], 0.0, 0.4) == []


def test_an_utterance_ends_with_its_last_audible_sample_not_where_the_detector_lets_go(question: Audio) -> None:
    late = Audio.join([Audio.silence(0.8, AXIS_RATE), question, Audio.silence(1.5, AXIS_RATE)])
    found = speech.utterance("question", "voice", late)
    loud = np.flatnonzero(np.abs(found.audio.samples) > AUDIBLE)
    assert found.end - 1 == loud[-1]
    assert found.audio.duration < question.duration + 0.2
    windows = offline.speech(found.audio)
    assert abs(found.end - windows[-1][1]) < 0.15 * AXIS_RATE


def test_what_holds_no_speech_is_refused() -> None:
    with pytest.raises(OpenOmniError, match=r"no speech found in hum; check the recording"):
        speech.utterance("hum", "voice", Audio.silence(1.0, AXIS_RATE))


def test_a_cough_is_loud_short_and_no_speech() -> None:
    cough = speech.cough(1)
    assert 0.3 < cough.duration < 0.6
    assert cough.peak > 0.2
    assert speech.cough(1).pcm16() == cough.pcm16() != speech.cough(2).pcm16()
