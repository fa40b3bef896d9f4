"""`openomni api …`: what an operator does without a browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from api.support import Api
from openomni.api import secrets
from openomni.api.accounts.models import Membership, Project, User
from openomni.cli.main import run
from openomni.errors import WrongUsage


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That of a server; its tables are those of the tests."""
    folder = tmp_path / "data"
    monkeypatch.setenv("OPENOMNI_DATA_DIR", str(folder))
    secrets.ensure(folder)
    (folder / "openomni.sqlite3").write_bytes(b"elsewhere")
    return folder


@pytest.fixture
def openomni(db: None, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs `openomni api …` and gives what it printed."""

    def command(*arguments: str) -> str:
        with pytest.raises(SystemExit) as end:
            run(["api", *arguments])
        assert end.value.code in (0, None)
        return capsys.readouterr().out.strip()

    return command


def test_a_project_with_a_token_and_a_person(openomni: Any, tmp_path: Path) -> None:
    openomni("project", "create", "ward", "--name", "Ward 3")
    assert Project.objects.get(pk="ward").name == "Ward 3"
    written = tmp_path / "token.json"
    token = openomni(
        "token", "create", "--project", "ward", "--scope", "device,viewer", "--expires", "30d", "--json", str(written)
    )
    assert json.loads(written.read_text())["token"] == token
    assert written.stat().st_mode & 0o777 == 0o600
    assert Api(token)("GET", "/me")["scopes"] == ["device", "viewer"]
    link = openomni("user", "create", "ada", "--project", "ward", "--role", "annotator")
    assert Membership.objects.get(user__username="ada").role == "annotator"
    assert Client().get(link).headers["Location"] == "/password/"


def test_a_device_gets_a_token_with_its_place(openomni: Any, capsys: pytest.CaptureFixture[str]) -> None:
    openomni("project", "create", "ward")
    told = openomni("site", "create", "ward-3", "--name", "Ward 3", "--project", "ward")
    assert "--scope device --site ward-3" in told
    openomni("device", "create", "mic", "--site", "ward-3", "--project", "ward")
    token = openomni("token", "create", "--project", "ward", "--scope", "device", "--device", "mic")
    assert Api(token)("GET", "/me")["device"] == "mic"
    with pytest.raises(SystemExit):
        run(["api", "token", "create", "--project", "ward", "--scope", "device"])
    assert "only what is made with it" in capsys.readouterr().err


def test_the_first_start_happens_once(openomni: Any, tmp_path: Path) -> None:
    written = tmp_path / "first.json"
    openomni("bootstrap", "--json", str(written))
    first = json.loads(written.read_text())
    assert Api(first["token"])("GET", "/me")["project"] == "default"
    assert Client().get(first["sign_in_path"]).status_code == 302
    assert "set up already" in openomni("bootstrap", "--json", str(written))
    assert json.loads(written.read_text()) is None


def test_a_lost_password_is_mended_with_a_new_link(openomni: Any) -> None:
    User.objects.create_user("ada", password="forgotten long ago", is_staff=True)
    link = openomni("sign-in", "ada")
    assert not Client().login(username="ada", password="forgotten long ago")
    assert Client().get(link).status_code == 302


def test_an_external_bus_is_told_whom_to_trust_and_no_secret(openomni: Any, server_settings: Any) -> None:
    printed = openomni("bus-config")
    assert printed.startswith("operator: ")
    for seed in server_settings.BUS_SEEDS.values():
        assert seed not in printed


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["token", "create", "--project", "defalt", "--scope", "device"], "did you mean 'default'?"),
        (["token", "create", "--scope", "devise"], "did you mean 'device'?"),
        (["token", "create", "--scope", "device", "--expires", "soon"], "write it like 12h, 30d"),
        (["token", "create", "--scope", "device", "--site", "attic"], "there are none"),
        (["project", "create", "No Good"], "small letters"),
        (["project", "create", "default"], "already exists"),
        (["user", "create", "bob", "--role", "boss"], "there are: annotator"),
        (["user", "create", "bad name!"], "valid username"),
        (["sign-in", "ownr"], "there are none"),
    ],
)
def test_a_wrong_call_is_one_line_with_the_mend(db: None, arguments: list[str], says: str) -> None:
    Project.objects.create(slug="default", name="Default")
    with pytest.raises(WrongUsage) as error:
        run(["api", *arguments])
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_the_migrations_make_what_the_models_say(db: None) -> None:
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)
