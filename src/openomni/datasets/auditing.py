"""The audit: everything that is wrong with a dataset is listed before anything of it is taken."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..errors import MediaError, WrongUsage, nearest
from .copying import paths
from .formats import FORMATS, Format, TimePoints, recognise
from .hashing import dataset_hash
from .heard import Hearing
from .place import MAX_FILES, Place
from .problems import Problem, Problems
from .rows import Rows
from .samples import MAX_SAMPLES, Dataset, Sample
from .tables import rows as rows_of

MANIFESTS_SHOWN = 20
"""In a folder of no known format: that many are looked at for what is wrong with them."""

Progress = Callable[[int, int], None]
"""Gets how many of how many media files have been listened to."""


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """What came of looking at a dataset. Where there is an error, there are no samples: nothing is taken by half."""

    format: str
    """Its name; empty where it is none that we know."""
    root: str
    """The folder that `Sound.path` counts from; empty where there is none."""
    samples: tuple[Sample, ...] = ()
    hash: str = ""
    """As `dataset_hash` has it; empty where there is an error."""
    files: dict[str, str] = {}
    """Path → SHA-256 of the media files that the samples name."""
    lengths: dict[str, tuple[int, int]] = {}
    """Path → samples of sound in that file, and how many there are a second."""
    seconds: float = 0.0
    """Of sound that the samples have, in all."""
    problems: tuple[Problem, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it can be taken."""
        return not any(problem.severity == "error" for problem in self.problems)

    def dataset(self, name: str, version: int = 1) -> Dataset:
        """Frozen under a name and a version. Raises WrongUsage where there is an error."""
        if not self.ok:
            raise WrongUsage(f"{name} has errors, and nothing of it is taken; mend them and import it again")
        return Dataset(name=name, version=version, hash=self.hash, samples=self.samples)

    def as_json(self, name: str, version: int | None = None, *, taken: bool = False) -> dict[str, Any]:
        """What `dataset import --json` prints; `version` and `taken` are those of whoever keeps it."""
        problems = [{"severity": each.severity, "where": each.where, "what": each.what} for each in self.problems]
        return {
            "dataset": name,
            "version": version,
            "hash": self.hash or None,
            "samples": len(self.samples),
            "taken": taken and self.ok,
            "problems": problems,
        }


def audit(
    path: str | Path,
    *,
    format: str | None = None,
    time_points: Sequence[float] | None = None,
    accept: Collection[str] = (),
    progress: Progress | None = None,
) -> Audit:
    """Looks at all of a dataset: reads its rows, decodes its media, and lists what is wrong.

    `format`: one of `FORMATS`; by default what the path looks like. `time_points`: seconds at which one recording is
    cut. `accept`: kinds of `problems.ACCEPTABLE` that are warnings. Whatever the files hold is listed and never
    raised; raises WrongUsage for a format or a kind that there is not.
    """
    problems = Problems(accept)
    if format is not None and format not in FORMATS:
        raise WrongUsage(f"there is no format {format!r}; {nearest(format, FORMATS)}")
    try:
        place = Place(path)
    except MediaError as error:
        problems.error("missing", str(path), str(error))
        return Audit(format=format or "", root="", problems=problems.listed())
    chosen = _chosen(place, format, time_points)
    if chosen is None:
        what = f"it is of no format that is known; there are: {', '.join(FORMATS)}"
        problems.error("format", str(path), f"{what}. Choose one with format, or write a manifest")
        for name in place.find((".jsonl", ".json", ".csv", ".gz", ".parquet"))[:MANIFESTS_SHOWN]:
            next(rows_of(place, name, problems), None)  # lists why nothing of it can be read
        return Audit(format="", root=str(place.root), problems=problems.listed())
    rows = _read(place, chosen, problems)
    hearing = Hearing(place, rows, problems, silence_left_out=isinstance(chosen, TimePoints))
    hearing.listen(progress)
    hearing.compare()
    for name in place.unnamed():
        problems.error("unnamed", name, "no row names it; take it out or write its row")
    if len(place.files()) >= MAX_FILES:
        problems.error("bounds", str(path), f"it holds more than {MAX_FILES:,} files; split it")
    samples = hearing.samples()
    if not samples and not problems.errors:
        problems.error("format", str(path), "there is no sample in it; write one row for each")
    if problems.errors:
        return Audit(format=chosen.name, root=str(place.root), problems=problems.listed())
    files = {path: hearing.files[path] for path in paths(samples)}
    return Audit(
        format=chosen.name,
        root=str(place.root),
        samples=samples,
        hash=dataset_hash(samples, files),
        files=files,
        lengths={path: length for path, length in hearing.lengths().items() if path in files},
        seconds=hearing.seconds(),
        problems=problems.listed(),
    )


def _chosen(place: Place, format: str | None, time_points: Sequence[float] | None) -> Format | None:
    if time_points is not None and format in (None, TimePoints.name):
        return TimePoints(time_points)
    return recognise(place) if format is None else FORMATS[format]


def _read(place: Place, chosen: Format, problems: Problems) -> Rows:
    rows = Rows(problems)
    for found in chosen.read(place, problems):
        if len(rows) >= MAX_SAMPLES:
            problems.error("bounds", found.where[0], f"a dataset has at most {MAX_SAMPLES:,} samples; split it")
            break
        rows.add(found)
    return rows
