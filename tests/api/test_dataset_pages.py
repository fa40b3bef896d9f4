"""The pages of datasets: what they show, and to whom."""

from __future__ import annotations

import pytest
from django.test import Client

from api.support import person
from openomni.api.accounts.models import Project, Role
from openomni.api.datasets import keeping
from openomni.api.datasets.keeping import About
from openomni.api.ground.caller import Caller
from openomni.api.records.models import Recording
from openomni.datasets import AfterPause, Sample, Sound, Utterance


@pytest.fixture
def reader(project: Project) -> Client:
    Recording.objects.create(
        project=project, id="r1", status="complete", sha256="1" * 64, rate=10, samples=100, received=9
    )
    samples = [
        Sample(
            id=f"s{number}",
            utterances=(
                Utterance(sound=Sound("r1", 1.0, 2.5), text=f"<b>{number}</b>", speaker="ann"),
                Utterance(sound=Sound("r1", 4.0), fields={"heard": "Oh."}, when=AfterPause(0.5)),
            ),
        )
        for number in range(30)
    ]
    keeping.keep(Caller(project.pk, frozenset()), "d1", samples, About(name="home"), {})
    browser = Client()
    browser.force_login(person("ada", Role.VIEWER, project))
    return browser


def text_of(browser: Client, path: str, status: int = 200) -> str:
    answer = browser.get(path)
    assert answer.status_code == status
    return answer.content.decode()


def test_a_dataset_is_shown_with_its_sheet_and_its_samples_in_pages(reader: Client) -> None:
    assert "/datasets/home/" in text_of(reader, "/datasets/")
    page = text_of(reader, "/datasets/home/")
    for part in ("&lt;b&gt;24&lt;/b&gt;", "after a pause of 0.5 s", "recognised as</span> Oh.", "60, in 1 recording"):
        assert part in page
    assert "content?project=home#t=1.000,2.500" in page
    assert "content?project=home#t=4.000,10.000" in page
    assert "&lt;b&gt;25&lt;/b&gt;" not in page
    further = page.rpartition("cursor=")[2].partition('"')[0]
    assert "&lt;b&gt;25&lt;/b&gt;" in text_of(reader, f"/datasets/home/?version=1&cursor={further}")


def test_what_there_is_not_is_said(reader: Client) -> None:
    assert "did you mean &#x27;home&#x27;" in text_of(reader, "/datasets/hom/", 404)
    for query, status in (("version=9", 404), ("version=x", 404), ("cursor=!!", 400), ("cursor=AAAA", 400)):
        text_of(reader, f"/datasets/home/?{query}", status)


def test_another_project_and_an_annotator_see_none(reader: Client, other_project: Project, project: Project) -> None:
    stranger, annotator = Client(), Client()
    stranger.force_login(person("eve", Role.OWNER, other_project))
    annotator.force_login(person("ann", Role.ANNOTATOR, project))
    assert "home" not in text_of(stranger, "/datasets/").partition("<main")[2]
    text_of(stranger, "/datasets/home/", 404)
    text_of(annotator, "/datasets/", 403)
