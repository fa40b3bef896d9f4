"""Long speech is cut where it is quiet, and nothing of it is lost."""

from __future__ import annotations

import numpy as np
import pytest

from openomni.components.stt.pieces import pieces, quietest
from openomni.media import Audio

RATE = 1000


def speech(seconds: float, *pauses: float) -> Audio:
    """Noise, with 0.4 s of silence from each of `pauses` on."""
    samples = np.random.default_rng(1).uniform(0.2, 0.5, round(seconds * RATE)).astype(np.float32)
    for at in pauses:
        samples[round(at * RATE) : round((at + 0.4) * RATE)] = 0
    return Audio(samples, RATE)


@pytest.mark.parametrize("seconds", [0.0, 0.1, 29.9, 30.0])
def test_what_the_window_holds_is_one_piece(seconds: float) -> None:
    whole = speech(seconds)
    (piece,) = pieces(whole, 30.0)
    assert piece is whole


@pytest.mark.parametrize("seconds", [30.001, 31.0, 60.0, 95.0])
@pytest.mark.parametrize("pauses", [(), (20.0, 40.0, 60.0, 80.0), (1.0, 29.8)])
def test_nothing_is_lost_and_no_piece_is_longer_than_the_window(seconds: float, pauses: tuple[float, ...]) -> None:
    whole = speech(seconds, *pauses)
    found = pieces(whole, 30.0)
    assert np.array_equal(Audio.join(found).samples, whole.samples)
    assert all(15.0 <= piece.duration <= 30.0 for piece in found[:-1])
    assert 0 < found[-1].duration <= 30.0


def test_it_is_cut_within_the_pauses_of_the_second_half() -> None:
    first, second, _ = pieces(speech(60.0, 5.0, 22.0, 44.0), 30.0)
    assert 22.05 <= first.duration <= 22.35
    assert 44.05 <= first.duration + second.duration <= 44.35


def test_the_pieces_of_the_beginning_stay_when_speech_goes_on() -> None:
    whole = speech(100.0, 22.0, 44.0, 66.0)
    *early, _ = [piece.duration for piece in pieces(whole.cut(0, 50.0), 30.0)]
    assert early == [piece.duration for piece in pieces(whole, 30.0)][: len(early)]


def test_the_quietest_moment_of_a_hum_is_its_softest() -> None:
    hum = speech(10.0)
    hum.samples[6000:6300] *= 0.5
    assert 6.05 < quietest(hum) < 6.25
