"""Others read what we write, and we read what they write. Lhotse's are skipped where it is not installed: it asks for a
runtime of neural networks, of which it needs nothing here; `.ci/run` installs it without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import made_datasets as made
from openomni.datasets import Audit, audit, export
from without_torch import without_torch


def clean(path: Path) -> Audit:
    found = audit(path)
    assert found.ok, found.problems
    return found


@pytest.fixture
def lhotse() -> Any:
    with without_torch():
        # Where its own dependencies are missing, it is not there.
        found = pytest.importorskip("lhotse", exc_type=ImportError)
        pytest.importorskip("lhotse.kaldi", exc_type=ImportError)
    return found


@pytest.fixture
def hub(tmp_path: Path) -> Any:
    # Not `datasets` alone: the folder of these tests has that name, too.
    pytest.importorskip("datasets.load", exc_type=ImportError)
    import datasets

    def load(folder: Path) -> list[dict[str, Any]]:
        found = datasets.load_dataset(
            "audiofolder", data_dir=str(folder), cache_dir=str(tmp_path / "cache"), split="train"
        )
        return list(found.cast_column("audio", datasets.Audio(decode=False)))

    return load


@pytest.mark.parametrize("name", made.MAKERS)
def test_lhotse_reads_what_we_write(name: str, tmp_path: Path, lhotse: Any) -> None:
    found = clean(made.MAKERS[name](tmp_path / "in"))
    out = export(found.samples, found.root, "lhotse", tmp_path / "out")
    recordings = lhotse.RecordingSet.from_file(out / "recordings.jsonl.gz").to_eager()
    supervisions = lhotse.SupervisionSet.from_file(out / "supervisions.jsonl.gz")
    lhotse.validate_recordings_and_supervisions(recordings, supervisions)
    ours = [utterance for sample in found.samples for utterance in sample.utterances]
    assert len(supervisions) == len(ours)
    for theirs, said in zip(supervisions, ours, strict=True):
        assert (theirs.text, theirs.speaker or "", theirs.language or "") == (said.text, said.speaker, said.language)
        assert theirs.start == said.sound.start
        duration = recordings[theirs.recording_id].duration
        assert theirs.end == pytest.approx(duration if said.sound.end is None else said.sound.end, abs=1e-6)
        assert recordings[theirs.recording_id].sources[0].source == said.sound.path


@pytest.mark.parametrize("name", made.MAKERS)
def test_we_read_what_lhotse_writes(name: str, tmp_path: Path, lhotse: Any) -> None:
    found = clean(made.MAKERS[name](tmp_path / "in"))
    out = export(found.samples, found.root, "lhotse", tmp_path / "out")
    for each, of in (("recordings", lhotse.RecordingSet), ("supervisions", lhotse.SupervisionSet)):
        rows = of.from_file(out / f"{each}.jsonl.gz").to_eager()
        (out / f"{each}.jsonl.gz").unlink()
        rows.to_file(out / f"theirs_{each}.jsonl")
    assert clean(out).samples == found.samples


def test_we_read_the_cuts_that_lhotse_makes(tmp_path: Path, lhotse: Any) -> None:
    found = clean(made.nemo(tmp_path / "in"))
    out = export(found.samples, found.root, "lhotse", tmp_path / "out")
    cuts = lhotse.CutSet.from_manifests(
        recordings=lhotse.RecordingSet.from_file(out / "recordings.jsonl.gz"),
        supervisions=lhotse.SupervisionSet.from_file(out / "supervisions.jsonl.gz"),
    )
    cuts.trim_to_supervisions().to_file(out / "cuts.jsonl.gz")
    assert clean(out / "cuts.jsonl.gz").samples == found.samples


def test_kaldi_is_read_as_lhotse_reads_it(tmp_path: Path, lhotse: Any) -> None:
    from lhotse.kaldi import load_kaldi_data_dir

    found = clean(made.kaldi(tmp_path))
    recordings, supervisions, _ = load_kaldi_data_dir(tmp_path, made.RATE)
    ours = {sample.id: sample.utterances[0] for sample in found.samples}
    assert {theirs.id for theirs in supervisions} == ours.keys()
    for theirs in supervisions:
        said = ours[theirs.id]
        end = recordings[theirs.recording_id].duration if said.sound.end is None else said.sound.end
        assert (theirs.text, theirs.speaker, theirs.language) == (said.text, said.speaker, said.language)
        assert (theirs.start, theirs.gender) == (said.sound.start, said.fields["gender"])
        assert theirs.end == pytest.approx(end)


@pytest.mark.parametrize("name", ["audio-folder", "nemo", "kaldi", "meld", "iemocap"])
def test_hugging_face_reads_what_we_write(name: str, tmp_path: Path, hub: Any) -> None:
    found = clean(made.MAKERS[name](tmp_path / "in"))
    out = export(found.samples, found.root, "audio-folder", tmp_path / "out")
    theirs, ours = hub(out), clean(out).samples
    assert len(theirs) == len(ours)
    for row, sample in zip(theirs, ours, strict=True):
        said = sample.utterances[0]
        assert row["audio"]["path"] == str(out / said.sound.path)
        assert (row["id"], row["text"]) == (sample.id, said.text)
        assert (row.get("speaker") or "", row.get("emotion") or "") == (said.speaker, said.emotion)
        for key, value in said.fields.items():
            assert row[key] == value


# Not a CSV: with pandas 3 this release of theirs takes its names of files for something else.
@pytest.mark.parametrize("table", ["metadata.jsonl", "metadata.parquet"])
def test_an_audio_folder_is_read_as_hugging_face_reads_it(table: str, tmp_path: Path, hub: Any) -> None:
    made.audio_folder(tmp_path / "in", table)
    theirs, ours = hub(tmp_path / "in"), clean(tmp_path / "in").samples
    assert [(row["audio"]["path"], row["text"], row["speaker"], row["room"]) for row in theirs] == [
        (str(tmp_path / "in" / said.sound.path), said.text, said.speaker, said.fields["room"])
        for said in (sample.utterances[0] for sample in ours)
    ]
