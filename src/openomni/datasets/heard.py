"""What the audit hears: each utterance's sound, against its row, its text and the others' sound."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise

import msgspec

from ..errors import MediaError
from ..media_file import SILENT
from ..media_file.opening import undecodable
from .fitting import misfit
from .listening import Heard, Held, Stretch, cut_off, listen, sha256
from .place import Place
from .problems import Problems
from .rows import Rows, Said
from .samples import Sample, Sound, seconds

SLACK_S = 0.05
"""Seconds by which a stretch may reach over its file's end: manifests round."""
OVERLAP_S = 0.01
SHORT_S, SHORT = 0.5, 0.05
"""Seconds, and part, by which there may be less sound than a file says: some guess it from their first bytes."""

Track = tuple[str, int | None, int | None]
"""Path, track and channel."""


class Hearing:
    """Listens to all that rows name, and lists what is wrong."""

    def __init__(self, place: Place, rows: Rows, problems: Problems, *, silence_left_out: bool = False) -> None:
        """`silence_left_out`: a silent sample is no error; it is not among `samples`, and a warning says so."""
        self._place, self._rows, self._problems = place, rows, problems
        self._silence_left_out = silence_left_out
        self._left_out: set[int] = set()
        self._said = list(rows.said())
        self._tracks: dict[Track, list[Said]] = defaultdict(list)
        for said in self._said:
            sound = said.utterance.sound
            self._tracks[sound.path, sound.track, sound.channel].append(said)
        self._heard: dict[Track, Heard] = {}
        self.files: dict[str, str] = {}
        """Path → SHA-256 of the file."""

    def listen(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Decodes each file once a track and channel, and lists what can't be, is silent, or lies outside."""
        for number, (track, said) in enumerate(self._tracks.items(), 1):
            heard = self._listen(track, said)
            if heard is not None:
                self._heard[track] = heard
                self._stated(said, heard)
                for each in said:
                    self._one(each, heard)
            if progress is not None:
                progress(number, len(self._tracks))

    def _listen(self, track: Track, said: list[Said]) -> Heard | None:
        path, number, channel = track
        real = self._place.real(path)
        told: list[str] = []
        unreadable: tuple[type[Exception], ...] = (MediaError, OSError, *undecodable())
        try:
            if real is None:
                raise MediaError(f"{path} leads out of the dataset's folder; copy the file into it")
            if path not in self.files:
                self.files[path] = sha256(real)
            heard = listen(real, {_stretch(each) for each in said}, track=number, channel=channel, told=told.append)
        except unreadable as error:
            self._problems.error("broken", _rows(said), f"{self._plain(path, real, error)}")
            return None
        if lacks := cut_off(real):
            self._problems.error(
                "broken",
                _rows(said),
                f"{path} is cut off: its head says {lacks:,} bytes more than there are; copy it again",
            )
        elif heard.stated is not None and heard.stated - heard.duration > max(SHORT_S, heard.stated * SHORT):
            self._problems.error(
                "unfit",
                _rows(said),
                f"{path} says that it has {heard.stated:.2f} s of sound, and there are "
                f"{heard.duration:.2f} s; it may be cut off: copy or convert it again",
            )
        for line in told:
            what = self._plain(path, real, line)
            if heard.damages:
                self._problems.error("broken", _rows(said), f"{what}; copy or convert it again")
            else:
                self._problems.warning("broken", _rows(said), what)
        return heard

    def _plain(self, path: str, real: object, line: object) -> str:
        """A line on a file, under the name that the dataset has for it."""
        return str(line).replace(str(real), path)

    def _stated(self, said: list[Said], heard: Heard) -> None:
        """Lists a file that lasts otherwise than its rows say, once each way that they say it."""
        for lasts, where in {each.lasts: each.where for each in reversed(said) if each.lasts is not None}.items():
            off = heard.duration - lasts.seconds
            if abs(off) > lasts.slack:
                self._problems.error(
                    "unfit",
                    where,
                    f"it says that its file lasts {lasts.seconds:.2f} s, which lasts "
                    f"{heard.duration:.2f} s; correct the row, or cut the file",
                )

    def _one(self, said: Said, heard: Heard) -> None:
        start, end = _stretch(said)
        held = heard.stretches[start, end]
        if start >= heard.duration or (end is not None and end > heard.duration + SLACK_S):
            ends = "its end" if end is None else f"{end:g} s"
            self._problems.error(
                "segment",
                said.where,
                f"from {start:g} s to {ends} is not in {said.utterance.sound.path}, "
                f"which lasts {heard.duration:.2f} s; correct the times",
            )
            return
        if held.peak <= SILENT:
            what = f"{_what(said)} is silent (never louder than −60 dBFS)"
            if self._silence_left_out:
                self._left_out.add(said.sample)
                self._problems.warning("silent", said.where, f"{what}; it is left out")
            else:
                self._problems.error("silent", said.where, f"{what}; record it again or take the row out")
        elif (why := misfit(said.utterance.text, held.seconds)) is not None:
            self._problems.error("unfit", said.where, f"{_what(said)} {why}; correct the text, or cut the sound")

    def held(self, said: Said) -> Held | None:
        """What an utterance's stretch holds; None where its file can't be heard."""
        sound = said.utterance.sound
        heard = self._heard.get((sound.path, sound.track, sound.channel))
        return None if heard is None else heard.stretches[_stretch(said)]

    def compare(self) -> None:
        """Lists what is there twice, and what overlaps though it was said by one person in one recording."""
        self._doubled()
        for track, said in self._tracks.items():
            if track in self._heard:
                self._overlapping([each for each in said if each.apart], self._heard[track].duration)

    def _doubled(self) -> None:
        texts: dict[str, Said] = {}
        samples: dict[int, list[str]] = defaultdict(list)
        for said in self._said:
            held = self.held(said)
            if held is None or held.peak <= SILENT:
                samples[said.sample].append("")
                continue
            samples[said.sample].append(held.digest)
            first = texts.setdefault(held.digest, said)
            single = self._is_single(said) and self._is_single(first)  # which are named below, whatever their texts
            if first.utterance.text != said.utterance.text and not single:
                self._problems.error(
                    "doubled",
                    said.where,
                    f"{_what(said)} is the same sound as that of {first.where}, with "
                    "another text; one of them is wrong",
                )
        known: dict[tuple[str, ...], int] = {}
        for number, digests in samples.items():
            first_of = known.setdefault(tuple(digests), number)
            if first_of != number and all(digests):
                where, before = self._rows.found[number].where[0], self._rows.found[first_of].where[0]
                self._problems.error(
                    "doubled",
                    where,
                    f"it is the same sound as {before}; take one of them out, for it would count twice",
                )

    def _is_single(self, said: Said) -> bool:
        return not self._rows.found[said.sample].sample.is_dialogue

    def _overlapping(self, said: list[Said], duration: float) -> None:
        for speaker in {each.utterance.speaker for each in said}:
            of = sorted((each for each in said if each.utterance.speaker == speaker), key=_stretch_order)
            for before, after in pairwise(of):
                end = before.utterance.sound.end
                end = duration if end is None else end
                over = end - after.utterance.sound.start
                if over > OVERLAP_S:
                    self._problems.error(
                        "overlap",
                        after.where,
                        f"it begins {over:.2f} s before {before.where} ends, and one "
                        "speaks at a time; correct the times",
                    )

    def samples(self) -> tuple[Sample, ...]:
        """All samples, each stretch as it is named for good: one that reaches to its file's end has no other end, and
        a channel of one has no number."""
        made: dict[int, list[Said]] = defaultdict(list)
        for said in self._said:
            if said.sample not in self._left_out:
                made[said.sample].append(said)
        return tuple(
            msgspec.structs.replace(
                self._rows.found[number].sample,
                utterances=tuple(msgspec.structs.replace(each.utterance, sound=self._named(each)) for each in said),
            )
            for number, said in made.items()
        )

    def _named(self, said: Said) -> Sound:
        sound = said.utterance.sound
        heard = self._heard.get((sound.path, sound.track, sound.channel))
        if heard is None:
            return sound
        # A stretch is cut where its samples are, so half of one is the difference that there can be.
        last = sound.end is not None and round(sound.end * heard.rate) >= heard.samples
        channel = None if heard.channels == 1 else sound.channel
        return msgspec.structs.replace(sound, end=None if last else sound.end, channel=channel)

    def lengths(self) -> dict[str, tuple[int, int]]:
        """Path → samples and rate of the longest of its tracks that were listened to."""
        longest = sorted(self._heard.items(), key=lambda item: item[1].duration)
        return {path: (heard.samples, heard.rate) for (path, _, _), heard in longest}

    def seconds(self) -> float:
        """Of sound that the samples have, in all."""
        kept = (self.held(said) for said in self._said if said.sample not in self._left_out)
        return seconds(sum(held.seconds for held in kept if held is not None))


def _stretch(said: Said) -> Stretch:
    return said.utterance.sound.start, said.utterance.sound.end


def _stretch_order(said: Said) -> tuple[float, float]:
    start, end = _stretch(said)
    return start, float("inf") if end is None else end


def _what(said: Said) -> str:
    """An utterance's sound, in words."""
    sound = said.utterance.sound
    if sound == Sound(sound.path):
        return sound.path
    return f"{sound.path} from {sound.start:g} s" + ("" if sound.end is None else f" to {sound.end:g} s")


def _rows(said: list[Said]) -> str:
    """Where a file is named: its first row, and how many there are."""
    return said[0].where if len(said) == 1 else f"{said[0].where} and {len(said) - 1} more"
