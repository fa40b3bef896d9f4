"""Broken datasets: each fault is named, with where it is, and nothing is taken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import made_datasets as made
from openomni.datasets import audit
from openomni.errors import WrongUsage
from openomni.media import Audio

Maker = Callable[[Path], Path]


def rewritten(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def folder(*changes: tuple[str, str]) -> Maker:
    """An audio folder whose table says something else."""

    def make(root: Path) -> Path:
        made.audio_folder(root)
        for old, new in changes:
            rewritten(root / "metadata.csv", old, new)
        return root

    return make


def file(name: str, change: Callable[[Path], object], maker: Maker = made.audio_folder) -> Maker:
    """A dataset one of whose files is otherwise."""

    def make(root: Path) -> Path:
        maker(root)
        change(root / name)
        return root

    return make


def lines(*rows: object, sounds: int = 1) -> Maker:
    """Our own manifest of these rows, and sounds `0.wav`, `1.wav`, …"""

    def make(root: Path) -> Path:
        for number in range(sounds):
            made.write_tone(root / f"{number}.wav", number)
        text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
        (root / "samples.jsonl").write_text('{"id": "good", "path": "0.wav"}\n' + text)
        return root

    return make


def changed(name: str, old: str, new: str, maker: Maker) -> Maker:
    return file(name, lambda path: rewritten(path, old, new), maker)


def linked_out(path: Path) -> None:
    outside = made.write_tone(path.parents[2] / "outside.wav", 9)
    path.unlink()
    path.symlink_to(outside)


def linked_table(path: Path) -> None:
    outside = path.parents[1] / "outside.csv"
    path.rename(outside)
    path.symlink_to(outside)


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def nothing(path: Path) -> None:
    path.write_bytes(b"")


def noise(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 40)


def silence(path: Path) -> None:
    Audio.silence(1.0, made.RATE).save(path)


def long(seconds: float) -> Callable[[Path], object]:
    return lambda path: made.write_tone(path, 8, seconds)


def same_as(other: str) -> Callable[[Path], object]:
    return lambda path: path.write_bytes((path.parent / other).read_bytes())


def interview(*rows: dict[str, object]) -> Maker:
    def make(root: Path) -> Path:
        made.interview(root)
        made.write_lines(root / "interview.jsonl", rows)
        return root

    return make


MELD = "train_splits/dia0_utt1.mp4"
EVALUATION = "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
RECORDINGS, SUPERVISIONS = "x_recordings_all.jsonl", "x_supervisions_all.jsonl"


def lhotse(root: Path) -> Path:
    return made.lhotse(root, packed=False)


BROKEN: dict[str, tuple[Maker, str, str]] = {
    # what: the dataset, where it is named, and by which words
    "a missing file": (file("clips/1.wav", Path.unlink), "metadata.csv:3", "is not there"),
    "an empty file": (file("clips/1.wav", nothing), "metadata.csv:3", "is empty"),
    "a sound that is cut off": (
        file("clips/1.wav", half),
        "metadata.csv:3",
        "is cut off: its head says 8,022 bytes more",
    ),
    "no media": (file("clips/1.wav", noise), "metadata.csv:3", "is no audio or video"),
    "text in place of sound": (
        file("clips/1.wav", lambda p: p.write_text("Hello\n" * 99)),
        "metadata.csv:3",
        "clips/1.wav",
    ),
    "silence": (file("clips/1.wav", silence), "metadata.csv:3", "is silent"),
    "the same sound twice": (file("clips/1.wav", same_as("0.wav")), "metadata.csv:3", "same sound as metadata.csv:2"),
    "the same row twice": (folder(("clips/1.wav", "clips/0.wav")), "metadata.csv:3", "its id 'clips/0'"),
    "a file that no row names": (file("clips/9.wav", long(1.0)), "clips/9.wav", "no row names it"),
    "text far too long": (folder(("Who are you?", "word " * 40)), "metadata.csv:3", "40 words, which nobody says"),
    "a word without end": (folder(("Who are you?", "a" * 200)), "metadata.csv:3", "200 characters"),
    "a clip far too long": (file("clips/1.wav", long(60.0)), "metadata.csv:3", "lasts 60 s"),
    "a path that leads out": (folder(("clips/1.wav", "../outside.wav")), "metadata.csv:3", "leads out of"),
    "an absolute path": (folder(("clips/1.wav", "/etc/hostname")), "metadata.csv:3", "leads out of"),
    "an address": (folder(("clips/1.wav", "http://example.org/a.wav")), "metadata.csv:3", "is an address"),
    "a link that leads out": (file("clips/1.wav", linked_out), "metadata.csv:3", "leads out of"),
    "a table that is a link out": (file("metadata.csv", linked_table), "metadata.csv", "leads out of"),
    "no file name": (folder(("clips/1.wav", "")), "metadata.csv:3", "no `file_name`"),
    "a comma too many": (folder(("Who are you?", "Who, me?")), "metadata.csv:3", "has 5 values"),
    "no header": (file("metadata.csv", nothing), "metadata.csv:1", "no header"),
    "two columns of a name": (folder(("speaker", "text")), "metadata.csv:1", "same name"),
    "another encoding": (
        file("metadata.csv", lambda p: p.write_bytes(p.read_bytes().replace(b"Who are", b"Who\x92re"))),
        "metadata.csv:3",
        "0x92 is no UTF-8",
    ),
    "UTF-16": (file("metadata.csv", lambda p: p.write_text(p.read_text(), "utf-16")), "metadata.csv", "UTF-16"),
    "two tables": (file("metadata.jsonl", lambda p: p.write_text("{}")), "metadata.csv", "another table"),
    "a broken gzip": (
        file("x_recordings_all.jsonl.gz", half, made.lhotse),
        "x_recordings_all.jsonl.gz",
        "read to its end",
    ),
    "no JSON": (lines('{"id": "x", "path": '), "samples.jsonl:2", "is no JSON"),
    "NaN": (lines('{"path": "0.wav", "start": NaN}'), "samples.jsonl:2", "is no JSON"),
    "JSON within JSON within …": (lines("[" * 5000 + "]" * 5000), "samples.jsonl:2", "JSON"),
    "fields too deep": (lines('{"path": "0.wav", "x": ' + "[" * 30 + "]" * 30 + "}"), "samples.jsonl:2", "levels"),
    "a list in place of an object": (lines("[1, 2]"), "samples.jsonl:2", "no object"),
    "a huge number": (lines({"path": "0.wav", "start": 10**40}), "samples.jsonl:2", "which no time is"),
    "infinity in a field": (lines('{"path": "0.wav", "x": 1e999}'), "samples.jsonl:2", ""),
    "a time that is text": (lines({"path": "0.wav", "start": "soon"}), "samples.jsonl:2", "no number"),
    "a time before the beginning": (lines({"path": "0.wav", "start": -1}), "samples.jsonl:2", "before the beginning"),
    "text that is a list": (lines({"path": "0.wav", "text": ["a"]}), "samples.jsonl:2", "no text"),
    "NUL in a text": (lines({"path": "0.wav", "text": "a\0b"}), "samples.jsonl:2", "NUL"),
    "NUL in a path": (lines({"path": "0\0.wav"}), "samples.jsonl:2", "no path"),
    "a speaker's name without end": (
        lines({"path": "0.wav", "speaker": "x" * 500}),
        "samples.jsonl:2",
        "500 characters",
    ),
    "too many fields": (lines({"path": "0.wav", **{f"f{n}": n for n in range(200)}}), "samples.jsonl:2", "200 fields"),
    "a stretch behind the end": (lines({"path": "0.wav", "start": 5, "end": 6}), "samples.jsonl:2", "is not in 0.wav"),
    "a stretch over the end": (lines({"path": "0.wav", "start": 0.5, "end": 3}), "samples.jsonl:2", "is not in 0.wav"),
    "an end before its start": (
        lines({"path": "0.wav", "start": 0.8, "end": 0.2}),
        "samples.jsonl:2",
        "not after its start",
    ),
    "a track that is not there": (lines({"path": "0.wav", "track": 3}), "samples.jsonl:2", "no audio track number 3"),
    "a channel that is not there": (lines({"path": "0.wav", "channel": 2}), "samples.jsonl:2", "no channel 2"),
    "a dialogue of nothing": (lines({"id": "d", "utterances": []}), "samples.jsonl:2", "no list of 1"),
    "a dialogue without a name": (lines({"utterances": [{"path": "0.wav"}]}), "samples.jsonl:2", "needs an `id`"),
    "a rule that there is not": (
        lines({"id": "d", "utterances": [{"path": "0.wav"}, {"path": "0.wav", "when": {"rule": "after_repli"}}]}),
        "samples.jsonl:2 utterance 2",
        "did you mean 'after_reply'?",
    ),
    "a rule without its number": (
        lines({"id": "d", "utterances": [{"path": "0.wav"}, {"path": "0.wav", "when": "into_reply"}]}),
        "samples.jsonl:2 utterance 2",
        "word",
    ),
    "said into the reply to nothing": (
        lines({"id": "d", "utterances": [{"path": "0.wav", "when": {"rule": "into_reply", "word": 1}}]}),
        "samples.jsonl:2 utterance 1",
        "nothing was said before",
    ),
    "a dialogue that goes back in time": (
        lines(
            {
                "id": "d",
                "utterances": [
                    {"path": "0.wav", "when": {"rule": "at_time", "seconds": 5}},
                    {"path": "0.wav", "when": {"rule": "at_time", "seconds": 2}},
                ],
            }
        ),
        "samples.jsonl:2 utterance 2",
        "before 5 s",
    ),
    "one sound, two texts, in a dialogue": (
        lines({"id": "d", "utterances": [{"path": "0.wav", "text": "Yes."}, {"path": "0.wav", "text": "No."}]}),
        "samples.jsonl:2 utterance",
        "with another text",
    ),
    "an interview that overlaps": (
        interview({"start": 0, "end": 2, "text": "A"}, {"start": 1.5, "end": 3, "text": "B"}),
        "interview.jsonl:2",
        "begins 0.50 s before",
    ),
    "a manifest without its recording": (
        file("interview.wav", Path.unlink, lambda root: made.interview(root).parent),
        "",
        "no format that is known",
    ),
    "NeMo without a duration": (
        changed("manifest.json", ', "duration": 1.5', "", made.nemo),
        "manifest.json:1",
        "`duration`",
    ),
    "NeMo with another duration": (
        changed("manifest.json", '"duration": 1.0', '"duration": 4.0', made.nemo),
        "manifest.json:3",
        "lasts 4.00 s",
    ),
    "Lhotse by a command": (
        changed(RECORDINGS, '"file", "channels": [0]', '"command", "channels": [0]', lhotse),
        f"{RECORDINGS}:1",
        "only files",
    ),
    "Lhotse without its recording": (
        changed(SUPERVISIONS, '"recording_id": "call"', '"recording_id": "cell"', lhotse),
        f"{SUPERVISIONS}:3",
        "no recording",
    ),
    "Lhotse with a channel too many": (
        changed(SUPERVISIONS, '"channel": 1', '"channel": 7', lhotse),
        f"{SUPERVISIONS}:4",
        "no channel 7",
    ),
    "Lhotse that outlasts its file": (
        changed(RECORDINGS, '"duration": 3.0', '"duration": 30.0', lhotse),
        SUPERVISIONS,
        "lasts 30.00 s",
    ),
    "Kaldi by a command": (
        changed("wav.scp", "wav/0.wav", "sox wav/0.wav -t wav - |", made.kaldi),
        "wav.scp:1",
        "is a command",
    ),
    "Kaldi's text of nobody": (changed("text", "amy-1", "amy-7", made.kaldi), "text:2", "no utterance 'amy-7'"),
    "Kaldi's segment of nothing": (
        changed("segments", "rec1", "rec7", made.kaldi),
        "segments:3",
        "no recording 'rec7'",
    ),
    "Kaldi's segment without end": (
        changed("segments", " 1.0 2.0", " 1.0", made.kaldi),
        "segments:2",
        "a start and an end",
    ),
    "MELD: a missing utterance": (
        file(MELD, Path.unlink, made.meld),
        "train_sent_emo.csv:3",
        "'dia0_utt1.mp4' is not there",
    ),
    "MELD: an unreadable one": (file(MELD, noise, made.meld), "train_sent_emo.csv:3", "is no audio or video"),
    "MELD: minutes for a few words": (file(MELD, long(120.0), made.meld), "train_sent_emo.csv:3", "lasts 120.00 s"),
    "MELD: files that no row names": (
        file("train_splits/final_videos_testdia0_utt0.mp4", long(1.0), made.meld),
        "train_splits/final_videos_testdia0_utt0.mp4",
        "no row names it",
    ),
    "MELD: times that are none": (
        changed("train_sent_emo.csv", "00:01:00,500", "a minute", made.meld),
        "train_sent_emo.csv:2",
        "HH:MM:SS,mmm",
    ),
    "MELD: an utterance twice": (changed("train_sent_emo.csv", ",0,1,1,2", ",0,0,1,2", made.meld), "", "its id"),
    "IEMOCAP without its sound": (
        file("Session1/dialog/wav/Ses01F_impro01.wav", Path.unlink, made.iemocap),
        EVALUATION,
        "is not there",
    ),
    "IEMOCAP: a line that is none": (
        changed(EVALUATION, "[0.5000", "0.5000", made.iemocap),
        f"{EVALUATION}:3",
        "no line of an",
    ),
    "IEMOCAP: who speaks over themselves": (
        changed(EVALUATION, "Ses01F_impro01_M000", "Ses01F_impro01_F001", made.iemocap),
        f"{EVALUATION}:7",
        "before",
    ),
    "nothing at all": (lambda root: root, "", "no format that is known"),
    "no folder": (lambda root: root / "nowhere", "nowhere", "check the path"),
    "a table of no rows": (
        file("metadata.csv", lambda p: p.write_text("file_name,text\n")),
        "clips/0.wav",
        "no row names it",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_each_fault_is_named_and_nothing_is_taken(fault: str, tmp_path: Path) -> None:
    make, where, what = BROKEN[fault]
    (tmp_path / "set").mkdir()
    found = audit(make(tmp_path / "set"))
    named = [each for each in found.problems if where in each.where and what in each.what]
    assert any(each.severity == "error" for each in named), found.problems
    assert not found.ok
    assert not found.samples
    assert not found.hash
    assert found.as_json("x", taken=True)["taken"] is False


def test_everything_wrong_is_listed_at_once(tmp_path: Path) -> None:
    made.meld(tmp_path)
    (tmp_path / "train_splits/dia0_utt0.mp4").unlink()
    noise(tmp_path / "train_splits/dia0_utt1.mp4")
    long(90.0)(tmp_path / "train_splits/dia1_utt0.mp4")
    silence(tmp_path / "dev_splits_complete/dia0_utt0.mp4")
    long(2.0)(tmp_path / "dev_splits_complete/dia66_utt9.mp4")
    found = audit(tmp_path)
    assert {each.where for each in found.problems if each.severity == "error"} == {
        "train_sent_emo.csv:2", "train_sent_emo.csv:3", "train_sent_emo.csv:4", "dev_sent_emo.csv:2",
        "dev_splits_complete/dia66_utt9.mp4",
    }  # fmt: skip


def test_what_is_odd_is_a_warning_and_taken(tmp_path: Path) -> None:
    made.kaldi(tmp_path)
    rewritten(tmp_path / "wav.scp", "rec0 wav/0.wav\nrec1 wav/1.wav\n", "rec1 wav/1.wav\nrec0 wav/0.wav\n")
    found = audit(tmp_path)
    assert [(each.severity, "not sorted" in each.what) for each in found.problems] == [("warning", True)]
    assert found.ok
    assert found.samples


def test_what_may_be_accepted_is_a_warning_then(tmp_path: Path) -> None:
    made.meld(tmp_path)
    long(1.0)(tmp_path / "train_splits/dia66_utt9.mp4")
    assert not audit(tmp_path).ok
    found = audit(tmp_path, accept=["unnamed"])
    assert found.ok
    assert [each.severity for each in found.problems] == ["warning"]
    with pytest.raises(WrongUsage, match="nothing that can be accepted"):
        audit(tmp_path, accept=["broken"])


def test_an_unknown_format_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match="did you mean 'lhotse'"):
        audit(tmp_path, format="lhotze")


@pytest.mark.parametrize("name", made.MAKERS)
@pytest.mark.parametrize("format", [*made.MAKERS, "time-points"])
def test_a_format_that_it_is_not_is_listed_and_never_raised(name: str, format: str, tmp_path: Path) -> None:
    found = audit(made.MAKERS[name](tmp_path), format=format)
    assert found.ok == bool(found.samples) == (not any(each.severity == "error" for each in found.problems))
    assert found.ok or name != format


def test_no_more_samples_than_a_dataset_may_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openomni.datasets.auditing.MAX_SAMPLES", 2)
    found = audit(made.audio_folder(tmp_path))
    assert any("at most 2 samples" in each.what for each in found.problems)
    assert not found.ok


def test_no_longer_line_and_no_more_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made.jsonl(tmp_path)
    monkeypatch.setattr("openomni.datasets.tables.MAX_ROWS", 2)
    assert any("at most 2 lines" in each.what for each in audit(tmp_path).problems)
    monkeypatch.undo()
    monkeypatch.setattr("openomni.datasets.tables.MAX_LINE_BYTES", 50)
    assert any("a manifest has at most" in each.what for each in audit(tmp_path).problems)


def test_so_many_problems_are_listed_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openomni.datasets.problems.MAX_PROBLEMS", 5)
    found = audit(lines(*["{"] * 20)(tmp_path))
    assert len(found.problems) == 6
    assert found.problems[-1].what.startswith("15 more")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    made.audio_folder(tmp_path)
    (tmp_path / "clips/1.wav").chmod(0)
    assert any("cannot be read" in each.what for each in audit(tmp_path).problems)


def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    made.audio_folder(tmp_path)
    for name in ("clips/1.wav", "metadata.csv"):
        (tmp_path / name).unlink()
        os.mkfifo(tmp_path / name)
    assert not audit(tmp_path).ok


def test_a_song_that_is_cut_off(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "a.mp3"), "w") as out:
        stream = out.add_stream("libmp3lame", rate=16_000)
        stream.layout = "mono"
        samples = made.tone(1, 6.0, 16_000).samples[None]
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate = 16_000
        for packet in (*stream.encode(frame), *stream.encode(None)):
            out.mux(packet)
    assert audit(tmp_path).ok
    half(tmp_path / "a.mp3")
    assert any("says that it has 6" in each.what for each in audit(tmp_path).problems)


def test_a_wav_from_a_pipe_does_not_know_its_length(tmp_path: Path) -> None:
    path = made.write_tone(tmp_path / "a.wav", 1)
    data = path.read_bytes()
    path.write_bytes(data[:4] + b"\xff\xff\xff\xff" + data[8:40] + b"\xff\xff\xff\xff" + data[44:])
    assert audit(tmp_path).ok, audit(tmp_path).problems


OUTSIDE = """
import sys
from openomni.datasets import audit
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
found = audit(sys.argv[1])
print(found.ok, *(path for path in opened if "elsewhere" in path))
"""


def test_nothing_outside_of_the_folder_is_opened(tmp_path: Path) -> None:
    root, outside = tmp_path / "set", tmp_path / "elsewhere"
    made.audio_folder(root)
    made.write_tone(outside / "a.wav", 7)
    (outside / "metadata.csv").write_text("file_name\na.wav\n")
    (root / "link.wav").symlink_to(outside / "a.wav")
    (root / "folder").symlink_to(outside)
    (root / "sub").mkdir()
    (root / "sub/metadata.csv").symlink_to(outside / "metadata.csv")
    with (root / "metadata.csv").open("a") as table:
        for path in (
            "link.wav",
            "folder/a.wav",
            "../elsewhere/a.wav",
            str(outside / "a.wav"),
            "clips/../../elsewhere/a.wav",
        ):
            table.write(f"{path},What is it?,amy,kitchen\n")
    result = subprocess.run([sys.executable, "-c", OUTSIDE, str(root)], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False"]
    assert sum("leads out of" in each.what for each in audit(root).problems) == 6
