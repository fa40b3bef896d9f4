"""The same samples under worse conditions: with noise, with lost packets, at another speed.

Each change is a pure function of sound; what is drawn by chance follows from a seed and from what it is done to, so the
same request gives the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from ..errors import MediaError, WrongUsage, nearest
from ..lazy import Lazy
from ..media import Audio
from .copying import paths
from .listening import sha256, stretch_of
from .samples import AtTime, Sample, Sound, Utterance, checked

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = Lazy("numpy")

NoiseKind = Literal["white", "pink", "babble"]
NOISES: tuple[NoiseKind, ...] = ("white", "pink", "babble")
FRAME_S = 0.02
"""Of what a level is measured in, and of a packet."""
ACTIVE_DB = 25.0
"""A frame is speech where it is at most so much quieter than the loud ones."""
LOUD = 95
"""Percentile of the frames' levels that those loud ones have."""
PEAK = 0.99
TALKERS = 6
"""Voices that speak at once in babble; a dataset needs so many other utterances."""
POOL = 40
"""Utterances that babble is made of, at most."""
MIN_SNR, MAX_SNR = -40.0, 80.0
MIN_SPEED, MAX_SPEED = 0.5, 2.0


class Noise(msgspec.Struct, frozen=True, tag="noise"):
    """Noise is added at a ratio of `snr` dB: the level of the speech in the stretch, without its pauses (see
    `active_level`), to that of the noise over all of the stretch. Where both together would clip, both are turned
    down."""

    kind: NoiseKind
    snr: float

    @property
    def suffix(self) -> str:
        return f"{self.kind}{self.snr:g}dB"


class Loss(msgspec.Struct, frozen=True, tag="loss"):
    """So many percent of the packets of 20 ms are lost, each replaced by silence; which ones is drawn."""

    percent: float

    @property
    def suffix(self) -> str:
        return f"loss{self.percent:g}"


class Speed(msgspec.Struct, frozen=True, tag="speed"):
    """Played at `factor` of its speed: quicker and higher, or slower and lower. The times of `at_time` go along."""

    factor: float

    @property
    def suffix(self) -> str:
        return f"speed{self.factor:g}"


Change = Noise | Loss | Speed


