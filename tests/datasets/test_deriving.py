"""What is derived: noise at the ratio that is stated, so many packets lost, another speed, and the same again."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_datasets import jsonl
from openomni.datasets import AtTime, Sample, audit, dataset_hash, deriving
from openomni.datasets.deriving import Loss, Noise, Speed, chance_of
from openomni.errors import MediaError, WrongUsage
from openomni.media import Audio

RATES = st.sampled_from([8_000, 16_000, 22_050])
SEEDS = st.integers(0, 2**31)


def speech(seed: int, rate: int, seconds: float = 2.0, loud: float = 0.02) -> Audio:
    """Bursts of sound with pauses between them, of which there are as many."""
    at = np.arange(round(seconds * rate)) / rate
    chance = np.random.default_rng(seed)
    sound = np.sin(2 * np.pi * chance.uniform(100, 400) * at) * (at % 0.8 < 0.4 - 1e-9)
    return Audio((loud * sound).astype(np.float32), rate)


def level(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


@settings(max_examples=30, deadline=None)
@given(kind=st.sampled_from(deriving.NOISES), snr=st.floats(-5, 40), rate=RATES, seed=SEEDS)
def test_noise_stands_in_the_stated_ratio_to_the_speech_without_its_pauses(
    kind: deriving.NoiseKind, snr: float, rate: int, seed: int
) -> None:
    clean = speech(seed, rate)
    voices = [speech(seed + number, 16_000, 1.0) for number in range(1, 9)] if kind == "babble" else []
    noisy = deriving.with_noise(clean, Noise(kind, snr), chance_of(seed), voices)
    bursts = level(clean.samples[clean.samples != 0])
    measured = 20 * math.log10(bursts / level(noisy.samples.astype(np.float64) - clean.samples))
    assert measured == pytest.approx(snr, abs=0.1)
    assert len(noisy.samples) == len(clean.samples)


def test_pink_noise_falls_by_three_decibels_an_octave_and_white_does_not() -> None:
    for kind, falls in (("pink", 3.01), ("white", 0.0)):
        noise = deriving.noise_of(kind, 1 << 18, 16_000, chance_of(0), ())  # type: ignore[arg-type]
        power = np.square(np.abs(np.fft.rfft(noise)))
        low, high = (power[(1 << 18) * hz // 16_000 : (1 << 18) * 2 * hz // 16_000].mean() for hz in (500, 1_000))
        assert 10 * math.log10(low / high) == pytest.approx(falls, abs=0.15)


def test_what_would_clip_is_turned_down_as_a_whole() -> None:
    clean = speech(0, 16_000, loud=0.9)
    noisy = deriving.with_noise(clean, Noise("white", 0.0), chance_of(0))
    louder = deriving.with_noise(Audio(clean.samples / 10, 16_000), Noise("white", 0.0), chance_of(0))
    assert noisy.peak == pytest.approx(deriving.PEAK)
    assert np.corrcoef(noisy.samples, louder.samples)[0, 1] == pytest.approx(1.0)


def test_silence_has_no_ratio_to_noise() -> None:
    with pytest.raises(MediaError, match="silent"):
        deriving.with_noise(Audio.silence(1.0, 8_000), Noise("white", 10.0), chance_of(0))


@settings(max_examples=30, deadline=None)
@given(percent=st.floats(0, 100), rate=RATES, seed=SEEDS)
def test_so_many_packets_are_silent_and_the_others_as_they_were(percent: float, rate: int, seed: int) -> None:
    clean = Audio(np.full(round(1.99 * rate), 0.5, np.float32), rate)
    size = round(0.02 * rate)
    lossy = deriving.with_loss(clean, Loss(percent), chance_of(seed)).samples
    packets = [lossy[start : start + size] for start in range(0, len(lossy), size)]
    assert all(set(packet.tolist()) in ({0.0}, {0.5}) for packet in packets)
    lost = sum(packet[0] == 0 for packet in packets)
    assert lost == round(len(packets) * percent / 100)


@settings(max_examples=20, deadline=None)
@given(factor=st.floats(0.5, 2.0), rate=RATES)
def test_another_speed_is_another_length_and_pitch(factor: float, rate: int) -> None:
    at = np.arange(2 * rate) / rate
    quick = deriving.at_speed(Audio(0.5 * np.sin(2 * np.pi * 400 * at), rate), Speed(factor))
    assert quick.duration == pytest.approx(2 / factor, rel=0.001)
    spectrum = np.abs(np.fft.rfft(quick.samples))
    assert spectrum.argmax() / quick.duration == pytest.approx(400 * factor, abs=1.5)


def derived(tmp_path: Path, name: str, seed: int = 0, **wanted: object) -> deriving.Derived:
    found = audit(jsonl(tmp_path / "in"))
    out = tmp_path / name
    out.mkdir()
    changes = deriving.changes(**wanted)  # type: ignore[arg-type]
    return deriving.derive(found.samples, tmp_path / "in", changes, out, seed=seed)


def test_all_levels_are_one_dataset_whose_samples_are_paired_with_their_own(tmp_path: Path) -> None:
    made = derived(tmp_path, "a", noise="pink", snr=[10.0, 0.0], speed=[2.0])
    by_id = {sample.id: sample for sample in made.samples}
    assert list(by_id)[:3] == ["one~pink10dB", "one~pink0dB", "one~speed2"]
    assert len(by_id) == 12
    assert (made.pairs["talk~speed2"], by_id["talk~speed2"].group, by_id["one~pink0dB"].group) == ("talk", "talk", "g")
    one = by_id["one~speed2"].utterances[0]
    assert (one.text, one.speaker, Audio.load(tmp_path / "a" / one.sound.path).duration) == (
        "What is the time?", "a", pytest.approx(1.0, abs=0.01),
    )  # fmt: skip
    assert by_id["barge~speed2"].utterances[2].when == AtTime(4.5)
    assert by_id["barge~pink0dB"].utterances[2].when == AtTime(9.0)
    lengths = {each.sound.path: made.lengths[each.sound.path] for each in by_id["two~pink0dB"].utterances}
    assert list(lengths.values()) == [(7_000, 8_000)]


def test_the_same_seed_gives_the_same_bytes_and_another_others(tmp_path: Path) -> None:
    first = derived(tmp_path, "a", loss=[20.0], noise="white", snr=[5.0])
    again = derived(tmp_path, "b", noise="white", snr=[5.0], loss=[20.0])
    other = derived(tmp_path, "c", loss=[20.0], noise="white", snr=[5.0], seed=1)
    hashes = [dataset_hash(made.samples, made.files) for made in (first, again, other)]
    assert hashes[0] == hashes[1] != hashes[2]
    assert not set(first.files.values()) & set(other.files.values())


@pytest.mark.parametrize(
    "wanted",
    [
        {}, {"noise": "pinc", "snr": [1.0]}, {"noise": "pink"}, {"snr": [1.0]}, {"loss": [101.0]}, {"speed": [0.1]},
        {"loss": [math.nan]}, {"loss": [1.0, 1.0]},
    ],
)  # fmt: skip
def test_what_is_no_change_is_refused(wanted: dict[str, object]) -> None:
    with pytest.raises(WrongUsage):
        deriving.changes(**wanted)  # type: ignore[arg-type]


def test_babble_takes_other_voices_than_the_one_that_speaks(tmp_path: Path) -> None:
    found = audit(jsonl(tmp_path / "in"))
    (tmp_path / "out").mkdir()
    few: list[Sample] = list(found.samples[:2])
    with pytest.raises(WrongUsage, match="6 other utterances"):
        deriving.derive(few, tmp_path / "in", [Noise("babble", 0.0)], tmp_path / "out")
    assert len(derived(tmp_path, "a", noise="babble", snr=[0.0]).samples) == 4
