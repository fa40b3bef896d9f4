"""Datasets over REST: kept once and for good, whoever sends them, and read again."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.support import Api, api_for
from openomni.api.accounts.models import Project, Scope
from openomni.api.datasets import keeping
from openomni.api.datasets.models import Dataset, DatasetSample, DatasetUtterance, DatasetVersion
from openomni.api.datasets.reading import samples_of, version_named
from openomni.api.ground.caller import Caller
from openomni.api.ground.errors import Refusal
from openomni.api.records.models import Recording
from openomni.datasets import Sample, Sound, Utterance, dataset_hash

SHA = {"r1": "1" * 64, "r2": "2" * 64}


@pytest.fixture
def recordings(project: Project) -> None:
    for key, sha256 in SHA.items():
        recording(project, key, sha256=sha256)


def recording(project: Project, key: str, **fields: Any) -> Recording:
    known: dict[str, Any] = {"status": "complete", "sha256": "0" * 64, "rate": 16_000, "samples": 160_000} | fields
    return Recording.objects.create(project=project, id=key, **known)


def sample(key: str, path: str = "r1", **fields: Any) -> dict[str, Any]:
    return {"id": key, "utterances": [{"sound": {"path": path}, **fields}]}


def kept(caller: Api, *samples: dict[str, Any], name: str = "home", **fields: Any) -> Any:
    return caller("POST", "/datasets", {"name": name, "samples": list(samples), **fields}, 201)


@pytest.mark.usefixtures("recordings")
def test_the_same_content_is_the_same_version_and_another_the_next(admin: Api) -> None:
    first = kept(admin, sample("a", text="Hello."), sample("b", "r2"))
    again = kept(admin, sample("b", "r2"), sample("a", text="Hello."))
    other = kept(admin, sample("a", text="Hello!"), sample("b", "r2"))
    assert [each["version"] for each in (first, again, other)] == [1, 1, 2]
    values = [
        Sample(id="a", utterances=(Utterance(sound=Sound("r1"), text="Hello."),)),
        Sample(id="b", utterances=(Utterance(sound=Sound("r2")),)),
    ]
    assert first["hash"] == dataset_hash(values, SHA)
    assert [each["version"] for each in other["versions"]] == [2, 1]
    assert kept(admin, sample("a"), name="ward")["version"] == 1
    assert not Dataset.objects.filter(draft=True).exists()


@pytest.mark.usefixtures("recordings")
def test_it_is_listed_and_read_by_pages(admin: Api, project: Project, stranger: Api) -> None:
    kept(admin, *(sample(f"s{number}", text=str(number)) for number in range(3)), sample("x", "r2", speaker="ann"))
    kept(admin, sample("z"), name="ward", derived_from="home@1", derivation={"noise": "pink"}, pairs={"z": "s1"})
    viewer = api_for(project, Scope.VIEWER)
    assert [each["name"] for each in viewer("GET", "/datasets")["items"]] == ["home", "ward"]
    listed = viewer("GET", "/datasets/home/samples?limit=3")
    assert [each["id"] for each in listed["items"]] == ["s0", "s1", "s2"]
    assert listed["items"][1]["sample"]["utterances"][0]["text"] == "1"
    rest = viewer("GET", f"/datasets/home/samples?version=1&cursor={listed['next']}")
    assert [each["id"] for each in rest["items"]] == ["x"]
    derived = viewer("GET", "/datasets/ward")
    assert (derived["derived_from"], derived["derivation"]) == ("home@1", {"noise": "pink"})
    assert viewer("GET", "/datasets/ward/samples")["items"][0]["pair"] == "s1"
    assert "did you mean 'home'?" in viewer.error("GET", "/datasets/hom", status=404)
    assert "there are: 1" in viewer.error("GET", "/datasets/home?version=2", status=404)
    assert stranger("GET", "/datasets")["items"] == []
    viewer.error("POST", "/datasets", {"name": "mine", "samples": [sample("a")]}, status=403)


@pytest.mark.usefixtures("recordings")
def test_others_of_the_server_read_a_version_by_its_name(admin: Api, project: Project, other_project: Project) -> None:
    kept(admin, sample("a", text="one"))
    kept(admin, sample("a", text="two"))
    caller = Caller(project.pk, frozenset())
    ((row, value),) = samples_of(version_named(caller, "home"))
    assert (row.sample_id, value.utterances[0].text) == ("a", "two")
    assert samples_of(version_named(caller, "home@1"))[0][1].utterances[0].text == "one"
    for text in ("home@3", "home@x", "home@", "", "/x"):
        with pytest.raises(Refusal):
            version_named(caller, text)
    with pytest.raises(Refusal):
        version_named(Caller(other_project.pk, frozenset()), "home")


@pytest.mark.usefixtures("recordings")
def test_the_sheet_counts_what_it_holds(admin: Api) -> None:
    spoken = {"speaker": "ann", "language": "en", "consent": "research", "emotion": "joy"}
    dialogue = {"id": "d", "utterances": [
        {"sound": {"path": "r1", "start": 1.0, "end": 3.5}, "text": "", **spoken},
        {"sound": {"path": "r2", "start": 4.0}, "answer": "yes", "when": {"rule": "into_reply", "word": 2}},
    ]}  # fmt: skip
    sheet = kept(admin, dialogue, sample("a", text="Hello.", speaker="bob"))["sheet"]
    assert (sheet["seconds"], sheet["samples"], sheet["utterances"], sheet["recordings"]) == (18.5, 2, 3, 2)
    assert (sheet["dialogues"], sheet["needs_realtime"]) == (1, 1)
    assert sheet["references"] == {"text": 2, "answer": 1, "speaker": 2, "emotion": 1, "language": 1}
    assert sheet["speakers"] == {"known": 2, "utterances": {"ann": 1, "bob": 1}, "more": 0, "unknown": 1}
    assert sheet["consent"]["utterances"] == {"research": 1}


@pytest.mark.usefixtures("recordings")
def test_what_its_samples_name_is_here_complete_and_the_callers(
    admin: Api, project: Project, other_project: Project
) -> None:
    recording(project, "half", status="receiving")
    recording(project, "still", kind="picture")
    recording(other_project, "theirs")

    def refused(status: int, *samples: dict[str, Any], **fields: Any) -> str:
        return admin.error("POST", "/datasets", {"name": "home", "samples": list(samples), **fields}, status=status)

    assert "no recording 'nowhere'" in refused(404, sample("a"), sample("b", "nowhere"))
    assert "no recording 'theirs'" in refused(404, sample("a", "theirs"))
    assert "still being uploaded" in refused(409, sample("a", "half"))
    assert "picture" in refused(422, sample("a", "still"))
    assert "two samples 'a'" in refused(409, sample("a"), sample("a", "r2"))
    late = {"id": "a", "utterances": [{"sound": {"path": "r1", "start": 9.0, "end": 11.0}}]}
    assert "lasts 10.00 s" in refused(422, late)
    assert "promised" in refused(409, sample("a"), hash="0" * 64)
    assert "did you mean" not in refused(404, sample("a"), derived_from="nothing")
    assert not Dataset.objects.exists()


@pytest.mark.usefixtures("recordings")
def test_a_large_one_comes_in_parts_that_may_come_twice(admin: Api) -> None:
    def part(offset: int, *keys: str, status: int = 202) -> Any:
        body = {"offset": offset, "samples": [sample(key) for key in keys]}
        return admin("POST", "/dataset-drafts/d1/samples", body, status)

    assert "no draft" in part(2, "c", status=404)["error"]
    assert part(0, "a", "b")["received"] == 2
    assert part(0, "a", "b")["received"] == 2  # its answer was lost
    assert part(3, "d", status=409)["received"] == 2
    assert part(1, "x", status=409)["received"] == 2
    assert "two samples 'a'" in part(2, "a", status=409)["error"]
    assert part(2, "c")["received"] == 3
    assert admin("GET", "/datasets")["items"] == []
    values = [Sample(id=key, utterances=(Utterance(sound=Sound("r1")),)) for key in "abc"]
    digest = dataset_hash(values, SHA)
    for _ in range(2):  # the second time there is no draft any more, but what it became
        made = admin("POST", "/datasets", {"name": "home", "draft": "d1", "hash": digest}, 201)
        assert (made["version"], made["samples"], made["hash"]) == (1, 3, digest)
    assert "no draft" in admin.error("POST", "/datasets", {"name": "home", "draft": "d1"}, status=404)
    admin.error("POST", "/datasets", {"name": "home"}, status=400)


@pytest.mark.usefixtures("recordings")
def test_a_project_has_only_so_many_drafts(admin: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "DRAFTS", 1)
    body = {"offset": 0, "samples": [sample("a")]}
    admin("POST", "/dataset-drafts/d1/samples", body, 202)
    assert "finish one" in admin("POST", "/dataset-drafts/d2/samples", body, 429)["error"]
    monkeypatch.setattr(keeping, "STALE", keeping.STALE * 0)
    admin("POST", "/dataset-drafts/d2/samples", body, 202)
    assert not Dataset.objects.filter(name="/d1").exists()


@pytest.mark.usefixtures("recordings")
def test_whoever_speaks_is_found_by_their_code(admin: Api, project: Project) -> None:
    Recording.objects.filter(pk="r2").update(participant="p7")
    kept(admin, sample("a", speaker="ann"), sample("b", "r2"))
    assert set(DatasetUtterance.objects.values_list("sample__sample_id", "participant")) == {("a", "ann"), ("b", "p7")}


@pytest.mark.django_db(transaction=True)
def test_two_who_keep_the_same_at_once_get_the_same_version() -> None:
    project = Project.objects.create(slug="home", name="Home")
    recording(project, "r1")
    caller, met = Caller(project.pk, frozenset()), threading.Barrier(4)
    numbers: list[tuple[str, int]] = []

    def make(number: int) -> None:
        from django.db import connection

        text = f"text {number % 2}"
        value = Sample(id="a", utterances=(Utterance(sound=Sound("r1"), text=text),))
        keeping.add(caller, f"d{number}", 0, [value], {})
        met.wait(20)
        numbers.append((text, keeping.freeze(caller, f"d{number}", keeping.About(name="home")).number))
        connection.close()

    threads = [threading.Thread(target=make, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(numbers) == 4
    assert len(set(numbers)) == 2
    assert {number for _, number in numbers} == {1, 2}
    assert DatasetVersion.objects.count() == 2
    assert DatasetSample.objects.count() == 2


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
almost = st.fixed_dictionaries(
    {"id": st.text(max_size=4) | json_values, "utterances": st.lists(
        st.fixed_dictionaries(
            {"sound": st.fixed_dictionaries(
                {"path": st.sampled_from(["r1", "r2", ""]) | json_values},
                optional={"start": st.floats(0, 9) | json_values, "end": st.floats(0, 10) | json_values,
                          "track": json_values, "channel": st.integers(0, 70)},
            )},
            optional={"text": st.text(max_size=9) | json_values, "fields": json_values, "speaker": st.text(max_size=9),
                      "when": st.sampled_from([{"rule": "into_reply", "word": 1}, {"rule": "no"}]) | json_values,
                      "other": json_values},
        ) | json_values,
        max_size=3,
    ) | json_values},
    optional={"group": st.text(max_size=9) | json_values},
)  # fmt: skip


@pytest.mark.usefixtures("recordings")
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(samples=st.lists(almost, max_size=3))
def test_whatever_is_sent_is_kept_as_it_was_or_refused_in_one_line(admin: Api, samples: list[Any]) -> None:
    answer = admin.raw("POST", "/datasets", {"name": "any", "samples": samples})
    assert answer.status_code in (201, 400, 404, 409, 422), answer.content
    if answer.status_code != 201:
        assert b"\n" not in answer.content
        return
    version = DatasetVersion.objects.get(hash=answer.json()["hash"])  # type: ignore[attr-defined]
    values = [value for _, value in samples_of(version)]
    assert dataset_hash(values, SHA) == version.hash
    assert [value.id for value in values] == [each["id"] for each in samples]
