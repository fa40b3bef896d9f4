"""`openomni dataset`, with the API in this process behind its HTTP."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from api import commanded
from ground.damaged import write
from made_datasets import audio_folder, jsonl, tone
from openomni.api.accounts.models import Project
from openomni.api.datasets.models import DatasetSample, DatasetVersion
from openomni.api.records.models import Recording, Session, Turn
from openomni.cli import dataset_server
from openomni.cli.main import run
from openomni.datasets import audit
from openomni.datasets.listening import sha256
from openomni.errors import OpenOmniError, WrongUsage


@pytest.fixture(autouse=True)
def server(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    commanded.behind(project, monkeypatch)


def did(*arguments: str | Path) -> None:
    commanded.did("dataset", *arguments)


def told(tmp_path: Path, *arguments: str | Path) -> Any:
    return commanded.told(tmp_path, "dataset", *arguments)


def test_what_is_taken_is_listed_shown_and_kept_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = audio_folder(tmp_path / "in")
    expected = {"dataset": "clips", "version": 1, "hash": audit(root).hash, "samples": 3, "taken": True, "problems": []}
    for _ in range(2):
        assert told(tmp_path, "import", root, "--name", "clips") == expected
    assert (DatasetVersion.objects.count(), Recording.objects.count()) == (1, 3)
    recording = Recording.objects.first()
    assert recording is not None
    assert (recording.kind, recording.seconds, recording.status) == ("audio", 1.0, "complete")
    (row,) = told(tmp_path, "list")["datasets"]
    assert (row["name"], row["seconds"]) == ("clips", 3.0)
    capsys.readouterr()
    assert told(tmp_path, "show", "clips@1")["sheet"]["speakers"]["utterances"] == {"amy": 3}
    assert "amy 3" in capsys.readouterr().out


def test_an_error_takes_nothing_and_all_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = audio_folder(tmp_path / "in")
    (root / "clips/0.wav").unlink()
    (root / "clips/1.wav").write_bytes(b"RIFF")
    file = tmp_path / "told.json"
    with pytest.raises(OpenOmniError, match="2 errors, and nothing was taken") as refused:
        run(["dataset", "import", str(root), "--name", "clips", "--json", str(file)])
    assert refused.value.exit_code == 1
    assert capsys.readouterr().err.count("error: ") == 2
    said = json.loads(file.read_text())
    assert (said["taken"], said["version"], len(said["problems"])) == (False, None, 2)
    assert not Recording.objects.exists()


def test_a_dry_run_takes_nothing_and_needs_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENOMNI_TOKEN")
    root = audio_folder(tmp_path / "in")
    shutil.copy(root / "clips/0.wav", root / "clips/9.wav")
    with pytest.raises(OpenOmniError, match="1 error"):
        run(["dataset", "import", str(root), "--name", "clips", "--dry-run"])
    said = told(tmp_path, "import", root, "--name", "clips", "--dry-run", "--accept", "unnamed")
    assert (said["taken"], said["samples"], said["problems"][0]["severity"]) == (False, 3, "warning")
    with pytest.raises(WrongUsage, match="no token"):
        run(["dataset", "import", str(root), "--name", "clips"])
    with pytest.raises(WrongUsage, match="--name is missing"):
        run(["dataset", "import", str(root)])
    assert told(tmp_path, "import", root, "--dry-run", "--accept", "unnamed")["samples"] == 3
    with pytest.raises(WrongUsage, match="did you mean 'questions'"):
        run(["dataset", "import", "builtin:question", "--dry-run"])


def test_a_name_that_is_none_is_said_before_anything_is_sent(tmp_path: Path) -> None:
    for name in ("my clips", "a/b", "x" * 81):
        with pytest.raises(WrongUsage, match="a dataset's name has 1 to 80 letters"):
            run(["dataset", "import", str(audio_folder(tmp_path / name.replace("/", "-"))), "--name", name])
    with pytest.raises(WrongUsage, match="is the dataset itself"):
        run(["dataset", "derive", "six@1", "--as", "six", "--noise", "pink", "--snr", "3"])


@pytest.mark.parametrize("format", ["jsonl", "lhotse"])
def test_what_is_exported_and_imported_again_is_the_same_version(format: str, tmp_path: Path) -> None:
    made = told(tmp_path, "import", jsonl(tmp_path / "in"), "--name", "talk")
    out = tmp_path / "out"
    assert told(tmp_path, "export", "talk", "--format", format, "--out", out)["hash"] == made["hash"]
    assert audit(out).hash == made["hash"]
    assert told(tmp_path, "import", out, "--name", "talk")["version"] == 1
    with pytest.raises(WrongUsage, match="not empty"):
        run(["dataset", "export", "talk", "--format", format, "--out", str(out)])
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("openomni-")] == []


def test_a_videos_sound_and_frames_come_along(tmp_path: Path) -> None:
    film = write(tmp_path / "film.mkv", [(0.0, tone(1, 3.0, 48_000))], pictures=3.0)
    did("import", film, "--name", "film", "--time-points", "00:01,00:02")
    recording = Recording.objects.get()
    assert (recording.kind, recording.media_type, recording.sha256) == ("video", "video/x-matroska", sha256(film))
    assert [row.seconds for row in DatasetSample.objects.all()] == pytest.approx([1.0, 1.0, 1.0], abs=0.1)
    did("export", "film", "--out", tmp_path / "out")
    assert sha256(tmp_path / "out/media/film.mkv") == recording.sha256


def test_samples_go_in_parts_and_an_interrupted_import_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset_server, "PART_SAMPLES", 1)
    root, posted = audio_folder(tmp_path / "in"), []
    post = dataset_server.Api.post

    async def counted(self: Any, path: str, body: Any) -> Any:
        if "drafts" in path:
            posted.append(body["offset"])
            if len(posted) == 3:
                raise OpenOmniError("the cable was pulled")
        return await post(self, path, body)

    monkeypatch.setattr(dataset_server.Api, "post", counted)
    with pytest.raises(OpenOmniError, match="cable"):
        run(["dataset", "import", str(root), "--name", "clips"])
    did("import", root, "--name", "clips")
    assert posted == [0, 1, 2, 0, 2]
    ids = [each.sample_id for each in DatasetSample.objects.order_by("position")]
    assert ids == [each.id for each in audit(root).samples]
    assert msgspec.convert(DatasetSample.objects.all()[0].content, dataset_server.Sample).utterances[0].text


def test_a_derived_dataset_is_kept_with_what_it_was_made_of(tmp_path: Path) -> None:
    did("import", audio_folder(tmp_path / "in"), "--name", "clips")
    wanted = ("derive", "clips", "--as", "noisy", "--noise", "pink", "--snr", "20,0", "--seed", "3")
    made = told(tmp_path, *wanted)
    assert (made["derived_from"], made["samples"], made["seconds"]) == ("clips@1", 6, 6.0)
    assert made["derivation"] == {
        "changes": [{"type": "noise", "kind": "pink", "snr": 20.0}, {"type": "noise", "kind": "pink", "snr": 0.0}],
        "seed": 3,
    }
    own = set(DatasetSample.objects.filter(version__dataset__name="clips").values_list("sample_id", flat=True))
    pairs = DatasetSample.objects.filter(version__dataset__name="noisy").values_list("sample_id", "pair")
    assert {pair for _, pair in pairs} == own
    assert all(key.startswith(f"{pair}~pink") for key, pair in pairs)
    assert told(tmp_path, *wanted)["version"] == 1
    with pytest.raises(WrongUsage, match="--snr 'x'"):
        run(["dataset", "derive", "clips", "--as", "noisy", "--noise", "pink", "--snr", "x"])


def test_recorded_turns_become_a_dataset(tmp_path: Path, project: Project) -> None:
    session = Session.objects.create(project=project, id="s1", pipeline="local")
    Recording.objects.create(project=project, id="r1", status="complete", sha256="1" * 64, rate=16_000, samples=32_000)
    place = {"recording": "r1", "start": 0, "end": 16_000}
    Turn.objects.create(project=project, id="t1", session=session, index=0, status="completed", utterance=place)
    for chosen in (("--turns", "all"), ("--turns", "session=s1,since=2020-01-01T00:00:00Z"), ("--sessions", "s1")):
        made = told(tmp_path, "make", "monday", *chosen)
        assert (made["samples"], made["seconds"], made["left_out"]) == (1, 1.0, [])
    with pytest.raises(WrongUsage, match="did you mean 'session'"):
        run(["dataset", "make", "monday", "--turns", "sesion=s1"])
    with pytest.raises(WrongUsage, match="--sessions"):
        run(["dataset", "make", "monday"])
