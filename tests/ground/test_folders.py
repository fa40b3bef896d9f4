"""Where things are kept for a user who has no home, and says nothing or says where."""

from __future__ import annotations

import pwd
from pathlib import Path

import pytest

from openomni import folders

PLACES = {
    folders.server_data: "OPENOMNI_DATA_DIR",
    folders.agents_data: "OPENOMNI_AGENT_DIR",
    folders.spool: "OPENOMNI_SPOOL",
    folders.models: "OPENOMNI_MODELS",
    folders.cache: "XDG_CACHE_HOME",
}


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A user id without a name, as containers have them, and no HOME."""

    def nameless(number: int) -> pwd.struct_passwd:
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", nameless)
    for name in ("HOME", *PLACES.values(), "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_a_user_without_a_home_is_told_what_to_set(nobody: pytest.MonkeyPatch) -> None:
    for place, variable in PLACES.items():
        with pytest.raises(folders.Homeless, match=f"set HOME, or {variable}, to a folder"):
            place()
    assert folders.settings() is None


def test_what_is_named_needs_no_home(nobody: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nobody.setenv("OPENOMNI_DATA_DIR", str(tmp_path))
    nobody.setenv("OPENOMNI_MODELS", str(tmp_path))
    assert folders.server_data() == folders.models() == tmp_path
    nobody.setenv("HOME", str(tmp_path))
    assert folders.spool().is_relative_to(tmp_path)