class Derived(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it, in a folder: as `Audit` has it, with the sample that each was made of."""

    root: str
    samples: tuple[Sample, ...]
    pairs: dict[str, str]
    """Id of a sample → id of the one that it was made of."""
    files: dict[str, str]
    lengths: dict[str, tuple[int, int]]


def changes(
    *, noise: str = "", snr: Sequence[float] = (), loss: Sequence[float] = (), speed: Sequence[float] = ()
) -> list[Change]:
    """What is asked for, one change a level. Raises WrongUsage for what is none, or nothing."""
    if noise and noise not in NOISES:
        raise WrongUsage(f"there is no noise {noise!r}; {nearest(noise, NOISES)}")
    if bool(noise) != bool(snr):
        raise WrongUsage("noise goes with its ratios: --noise pink --snr 20,10,0")
    _check("--snr", snr, MIN_SNR, MAX_SNR)
    _check("--loss", loss, 0.0, 100.0)
    _check("--speed", speed, MIN_SPEED, MAX_SPEED)
    found: list[Change] = [Noise(noise, each) for each in snr]  # type: ignore[arg-type]
    found += [Loss(each) for each in loss]
    found += [Speed(each) for each in speed]
    if not found:
        raise WrongUsage("say what is to be done: --noise KIND --snr DB,…, --loss PERCENT,… or --speed FACTOR,…")
    if len(set(found)) < len(found):
        raise WrongUsage("the same level is asked for twice; name each once")
    return found


def _check(option: str, values: Sequence[float], low: float, high: float) -> None:
    for value in values:
        if not low <= value <= high:
            raise WrongUsage(f"{option} {value:g} is not between {low:g} and {high:g}")


# ---- sound -----------------------------------------------------------------------------------------------------


def levels(audio: Audio) -> NDArray[np.float64]:
    """Root mean square of each frame of 20 ms; the last may be shorter."""
    size = max(round(FRAME_S * audio.rate), 1)
    squares = np.square(audio.samples, dtype=np.float64)
    starts = np.arange(0, len(squares), size)
    counts = np.diff(np.append(starts, len(squares)))
    sums: NDArray[np.float64] = np.add.reduceat(squares, starts) if len(squares) else np.zeros(0)
    return np.sqrt(sums / counts[: len(sums)])


def active_level(audio: Audio) -> float:
    """Root mean square of the speech without its pauses: of those frames of 20 ms that are at most 25 dB quieter than
    the 95th percentile of all. 0 where there is nothing but silence."""
    found = levels(audio)
    if not len(found):
        return 0.0
    floor = np.percentile(found, LOUD) * 10 ** (-ACTIVE_DB / 20)
    active = found[(found >= floor) & (found > 0)]
    return float(np.sqrt(np.mean(np.square(active)))) if len(active) else 0.0


def noise_of(
    kind: NoiseKind, count: int, rate: int, chance: np.random.Generator, voices: Sequence[Audio]
) -> NDArray[np.float64]:
    """So many samples of noise, of any level. `voices`: what babble is made of."""
    if kind == "babble":
        return _babble(count, rate, chance, voices)
    white = chance.standard_normal(count)
    if kind == "white":
        return white
    spectrum = np.fft.rfft(white)
    # Power falls with frequency; what is below 20 Hz is as loud as at 20 Hz.
    shape = 1 / np.sqrt(np.maximum(np.fft.rfftfreq(count, 1 / rate), 20.0))
    return np.fft.irfft(spectrum * shape, count)


def _babble(count: int, rate: int, chance: np.random.Generator, voices: Sequence[Audio]) -> NDArray[np.float64]:
    total = np.zeros(count)
    for number in chance.choice(len(voices), TALKERS, replace=False):
        voice = voices[number].resample(rate)
        level = active_level(voice) or 1.0
        # Each speaks on and on, from somewhere within.
        turned = np.roll(voice.samples, int(chance.integers(len(voice.samples))))
        total += np.resize(turned, count) / level
    return total


def with_noise(audio: Audio, change: Noise, chance: np.random.Generator, voices: Sequence[Audio] = ()) -> Audio:
    """The sound with noise at the ratio that `Noise` states. Raises MediaError for silence, which has none."""
    speech = active_level(audio)
    if not speech:
        raise MediaError("it is silent, and noise has no ratio to that; take it out first")
    noise = noise_of(change.kind, len(audio.samples), audio.rate, chance, voices)
    level = float(np.sqrt(np.mean(np.square(noise))))
    if not level:
        raise MediaError("the voices that babble is made of are silent; take them out first")
    mixed = audio.samples + noise * (speech / level * 10 ** (-change.snr / 20))
    peak = float(np.abs(mixed).max())
    return Audio((mixed * min(PEAK / peak, 1.0)).astype(np.float32), audio.rate)


def with_loss(audio: Audio, change: Loss, chance: np.random.Generator) -> Audio:
    """The sound with packets lost: of each hundred `percent`, as near as their number allows."""
    size = max(round(FRAME_S * audio.rate), 1)
    count = -(-len(audio.samples) // size)
    samples = audio.samples.copy()
    for packet in chance.choice(count, round(count * change.percent / 100), replace=False):
        samples[packet * size : (packet + 1) * size] = 0.0
    return Audio(samples, audio.rate)


def at_speed(audio: Audio, change: Speed) -> Audio:
    return Audio(audio.samples, round(audio.rate * change.factor)).resample(audio.rate)


def chance_of(seed: int, *what: object) -> np.random.Generator:
    """The chance of one thing, the same whatever else is done."""
    told = "\x1f".join(map(str, (seed, *what)))
    return np.random.default_rng(int.from_bytes(hashlib.sha256(told.encode()).digest()))


# ---- samples ---------------------------------------------------------------------------------------------------


def derive(
    samples: Sequence[Sample],
    source: Path,
    wanted: Sequence[Change],
    out: Path,
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Derived:
    """All samples under each of the changes, one change at a time, into the folder `out`. Their media lie in `source`.

    A derived sample has the id of its own with the change behind it, and one group with all that were made of the same.
    What is heard is written as a WAV; pictures are left out. Raises WrongUsage for babble of too few utterances, and
    MediaError, with the sample, for media that can't be used.
    """
    voices = _voices(samples, source, seed) if any(_is_babble(each) for each in wanted) else {}
    made: list[Sample] = []
    pairs: dict[str, str] = {}
    lengths: dict[str, tuple[int, int]] = {}
    for number, sample in enumerate(samples):
        heard = [_heard(sample, each.sound, source) for each in sample.utterances]
        for change in wanted:
            new = f"{sample.id}~{change.suffix}"
            utterances = []
            for index, (utterance, audio) in enumerate(zip(sample.utterances, heard, strict=True)):
                others = [voice for place, voice in voices.items() if place != (sample.id, index)]
                try:
                    audio = _changed(audio, change, chance_of(seed, sample.id, index, change.suffix), others)
                except MediaError as error:
                    raise MediaError(f"sample {sample.id}: {error}") from None
                path = f"{number:06}-{change.suffix}-{index + 1}.wav"
                audio.save(out / path)
                lengths[path] = len(audio.samples), audio.rate
                utterances.append(_with(utterance, path, change))
            made.append(_sample(sample, new, utterances))
            pairs[new] = sample.id
        if progress is not None:
            progress(number + 1, len(samples))
    files = {path: sha256(out / path) for path in paths(made)}
    return Derived(root=str(out), samples=tuple(made), pairs=pairs, files=files, lengths=lengths)


def as_json(wanted: Sequence[Change], seed: int) -> dict[str, Any]:
    """What was done, as it is kept with a version."""
    return {"changes": msgspec.to_builtins(list(wanted)), "seed": seed}


def _changed(audio: Audio, change: Change, chance: np.random.Generator, others: Sequence[Audio]) -> Audio:
    match change:
        case Noise():
            return with_noise(audio, change, chance, others)
        case Loss():
            return with_loss(audio, change, chance)
        case Speed():
            return at_speed(audio, change)


def _with(utterance: Utterance, path: str, change: Change) -> Utterance:
    when = utterance.when
    if isinstance(change, Speed) and isinstance(when, AtTime):
        when = AtTime(when.seconds / change.factor)
    return msgspec.structs.replace(utterance, sound=Sound(path), when=when)


def _sample(sample: Sample, new: str, utterances: Sequence[Utterance]) -> Sample:
    made = Sample(id=new, utterances=tuple(utterances), group=sample.group or sample.id)
    try:
        return checked(made)
    except ValueError as error:
        raise WrongUsage(f"sample {sample.id} can't be derived: {error}") from None


def _heard(sample: Sample, sound: Sound, source: Path) -> Audio:
    try:
        return stretch_of(source / sound.path, sound)
    except MediaError as error:
        raise MediaError(f"sample {sample.id}: {error}") from None


def _is_babble(change: Change) -> bool:
    return isinstance(change, Noise) and change.kind == "babble"


def _voices(samples: Sequence[Sample], source: Path, seed: int) -> Mapping[tuple[str, int], Audio]:
    """Utterances that babble is made of, by sample and place; those that sound."""
    every = [(sample, index) for sample in samples for index in range(len(sample.utterances))]
    order = chance_of(seed, "voices").permutation(len(every))
    found: dict[tuple[str, int], Audio] = {}
    for sample, index in _taken(every, order):
        audio = _heard(sample, sample.utterances[index].sound, source)
        if active_level(audio):
            found[sample.id, index] = audio
        if len(found) == POOL:
            break
    if len(found) <= TALKERS:
        raise WrongUsage(
            f"babble is made of {TALKERS} other utterances, and this dataset has {len(found)} that sound in all; "
            "take another noise"
        )
    return found


def _taken(every: Sequence[tuple[Sample, int]], order: Any) -> Iterator[tuple[Sample, int]]:
    for number in order:
        yield every[int(number)]
