"""`openomni campaign` and `openomni metrics add`, with the API in this process behind their HTTP."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from api import commanded
from api.annotated import annotator, conversation
from api.commanded import did, told
from openomni.api.accounts.models import Project
from openomni.api.scores.models import Metric
from openomni.cli.main import run
from openomni.errors import OpenOmniError, WrongUsage
from openomni.metrics import rated

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "annotation.md"
CAMPAIGN = """\
campaign: first
from: {since: 2000-01-01}
metrics: [overall, usefulness]
annotators: [ann]
per_item: 1
"""
METRICS = """\
metric: usefulness
question: Did it help?
scale: yes_no
"""


@pytest.fixture(autouse=True)
def server(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    commanded.behind(project, monkeypatch)
    return project


def written(tmp_path: Path, text: str, name: str = "file.yaml") -> Path:
    (tmp_path / name).write_text(text)
    return tmp_path / name


def test_a_metric_of_ones_own_is_checked_stated_and_asked(
    tmp_path: Path, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, METRICS)
    (checked,) = told(tmp_path, "metrics", "check", file)["metrics"]
    assert not Metric.objects.exists()
    (stated,) = told(tmp_path, "metrics", "add", file)["metrics"]
    assert (stated["metric"], stated["version"]) == ("usefulness", checked["version"])
    conversation(project, "talk", 3)
    ann = annotator(project, "ann")
    begun = told(tmp_path, "campaign", "create", written(tmp_path, CAMPAIGN, "campaign.yaml"))
    assert (begun["items"], begun["places"]["planned"]) == (3, 3)
    assert "/annotate/first/" in capsys.readouterr().out
    item = ann.item("first")
    ann.hand_in(item, answers={"overall": {"answer": 5}, "usefulness": {"answer": True}}, seconds=30)
    assert told(tmp_path, "campaign", "list")["campaigns"][0]["places"]["done"] == 1
    did("campaign", "show", "first")
    assert "ann: 1 done, 0 skipped, 30 s an item" in capsys.readouterr().out


def test_the_guide_is_followed_word_for_word(tmp_path: Path, project: Project) -> None:
    metric, campaign = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    conversation(project, "talk", 2)
    annotator(project, "ann"), annotator(project, "bob")
    did("metrics", "check", written(tmp_path, metric))
    did("metrics", "add", written(tmp_path, metric))
    begun = told(tmp_path, "campaign", "create", written(tmp_path, campaign))
    assert (begun["campaign"], begun["places"]["planned"]) == ("first", 4)
    named = re.findall(r"`([a-z_]+)`", GUIDE.read_text().partition("| about | metrics |")[2].partition("\n\n")[0])
    assert set(named) == set(rated.builtin())


def test_metrics_list_has_what_people_are_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = {each["metric"] for each in told(tmp_path, "metrics", "list")["asked"]}
    assert {"overall", "recognition", "multi_turn"} <= names
    assert "How good was this turn, all in all?" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("campaign: first\nmetrics: [overall]\n", "campaign:1: `from` says what is annotated"),
        ("campaign: first\nfrom: {since: 2000-01-01}\nmetrics: [overal]\n", "there is no metric 'overal'"),
        ("campaign: [", "campaign:1: no YAML"),
    ],
)
def test_what_is_wrong_with_a_campaign_is_one_line(tmp_path: Path, text: str, line: str) -> None:
    with pytest.raises(OpenOmniError) as refused:
        run(["campaign", "create", str(written(tmp_path, text))])
    assert line in str(refused.value)


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match="check the path"):
        run(["campaign", "create", str(tmp_path / "none.yaml")])
    (tmp_path / "latin.yaml").write_bytes(b"campaign: \xe9")
    with pytest.raises(WrongUsage, match="not UTF-8"):
        run(["campaign", "create", str(tmp_path / "latin.yaml")])
