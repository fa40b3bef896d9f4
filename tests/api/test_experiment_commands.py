"""`openomni experiment`, with the API in this process behind its HTTP."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from api import commanded
from api.experiment_rows import agent, dataset, pipelines, sample, simulated
from openomni.api.accounts.models import Project
from openomni.api.experiments.models import Cell, Experiment
from openomni.api.pipelines.models import Pipeline
from openomni.cli import experiment_following
from openomni.cli.main import run
from openomni.errors import OpenOmniError, WrongUsage
from openomni.pipeline import spec


def all_done() -> None:
    Cell.objects.exclude(status="failed").update(status="done")
    Experiment.objects.update(status="done")


@pytest.fixture(autouse=True)
def server(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    Meanwhile.happens = all_done
    commanded.behind(project, monkeypatch, Meanwhile.before)
    monkeypatch.setattr(experiment_following, "LOOK_EVERY", 0.0)
    dataset(project, sample("s1"), sample("s2", 2))
    agent(project)
    pipelines(project, "a", "b")
    return project


class Meanwhile:
    """What happens on the server before it is asked again how far an experiment is."""

    happens: ClassVar[Callable[[], None]]

    @classmethod
    def before(cls, method: str, path: str) -> None:
        if method == "GET" and re.fullmatch("/api/v1/experiments/[^/]+", path):
            cls.happens()


def did(*arguments: str | Path) -> None:
    commanded.did("experiment", *arguments)


def told(tmp_path: Path, *arguments: str | Path) -> Any:
    return commanded.told(tmp_path, "experiment", *arguments)


RUN = ("run", "questions", "--pipelines", "a,b", "--repeats", "2", "--name", "e1")


def test_an_experiment_is_run_to_its_end_listed_shown_and_cancelled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = told(tmp_path, *RUN, "--seed", "7", "--baseline", "b", "--margin", "wer=0.01", "--with", "stt=reference",
                "--metrics", "wer,cer")  # fmt: skip
    assert (made["experiment"], made["status"], made["seed"], made["baseline"]) == ("e1", "done", 7, "b")
    assert made["dataset"] == {"name": "questions", "version": 1, "hash": "questions-1"}
    assert {name: made["cells"][name] for name in ("planned", "run", "failed", "cancelled", "scored")} == {
        "planned": 8, "run": 8, "failed": 0, "cancelled": 0, "scored": 0,
    }  # fmt: skip
    manifest = made["manifest"]
    assert (manifest["margins"], manifest["given"]) == ({"wer": 0.01}, {"stt": "reference"})
    assert manifest["metrics"] == ["wer", "cer"]
    capsys.readouterr()
    assert told(tmp_path, "show", "e1")["experiment"] == "e1"
    assert "8 planned, 8 run" in capsys.readouterr().out
    assert [each["experiment"] for each in told(tmp_path, "list")["experiments"]] == ["e1"]


def test_who_plays_the_user_is_asked_for_with_settings_and_a_voice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    live = (*RUN, "--pace", "realtime", "--player", "script")
    made = told(tmp_path, *live, "--player-voice", "simulated,seconds=0.5,silence=true")
    assert made["manifest"]["player"] | {"version": ""} == {
        "kind": "script", "version": "", "parameters": {}, "voice": "simulated",
        "voice_parameters": {"seconds": 0.5, "silence": True},
    }  # fmt: skip
    said = capsys.readouterr()
    assert "the user played by script in the voice simulated" in said.out
    assert "how long its 16 turns take is not known: a and b never ran like this here" in said.err
    for asked, line in (
        (("--player", "script,words"), "--player 'script,words': write a name first, then settings as KEY=VALUE"),
        (("--player", "words=3"), "--player 'words=3': write a name first"),
        (("--player-voice", "piper"), "--player-voice is the voice of a --player; recordings have their own"),
    ):
        with pytest.raises(WrongUsage, match=re.escape(line)):
            run(["experiment", *RUN, *asked])


def test_detached_it_is_not_waited_for(tmp_path: Path) -> None:
    Meanwhile.happens = lambda: pytest.fail("it was looked at")
    assert told(tmp_path, *RUN, "--detach")["status"] == "running"


def test_a_failed_cell_is_told_with_its_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def one_fails() -> None:
        Cell.objects.filter(repeat=1, sample__sample_id="s2", pipeline__label="a").update(
            status="failed", reason="the llm broke"
        )
        all_done()

    Meanwhile.happens = one_fails
    with pytest.raises(OpenOmniError) as failed:
        run(["experiment", *RUN, "--json", str(tmp_path / "told.json")])
    assert failed.value.exit_code == 1
    line = "1 of 8 cells failed; the first: sample s2 through a: the llm broke"
    assert str(failed.value) == line
    capsys.readouterr()
    did("show", "e1")
    assert f"failed      {line}" in capsys.readouterr().out
    assert json.loads((tmp_path / "told.json").read_text())["cells"]["failed"] == 1


def test_interrupted_it_goes_on_and_says_how_to_follow_it(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    Meanwhile.happens = interrupt
    with pytest.raises(SystemExit) as ended:
        run(["experiment", *RUN])
    assert ended.value.code == 130
    said = capsys.readouterr().err
    assert "openomni experiment show e1" in said
    assert "openomni experiment cancel e1" in said
    assert Experiment.objects.get().status == "running"


def test_a_file_becomes_a_pipeline_and_another_content_of_it_is_not_mixed_in(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(simulated("mine")))
    asked = ("run", "questions", "--pipelines", f"a,{file}", "--name", "e2")
    made = told(tmp_path, *asked)
    assert made["pipelines"][1]["pipeline"] == "mine"
    assert made["pipelines"][1]["pipeline_hash"] == spec.load(str(file)).hash
    file.write_text(yaml.safe_dump(simulated("mine", "Something else.")))
    with pytest.raises(OpenOmniError, match=r"has the pipeline mine of hash .*, and this file has another"):
        run(["experiment", *asked])
    assert Pipeline.objects.get(name="mine").versions.count() == 1, "what is refused is not put there, either"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--margin", "wer"), "--margin 'wer': write it as in --margin wer=0.01"),
        (("--margin", "wer=much"), "--margin wer=much: that is no difference"),
        (("--with", "stt"), "--with 'stt': write it as in --with stt=reference"),
        (("--with", "tts=reference"), "tts has no reference in a dataset"),
        (("--pace", "slow"), "--pace 'slow' is none"),
        (("--repeats", "0"), "0 is not in the range"),
        (("--pipelines", "c"), "there is no pipeline 'c'"),
        (("--pipelines", "none.yaml"), "none.yaml: No such file"),
    ],
)
def test_a_mistake_is_one_line_and_begins_nothing(arguments: tuple[str, ...], line: str) -> None:
    with pytest.raises(OpenOmniError) as wrong:
        run(["experiment", *RUN, *arguments])
    assert wrong.value.exit_code == 2
    assert line in str(wrong.value)
    assert not Experiment.objects.exists()
