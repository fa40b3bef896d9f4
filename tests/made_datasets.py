"""Small datasets in every format, with sound made on the spot: rising tones, so that no stretch is like another."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from openomni.media import Audio

RATE = 8_000
QUESTIONS = ("What is the time?", "Who are you?", "Where is the cat?", "How are you?", "Is it late?", "Can you sing?")


def tone(number: int, seconds: float = 1.0, rate: int = RATE) -> Audio:
    """A tone that no other number has, and that never sounds the same twice."""
    at = np.arange(round(seconds * rate)) / rate
    return Audio((0.3 * np.sin(2 * np.pi * (200 + 37 * number + 10 * at) * at)).astype(np.float32), rate)


def write_tone(path: Path, number: int, seconds: float = 1.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return tone(number, seconds).save(path)


def write_stereo(path: Path, left: Audio, right: Audio) -> Path:
    import wave

    path.parent.mkdir(parents=True, exist_ok=True)
    both = np.stack([np.frombuffer(each.pcm16(), "<i2") for each in (left, right)], axis=1)
    with wave.open(str(path), "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(left.rate)
        out.writeframes(both.tobytes())
    return path


def write_lines(path: Path, rows: Iterable[dict[str, Any]], *, packed: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    return path


def write_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.DictWriter(file, list(rows[0]))
        out.writeheader()
        out.writerows(rows)
    return path


def audio_folder(root: Path, table: str = "metadata.csv") -> Path:
    rows: list[dict[str, Any]] = []
    for number in range(3):
        write_tone(root / "clips" / f"{number}.wav", number)
        rows.append(
            {"file_name": f"clips/{number}.wav", "text": QUESTIONS[number], "speaker": "amy", "room": "kitchen"}
        )
    if table.endswith(".csv"):
        write_csv(root / table, rows)
    elif table.endswith(".jsonl"):
        write_lines(root / table, rows)
    else:
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(rows), root / table)
    return root


def interview(root: Path) -> Path:
    """One recording, and a manifest of its name beside it; the path of the manifest."""
    root.mkdir(parents=True, exist_ok=True)
    Audio.join([tone(number) for number in range(4)]).save(root / "interview.wav")
    return write_lines(
        root / "interview.jsonl", ({"start": n + 0.1, "end": n + 0.9, "text": QUESTIONS[n]} for n in range(4))
    )


def jsonl(root: Path) -> Path:
    """Our own: an utterance with all that there is, a stretch, and two dialogues with every rule."""
    for number in range(6):
        write_tone(root / "sound" / f"{number}.wav", number, 2.0)
    part = {"text": "And you?", "speaker": "b"}
    write_lines(
        root / "samples.jsonl",
        [
            {
                "id": "one",
                "path": "sound/0.wav",
                "text": QUESTIONS[0],
                "answer": "Ten.",
                "speaker": "a",
                "emotion": "joy",
                "language": "en",
                "consent": "research",
                "source": "made",
                "group": "g",
                "age": 31,
                "tags": ["x", {"y": 1.5}],
            },
            {"id": "two", "path": "sound/1.wav", "start": 0.25, "end": 1.125, "text": "", "utterance_id": "u"},
            {
                "id": "talk",
                "utterances": [
                    {"id": "t1", "path": "sound/2.wav", "text": QUESTIONS[2]},
                    {"path": "sound/3.wav", **part, "when": {"rule": "after_reply", "seconds": 0.5}},
                    {"path": "sound/4.wav", **part, "when": {"rule": "after_pause", "seconds": 1.5}},
                ],
            },
            {
                "id": "barge",
                "group": "g",
                "utterances": [
                    {"path": "sound/5.wav", "text": QUESTIONS[5], "when": {"rule": "at_time", "seconds": 0.5}},
                    {"path": "sound/3.wav", **part, "when": {"rule": "into_reply", "word": 3}},
                    {"path": "sound/5.wav", "start": 1.0, "text": "Stop.", "when": {"rule": "at_time", "seconds": 9}},
                ],
            },
        ],
    )
    return root


def nemo(root: Path) -> Path:
    write_tone(root / "wav" / "a.wav", 0, 3.0)
    write_tone(root / "wav" / "b.wav", 1)
    write_lines(
        root / "manifest.json",
        [
            {"audio_filepath": "wav/a.wav", "offset": 0.0, "duration": 1.5, "text": QUESTIONS[0], "lang": "en"},
            {"audio_filepath": "wav/a.wav", "offset": 1.5, "duration": 1.5, "text": QUESTIONS[1], "pnc": "yes"},
            {"audio_filepath": str(root / "wav/b.wav"), "duration": 1.0, "text": QUESTIONS[2]},
        ],
    )
    return root


def recording(name: str, source: str, seconds: float = 1.0, channels: int = 1) -> dict[str, Any]:
    return {
        "id": name,
        "sources": [{"type": "file", "channels": list(range(channels)), "source": source}],
        "sampling_rate": RATE,
        "num_samples": round(seconds * RATE),
        "duration": seconds,
        "channel_ids": list(range(channels)),
    }


def lhotse(root: Path, *, packed: bool = True) -> Path:
    write_tone(root / "wav" / "a.wav", 0, 3.0)
    write_stereo(root / "wav" / "call.wav", tone(1, 2.0), tone(2, 2.0))
    gz = ".gz" if packed else ""
    write_lines(
        root / f"x_recordings_all.jsonl{gz}",
        [recording("a", "wav/a.wav", 3.0), recording("call", "wav/call.wav", 2.0, 2)],
        packed=packed,
    )
    write_lines(
        root / f"x_supervisions_all.jsonl{gz}",
        [
            {
                "id": "a-1",
                "recording_id": "a",
                "start": 0.0,
                "duration": 1.5,
                "channel": 0,
                "text": QUESTIONS[0],
                "language": "English",
                "speaker": "s1",
                "gender": "F",
                "custom": {"emotion": "sad", "snr": 12.5},
            },
            {
                "id": "a-2",
                "recording_id": "a",
                "start": 1.5,
                "duration": 1.5,
                "channel": 0,
                "text": QUESTIONS[1],
                "alignment": {"word": [["Who", 1.5, 0.5, None]]},
            },
            {"id": "c-1", "recording_id": "call", "start": 0.0, "duration": 2.0, "channel": 0, "speaker": "s1"},
            {"id": "c-2", "recording_id": "call", "start": 0.5, "duration": 1.0, "channel": 1, "speaker": "s2"},
            {"id": "c-3", "recording_id": "call", "start": 0.2, "duration": 1.0, "channel": [0, 1]},
        ],
        packed=packed,
    )
    return root


def cuts(root: Path) -> Path:
    write_tone(root / "a.wav", 0, 3.0)
    its = recording("a", "a.wav", 3.0)
    said = {"id": "s", "recording_id": "a", "start": 0.5, "duration": 1.0, "channel": 0, "text": QUESTIONS[0]}
    write_lines(
        root / "cuts.jsonl.gz",
        [
            {
                "id": "c1",
                "start": 0.0,
                "duration": 1.5,
                "channel": 0,
                "supervisions": [said],
                "recording": its,
                "type": "MonoCut",
            },
            {
                "id": "c2",
                "start": 1.5,
                "duration": 1.5,
                "channel": 0,
                "supervisions": [],
                "recording": its,
                "type": "MonoCut",
            },
        ],
        packed=True,
    )
    return root


def kaldi(root: Path, *, segments: bool = True) -> Path:
    for number in range(2):
        write_tone(root / "wav" / f"{number}.wav", number, 2.0)
    (root / "wav.scp").write_text("rec0 wav/0.wav\nrec1 wav/1.wav\n")
    (root / "reco2dur").write_text("rec0 2.0\nrec1 2.0\n")
    names = ("amy-0", "amy-1", "bob-0") if segments else ("rec0", "rec1")
    if segments:
        (root / "segments").write_text("amy-0 rec0 0.0 1.0\namy-1 rec0 1.0 2.0\nbob-0 rec1 0.5 -1\n")
    (root / "text").write_text("".join(f"{name} {QUESTIONS[n]}\n" for n, name in enumerate(names)))
    (root / "utt2spk").write_text("".join(f"{name} {name.split('-')[0]}\n" for name in names))
    (root / "utt2lang").write_text("".join(f"{name} en\n" for name in names))
    (root / "spk2gender").write_text("amy f\nbob m\n")
    return root


def meld_row(dialogue: int, turn: int, text: str, **more: Any) -> dict[str, Any]:
    return {
        "Sr No.": 10 * dialogue + turn,
        "Utterance": text,
        "Speaker": "Amy",
        "Emotion": "joy",
        "Sentiment": "positive",
        "Dialogue_ID": dialogue,
        "Utterance_ID": turn,
        "Season": 1,
        "Episode": 2,
        "StartTime": "00:01:00,500",
        "EndTime": "0:01:01,500",
        **more,
    }


def meld(root: Path) -> Path:
    for part, folder, base in (("train", "train_splits", 0), ("dev", "dev_splits_complete", 3)):
        rows = [
            meld_row(0, 0, QUESTIONS[base]),
            meld_row(0, 1, QUESTIONS[base + 1]),
            meld_row(1, 0, QUESTIONS[base + 2]),
        ]
        write_csv(root / f"{part}_sent_emo.csv", rows)
        for number, row in enumerate(rows, base):
            # A clip is known by its name and decoded by what it holds.
            write_tone(root / folder / f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}.mp4", number)
    return root


def iemocap(root: Path) -> Path:
    for number, name in enumerate(("Ses01F_impro01", "Ses01M_script02_1")):
        dialog = root / "Session1" / "dialog"
        write_tone(dialog / "wav" / f"{name}.wav", number, 4.0)
        evaluation = dialog / "EmoEvaluation" / f"{name}.txt"
        evaluation.parent.mkdir(parents=True, exist_ok=True)
        evaluation.write_text(
            "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
            f"[0.5000 - 1.7500]\t{name}_F000\tneu\t[2.5000, 2.5000, 3.0000]\n"
            "C-E2:\tNeutral;\t()\nA-E3:\tval 3; act 2;\t()\n\n"
            f"[1.5000 - 3.0000]\t{name}_M000\tang\t[1.5000, 4.0000, 4.5000]\nC-E2:\tAnger;\t()\n"
        )
        transcription = dialog / "transcriptions" / f"{name}.txt"
        transcription.parent.mkdir(parents=True, exist_ok=True)
        transcription.write_text(
            f"{name}_F000 [000.5000-001.7500]: Excuse me.\n{name}_M000 [001.5000-003.0000]: What is it now?\n"
        )
    return root


MAKERS = {
    "audio-folder": audio_folder,
    "jsonl": jsonl,
    "nemo": nemo,
    "lhotse": lhotse,
    "kaldi": kaldi,
    "meld": meld,
    "iemocap": iemocap,
}
