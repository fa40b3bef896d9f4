"""The pages of experiments: what they say, to whom, and what cancelling does."""

from __future__ import annotations

import pytest
from django.test import Client

from api.experiment_rows import agent, dataset, pipelines, sample
from api.support import api_for, person
from openomni.api.accounts.models import Project, Scope
from openomni.api.experiments import comparing
from openomni.api.experiments.models import Cell, Experiment


@pytest.fixture
def browser(project: Project) -> Client:
    dataset(project, sample("s1"), sample("s2"))
    agent(project)
    pipelines(project, "a", "b")
    client = Client()
    client.force_login(person("ada", "researcher", project))
    return client


@pytest.fixture
def experiment(browser: Client, project: Project) -> Experiment:
    request = {"dataset": "questions", "pipelines": ["a", "b"], "repeats": 2, "name": "e 1"}
    api_for(project, Scope.RESEARCHER)("POST", "/experiments", request, 202)
    return Experiment.objects.get()


def text(browser: Client, path: str, status: int = 200) -> str:
    answer = browser.get(path)
    assert answer.status_code == status
    return " ".join(answer.content.decode().split())


def test_without_any_it_says_how_to_begin(browser: Client) -> None:
    assert "No experiment yet" in text(browser, "/experiments/")


def test_how_far_it_is_and_what_failed(browser: Client, experiment: Experiment) -> None:
    first, second = Cell.objects.filter(repeat=1, pipeline__label="a")
    Cell.objects.filter(pk=first.pk).update(status="failed", reason="the <llm> broke", session="session-1")
    Cell.objects.filter(pk=second.pk).update(status="done")
    listed = text(browser, "/experiments/")
    assert 'href="/experiments/e%201/"' in listed
    assert "2 of 8 run, 1 failed" in listed
    page = text(browser, "/experiments/e%201/")
    assert "how long it takes is not known yet" in page
    assert "the bus does not answer just now" in page.lower()
    assert "the &lt;llm&gt; broke" in page
    assert 'href="/conversations/session-1/"' in page
    part = text(browser, "/experiments/e%201/?part")
    assert "the &lt;llm&gt; broke" in part
    assert "<html" not in part
    text(browser, "/experiments/none/", 404)


def test_cancelling_is_asked_for_and_done(browser: Client, experiment: Experiment) -> None:
    assert "Cancel e 1?" in text(browser, "/experiments/e%201/cancel/")
    experiment.refresh_from_db()
    assert experiment.status == "running"
    assert browser.post("/experiments/e%201/cancel/").status_code == 302
    experiment.refresh_from_db()
    assert experiment.status == "cancelled"
    page = text(browser, "/experiments/e%201/")
    assert "not all of it is out of the queue" in page, "there is no bus here"
    assert "8 cancelled" in page


def test_who_may_only_look_cancels_nothing(browser: Client, experiment: Experiment, project: Project) -> None:
    viewer = Client()
    viewer.force_login(person("vera", "viewer", project))
    assert "Cancel …" not in text(viewer, "/experiments/e%201/")
    assert viewer.post("/experiments/e%201/cancel/").status_code == 403
    annotator = Client()
    annotator.force_login(person("ann", "annotator", project))
    text(annotator, "/experiments/", 403)


def test_who_played_the_user_is_said_where_that_were_not_the_recordings(
    browser: Client, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "The user" not in text(browser, "/experiments/e%201/")
    script = {"kind": "script", "version": "1", "parameters": {}, "voice": "piper", "voice_parameters": {}}
    Experiment.objects.update(pace="realtime", player=script)
    assert "<dt>The user</dt><dd>script; voice piper</dd>" in text(browser, "/experiments/e%201/")
    several = [{"builds": [], "cells": 2, "player": "player:script 1"}, {"builds": [], "cells": 1, "player": "other"}]
    real = comparing.compared
    told = {"player": "script; voice piper", "players": several}
    monkeypatch.setattr(comparing, "compared", lambda *asked, **by: real(*asked, **by) | told)
    page = text(browser, "/experiments/e%201/comparison/")
    assert "· the user played by script; voice piper" in page
