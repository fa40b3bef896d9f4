"""The catalogue: ours, and what a user adds."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from models.conftest import Shelf
from openomni import models
from openomni.errors import WrongUsage
from openomni.models.catalogue import Pin


def test_ours_pins_every_file_and_names_no_model_twice() -> None:
    catalogue = models.load_catalogue()
    names = [name for model in catalogue for name in (model.name, *model.aliases)]
    assert len(names) == len(set(names))
    for model in catalogue:
        assert model.sources
        assert model.licence
        for pin in model.files.values():
            assert re.fullmatch(r"[0-9a-f]{64}", pin.sha256)
            assert pin.size > 0


def test_what_pins_a_file_says_no_more_than_that() -> None:
    pin = {"size": 1, "sha256": "0" * 64}
    assert hash(msgspec.convert(pin, Pin)) == hash(msgspec.convert(pin, Pin))
    with pytest.raises(msgspec.ValidationError, match="unknown field `sha1`"):
        msgspec.convert({**pin, "sha1": "0"}, Pin)


def test_a_users_file_adds_models_and_replaces_ours(shelf: Shelf) -> None:
    shelf.add("mine", {"a": b"a"}, [{"path": "/models"}], aliases=["m"])
    shelf.add("whisper-tiny.en", {"b": b"b"}, [{"path": "/models"}])
    catalogue = models.load_catalogue()
    assert catalogue.find("m").name == "mine"
    assert list(catalogue.find("whisper-tiny.en").files) == ["b"]
    assert "smollm2-135m-instruct" in catalogue


def test_an_unknown_name_gives_the_nearest() -> None:
    with pytest.raises(WrongUsage, match="did you mean 'en_US-joe-medium'"):
        models.load_catalogue().find("en_US-jo-medium")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ({"wheel": "x==1", "url": "http://h/"}, "exactly one of wheel, hub, url and path"),
        ({"wheel": "x"}, "must be pinned"),
        ({"hubb": "a/b"}, "unknown field `hubb`"),
    ],
)
def test_a_wrong_source_is_one_line_with_the_file(
    shelf: Shelf, tmp_path: Path, source: dict[str, str], reason: str
) -> None:
    shelf.add("mine", {"a": b"a"}, [source])
    with pytest.raises(WrongUsage, match=reason) as caught:
        models.load_catalogue()
    assert str(tmp_path / "catalogue.yaml") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_name_that_leads_out_of_the_cache_is_refused(shelf: Shelf) -> None:
    shelf.add("mine", {"../../etc/passwd": b"a"}, [{"path": "/models"}])
    with pytest.raises(WrongUsage, match="leads out of the model's folder"):
        models.load_catalogue()


def test_a_catalogue_that_is_not_there_or_no_yaml_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENOMNI_CATALOGUE", str(tmp_path / "none.yaml"))
    with pytest.raises(WrongUsage, match=r"none\.yaml can't be read"):
        models.load_catalogue()
    (tmp_path / "none.yaml").write_text("models: [")
    with pytest.raises(WrongUsage, match=r"none\.yaml: while parsing"):
        models.load_catalogue()
