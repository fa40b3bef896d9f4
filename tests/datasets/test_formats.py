"""Each format is recognised, read, exported and read again: the same rows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

import made_datasets as made
from openomni.datasets import (
    AfterPause,
    AfterReply,
    AtTime,
    Audit,
    IntoReply,
    Sample,
    Sound,
    audit,
    export,
)
from openomni.errors import WrongUsage


def clean(path: Path, **options: object) -> Audit:
    found = audit(path, **options)  # type: ignore[arg-type]
    assert found.ok, found.problems
    assert found.samples
    return found


def without_sound(samples: tuple[Sample, ...]) -> list[list[object]]:
    nowhere = Sound("-")
    return [[s.id, s.group, *(msgspec.structs.replace(u, sound=nowhere) for u in s.utterances)] for s in samples]


@pytest.mark.parametrize("name", made.MAKERS)
def test_what_is_exported_is_read_as_the_same_rows(name: str, tmp_path: Path) -> None:
    found = clean(made.MAKERS[name](tmp_path / "in"))
    assert found.format == name
    assert not found.problems
    for format in ("jsonl", "lhotse"):
        again = clean(export(found.samples, found.root, format, tmp_path / format))
        assert (again.format, again.samples, again.hash) == (format, found.samples, found.hash)
    folder = clean(export(found.samples, found.root, "audio-folder", tmp_path / "folder"))
    assert folder.format == "audio-folder"
    assert without_sound(folder.samples) == without_sound(found.samples)
    assert folder.seconds == pytest.approx(found.seconds, abs=1e-3)
    twice = clean(export(folder.samples, folder.root, "audio-folder", tmp_path / "twice"))
    assert (twice.samples, twice.hash) == (folder.samples, folder.hash)


def test_whole_files_keep_their_hash_in_an_audio_folder(tmp_path: Path) -> None:
    found = clean(made.meld(tmp_path / "in"))
    assert clean(export(found.samples, found.root, "audio-folder", tmp_path / "out")).hash == found.hash


@pytest.mark.parametrize("table", ["metadata.csv", "metadata.jsonl", "metadata.parquet"])
def test_an_audio_folder_by_each_of_its_tables(table: str, tmp_path: Path) -> None:
    if table.endswith("parquet"):
        pytest.importorskip("pyarrow")
    found = clean(made.audio_folder(tmp_path, table))
    assert [sample.id for sample in found.samples] == ["clips/0", "clips/1", "clips/2"]
    only = found.samples[1].utterances[0]
    assert (only.text, only.speaker, only.fields) == (made.QUESTIONS[1], "amy", {"room": "kitchen"})
    assert only.sound == Sound("clips/1.wav")
    assert found.seconds == pytest.approx(3.0)


def test_parquet_without_pyarrow_says_how_to_have_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow")
    made.audio_folder(tmp_path, "metadata.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert any("pip install pyarrow" in problem.what for problem in audit(tmp_path).problems)


def test_tables_of_subfolders_count_from_their_own(tmp_path: Path) -> None:
    for number, part in enumerate(("train", "test")):
        made.write_tone(tmp_path / part / "a.wav", number)
        made.write_csv(tmp_path / part / "metadata.csv", [{"file_name": "a.wav", "transcription": "Who are you?"}])
    assert [s.utterances[0].text for s in clean(tmp_path).samples] == ["Who are you?"] * 2


def test_a_folder_of_sound_alone_has_labels(tmp_path: Path) -> None:
    made.write_tone(tmp_path / "happy" / "a.wav", 0)
    made.write_tone(tmp_path / "sad" / "b.wav", 1)
    found = clean(tmp_path)
    assert [(s.id, s.utterances[0].fields) for s in found.samples] == [
        ("happy/a", {"label": "happy"}),
        ("sad/b", {"label": "sad"}),
    ]


def test_a_manifest_of_one_recording(tmp_path: Path) -> None:
    manifest = made.interview(tmp_path)
    found = clean(manifest)
    assert found.format == "jsonl"
    assert [sample.id for sample in found.samples] == [f"interview-{n}" for n in range(1, 5)]
    assert found.samples[2].utterances[0].sound == Sound("interview.wav", 2.1, 2.9)
    assert clean(tmp_path).hash == found.hash


def test_the_real_interview(shared_data: Path) -> None:
    found = clean(shared_data / "interview.jsonl")
    assert next(s.utterances[0].text for s in found.samples) == "What is the capital of France?"
    assert found.seconds == pytest.approx(1.718 + 1.823 + 3.344 + 1.695, abs=0.001)


def test_a_dialogue_has_its_rules(tmp_path: Path) -> None:
    one, two, talk, barge = clean(made.jsonl(tmp_path)).samples
    assert [one.is_dialogue, talk.is_dialogue] == [False, True]
    assert [each.when for each in talk.utterances] == [AfterReply(), AfterReply(0.5), AfterPause(1.5)]
    assert [each.when for each in barge.utterances] == [AtTime(0.5), IntoReply(3), AtTime(9.0)]
    assert [each.needs_realtime for each in (one, two, talk, barge)] == [False, False, False, True]
    assert one.utterances[0].fields == {"age": 31, "tags": ["x", {"y": 1.5}]}
    assert two.utterances[0].text == ""
    assert talk.utterances[0].id == "t1"


def test_nemo_cuts_where_there_is_an_offset(tmp_path: Path) -> None:
    first, second, third = (sample.utterances[0] for sample in clean(made.nemo(tmp_path)).samples)
    assert first.sound == Sound("wav/a.wav", 0.0, 1.5)
    assert second.sound == Sound("wav/a.wav", 1.5, None)
    assert third.sound == Sound("wav/b.wav")  # named by an absolute path within the folder
    assert (first.language, second.fields) == ("en", {"pnc": "yes"})


def test_lhotse_has_channels_and_custom_fields(tmp_path: Path) -> None:
    found = {sample.id: sample.utterances[0] for sample in clean(made.lhotse(tmp_path)).samples}
    assert found["a-1"].emotion == "sad"
    assert found["a-1"].fields == {"snr": 12.5, "gender": "F"}
    assert found["a-2"].fields == {"alignment": {"word": [["Who", 1.5, 0.5, None]]}}
    assert [found[f"c-{n}"].sound.channel for n in (1, 2, 3)] == [1, 2, None]
    assert found["c-1"].sound == Sound("wav/call.wav", channel=1)


@pytest.mark.parametrize("name", ["x_recordings_all.jsonl", "x_supervisions_all.jsonl"])
def test_either_of_lhotses_pair_may_be_named(name: str, tmp_path: Path) -> None:
    made.lhotse(tmp_path, packed=False)
    assert clean(tmp_path / name).hash == clean(tmp_path).hash


def test_lhotse_cuts(tmp_path: Path) -> None:
    first, second = clean(made.cuts(tmp_path)).samples
    assert (first.id, first.utterances[0].sound) == ("s", Sound("a.wav", 0.5, 1.5))
    assert (second.id, second.utterances[0].sound) == ("c2", Sound("a.wav", 1.5))


def test_kaldi_with_and_without_segments(tmp_path: Path) -> None:
    with_ = {sample.id: sample.utterances[0] for sample in clean(made.kaldi(tmp_path / "a")).samples}
    assert with_["amy-1"].sound == Sound("wav/0.wav", 1.0)
    assert with_["bob-0"].sound == Sound("wav/1.wav", 0.5)
    assert (with_["bob-0"].speaker, with_["bob-0"].language, with_["bob-0"].fields) == ("bob", "en", {"gender": "m"})
    without = clean(made.kaldi(tmp_path / "b", segments=False)).samples
    assert [(s.id, s.utterances[0].sound) for s in without] == [
        ("rec0", Sound("wav/0.wav")),
        ("rec1", Sound("wav/1.wav")),
    ]


def test_meld_has_parts_groups_and_emotions(tmp_path: Path) -> None:
    found = {sample.id: sample for sample in clean(made.meld(tmp_path)).samples}
    assert len(found) == 6
    sample = found["train-dia0_utt1"]
    assert sample.group == "train-dia0"
    said = sample.utterances[0]
    assert said.sound == Sound("train_splits/dia0_utt1.mp4")
    assert (said.text, said.speaker, said.emotion) == (made.QUESTIONS[1], "Amy", "joy")
    assert said.fields["Sentiment"] == "positive"
    assert found["dev-dia0_utt0"].utterances[0].text == made.QUESTIONS[3]


def test_iemocap_has_scenarios_measures_and_raters(tmp_path: Path) -> None:
    found = {sample.id: sample for sample in clean(made.iemocap(tmp_path)).samples}
    sample = found["Ses01F_impro01_F000"]
    said = sample.utterances[0]
    assert sample.group == "Ses01F_impro01"
    assert (said.speaker, said.emotion, said.text) == ("Ses01F", "neu", "Excuse me.")
    assert said.sound == Sound("Session1/dialog/wav/Ses01F_impro01.wav", 0.5, 1.75)
    assert said.fields == {
        "scenario": "improvised", "valence": 2.5, "activation": 2.5, "dominance": 3.0,
        "raters": ["C-E2:\tNeutral;\t()", "A-E3:\tval 3; act 2;\t()"],
    }  # fmt: skip
    assert found["Ses01M_script02_1_M000"].utterances[0].fields["scenario"] == "scripted"


def test_iemocap_has_each_conversation_in_other_forms_too(tmp_path: Path) -> None:
    made.iemocap(tmp_path)
    name = "Ses01F_impro01"
    whole = tmp_path / f"Session1/dialog/wav/{name}.wav"
    made.write_tone(tmp_path / f"Session1/dialog/avi/DivX/{name}.avi", 7)
    for number, turn in enumerate(("F000", "M000")):
        made.write_tone(tmp_path / f"Session1/sentences/wav/{name}/{name}_{turn}.wav", 8 + number)
    assert clean(tmp_path).samples[0].utterances[0].sound.start == 0.5
    whole.unlink()
    pieces = {sample.id: sample.utterances[0].sound for sample in clean(tmp_path).samples}
    assert pieces[f"{name}_M000"] == Sound(f"Session1/sentences/wav/{name}/{name}_M000.wav")


def test_a_recording_is_cut_at_time_points_and_silence_is_left_out(tmp_path: Path) -> None:
    from openomni.media import Audio

    path = tmp_path / "talk.wav"
    Audio.join([made.tone(0), Audio.silence(1.0, made.RATE), made.tone(1)]).save(path)
    found = clean(path, time_points=[1.0, 2.0])
    assert [(s.id, s.utterances[0].sound) for s in found.samples] == [
        ("talk-1", Sound("talk.wav", 0.0, 1.0)),
        ("talk-3", Sound("talk.wav", 2.0)),
    ]
    assert [(each.severity, "silent" in each.what) for each in found.problems] == [("warning", True)]
    assert clean(path).samples[0].utterances[0].sound == Sound("talk.wav")


def test_a_video_is_cut_with_its_pictures(shared_data: Path) -> None:
    found = clean(shared_data / "interview.mp4", time_points=[4.0, 7.3, 12.0])
    assert len(found.samples) == 4


@pytest.mark.parametrize(("format", "out"), [("meld", "new"), ("csv", "new"), ("jsonl", "full")])
def test_what_cannot_be_exported_leaves_nothing(format: str, out: str, tmp_path: Path) -> None:
    found = clean(made.audio_folder(tmp_path / "in"))
    made.write_tone(tmp_path / "full" / "a.wav", 1)
    with pytest.raises(WrongUsage):
        export(found.samples, found.root, format, tmp_path / out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "in"]


def test_an_export_that_fails_leaves_nothing(tmp_path: Path) -> None:
    found = clean(made.audio_folder(tmp_path / "in"))
    (tmp_path / "in/clips/2.wav").unlink()
    with pytest.raises(WrongUsage):
        export(found.samples, found.root, "jsonl", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_neither_django_nor_pyarrow_nor_the_formats_own_libraries_are_imported() -> None:
    code = (
        "import sys, openomni.datasets; "
        "print(*(each for each in ('django', 'pyarrow', 'lhotse', 'torch', 'numpy', 'av') if each in sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []
