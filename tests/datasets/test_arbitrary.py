"""Whatever the files hold, the audit lists it: it never raises, and takes nothing that it can't give again."""

from __future__ import annotations

import contextlib
import itertools
import json
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import made_datasets as made
from openomni.datasets import Audit, audit, checked, export
from openomni.datasets.samples import Sample, Sound, Utterance

quick = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))

TEXTS = st.text(max_size=30) | st.sampled_from(
    ["0.wav", "../0.wav", "/", ".", "nan", "1e999", "-1", "{", '{"rule": 1}', "\ud800"]
)
NUMBERS = st.integers() | st.floats() | st.integers(-(10**400), 10**400)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
NAMES = ("id", "path", "file_name", "audio_filepath", "start", "end", "duration", "offset", "track", "channel", "text",
         "answer", "speaker", "when", "utterances", "dialogue", "turn", "group", "recording_id", "custom", "sources",
         "supervisions", "recording", "type", "channels", "sampling_rate")  # fmt: skip
VALUES = JSON | st.sampled_from(
    ["0.wav", 0, 0.25, 0.5, 1, [{"path": "0.wav"}], [{"type": "file", "channels": [0], "source": "0.wav"}]]
)
ROWS = st.lists(st.dictionaries(st.sampled_from(NAMES) | TEXTS, VALUES, max_size=8), min_size=1, max_size=4)
STARTS = {
    "audio-folder": {"file_name": "0.wav"},
    "jsonl": {"path": "0.wav"},
    "nemo": {"audio_filepath": "0.wav", "duration": 1.0},
    "lhotse": made.recording("r", "0.wav"),
}
numbers = itertools.count()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("arbitrary")
    made.write_tone(root / "0.wav", 0)
    return root


def looked_at(path: Path, format: str | None = None) -> Audit:
    found = audit(path, format=format)
    assert found.ok == bool(found.samples)
    for each in found.problems:
        assert each.what
        json.dumps([each.where, each.what]).encode()
    if found.ok:
        # What was taken can be given, in each format, and read again.
        out = path.parent / f"out-{next(numbers)}"
        for format in ("jsonl", "lhotse"):
            again = audit(export(found.samples, found.root, format, out / format), accept=["unnamed"])
            assert again.samples == found.samples, again.problems
            assert again.hash == found.hash
    return found


@pytest.mark.parametrize("format", STARTS)
@quick
@given(rows=ROWS)
def test_any_json(format: str, rows: list[dict[str, Any]], place: Path) -> None:
    name = "metadata.jsonl" if format == "audio-folder" else "rows.jsonl"
    folder = place / f"in-{next(numbers)}"
    folder.mkdir()
    (folder / "0.wav").hardlink_to(place / "0.wav")
    made_of = [STARTS[format] | row for row in rows] + rows
    (folder / name).write_bytes("".join(json.dumps(row) + "\n" for row in made_of).encode("utf-8", "surrogatepass"))
    looked_at(folder / name, format)


@pytest.mark.parametrize("format", STARTS)
@quick
@given(
    row=st.dictionaries(st.sampled_from(NAMES[9:18]) | st.text(string.ascii_letters, min_size=1), VALUES, max_size=3)
)
def test_one_row_that_may_be_right(format: str, row: dict[str, Any], place: Path) -> None:
    name = "metadata.jsonl" if format == "audio-folder" else "rows.jsonl"
    folder = place / f"in-{next(numbers)}"
    folder.mkdir()
    (folder / "0.wav").hardlink_to(place / "0.wav")
    (folder / name).write_bytes((json.dumps(row | STARTS[format]) + "\n").encode("utf-8", "surrogatepass"))
    looked_at(folder / name, format)


TABLES = {
    "audio-folder": ("metadata.csv", b"file_name,text\n0.wav,"),
    "jsonl": ("rows.jsonl", b'{"path": "0.wav"}\n'),
    "lhotse": ("rows.jsonl", b'{"sources": [], "sampling_rate": 1}\n'),
    "meld": ("x.csv", b"Dialogue_ID,Utterance_ID,Utterance,StartTime,EndTime\n0,0,"),
    "kaldi": ("wav.scp", b"r 0.wav\n"),
    "iemocap": (
        "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt",
        b"[0.1 - 0.5]\tSes01F_impro01_F000\tneu\t[1, 2, 3]\n",
    ),
}


@pytest.mark.parametrize("format", TABLES)
@quick
@given(more=st.binary(max_size=60) | st.text('0123456789.,:[]-\t\n "ab/', max_size=60).map(str.encode))
def test_any_bytes(format: str, more: bytes, place: Path) -> None:
    name, start = TABLES[format]
    folder = place / f"in-{next(numbers)}"
    path = folder / name
    path.parent.mkdir(parents=True)
    (folder / "0.wav").hardlink_to(place / "0.wav")
    if format == "iemocap":
        path.parents[1].joinpath("wav").mkdir()
        path.parents[1].joinpath("wav/Ses01F_impro01.wav").hardlink_to(place / "0.wav")
    path.write_bytes(start + more)
    looked_at(folder, format)
    looked_at(folder)


@quick
@given(segments=st.text('rab01 .-\n\t"', max_size=60), text=st.binary(max_size=60))
def test_any_kaldi(segments: str, text: bytes, place: Path) -> None:
    folder = place / f"in-{next(numbers)}"
    folder.mkdir()
    (folder / "0.wav").hardlink_to(place / "0.wav")
    (folder / "wav.scp").write_text("r 0.wav\n")
    (folder / "segments").write_text("a r 0.0 0.5\n" + segments)
    (folder / "text").write_bytes(b"a what\n" + text)
    looked_at(folder)


@quick
@given(wav=st.binary(max_size=200), keep=st.integers(0, 200))
def test_any_sound(wav: bytes, keep: int, place: Path) -> None:
    folder = place / f"in-{next(numbers)}"
    folder.mkdir()
    (folder / "0.wav").write_bytes((place / "0.wav").read_bytes()[:keep] + wav)
    looked_at(folder)


@quick
@given(value=JSON, start=st.floats(), end=st.none() | st.floats(), text=st.none() | TEXTS)
def test_any_sample_is_within_bounds_or_refused(value: Any, start: float, end: float | None, text: str | None) -> None:
    sample = Sample(id="x", utterances=(Utterance(sound=Sound("a", start, end), text=text, fields={"x": value}),))
    with contextlib.suppress(ValueError):
        made_of = checked(sample)
        assert checked(made_of) == made_of
