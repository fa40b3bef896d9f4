"""Media on their way out: copied whole, or cut to a file of their own."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from ..errors import WrongUsage
from ..media import Audio
from .listening import stretch_of
from .place import Place
from .samples import Sample, Sound


def copy_media(samples: Sequence[Sample], source: Path, out: Path, *, taken: Collection[str] = ()) -> None:
    """All files that the samples name, to the same place in `out`, byte for byte. `taken`: names that the format
    writes itself. Raises WrongUsage for a sample whose media is not in `source`."""
    place = Place(source)
    for path in paths(samples):
        if path in taken:
            raise WrongUsage(f"{path!r} is the name of what is written; rename the recording")
        copy(place, path, out / path)


def paths(samples: Iterable[Sample]) -> list[str]:
    """The files that samples name, each once, in their order."""
    return list(dict.fromkeys(each.sound.path for sample in samples for each in sample.utterances))


def copy(place: Place, path: str, to: Path) -> None:
    real = place.real(path)
    if real is None or not place.has(path) or path.startswith("/") or ".." in Path(path).parts:
        raise WrongUsage(f"{path!r} is not in the dataset's folder; import it again")
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(real, to)


def is_whole(sound: Sound) -> bool:
    return sound == Sound(sound.path)


def cut(place: Place, sound: Sound, to: Path) -> None:
    """A stretch as a WAV of its own: mono, 16 bits, at the file's own rate. Raises MediaError as reading does."""
    real = place.real(sound.path)
    if real is None or not place.has(sound.path):
        raise WrongUsage(f"{sound.path!r} is not in the dataset's folder; import it again")
    to.parent.mkdir(parents=True, exist_ok=True)
    audio: Audio = stretch_of(real, sound)
    audio.save(to)
