from __future__ import annotations

import pytest

from openomni.agent.offers import resolve
from openomni.components import registry
from openomni.errors import OpenOmniError, WrongUsage
from openomni.pipeline import spec


def test_a_list_names_roles_kinds_and_components() -> None:
    offer = resolve("host,stt:simulated,llm:simulated")
    assert offer.roles == ["host"]
    assert {("stt", "simulated"), ("llm", "simulated")} <= offer.components.keys()
    assert ("tts", "simulated") not in offer.components


def test_a_caller_offers_nothing_else() -> None:
    offer = resolve("caller")
    assert (offer.roles, dict(offer.components)) == (["caller"], {})


def test_a_host_has_voice_activity_detectors_too() -> None:
    assert ("vad", "energy") in resolve("host").components
    assert ("vad", "energy") not in resolve("stt:simulated").components


def test_simulated_components_are_offered_only_by_name() -> None:
    assert not any(name == "simulated" for _, name in resolve("all").components)
    assert not any(name == "simulated" for _, name in resolve("tts,host").components)


def test_all_is_host_caller_and_whatever_is_usable_here() -> None:
    offer = resolve("all")
    assert offer.roles == ["host", "caller"]
    assert offer.covers(spec.builtin()["local"])


def test_a_remote_provider_is_offered_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipeline may name a server of one's own that asks for none: Ollama, say."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert {("stt", "openai"), ("llm", "openai"), ("tts", "openai")} <= resolve("all").components.keys()


def test_an_unknown_term_is_answered_with_the_nearest() -> None:
    with pytest.raises(WrongUsage, match="unknown 'hots'; did you mean 'host'"):
        resolve("hots")
    with pytest.raises(WrongUsage, match="unknown stt component 'faster-wisper'; did you mean 'faster-whisper'"):
        resolve("stt:faster-wisper")
    with pytest.raises(WrongUsage, match="names nothing"):
        resolve(" , ")


def test_a_missing_dependency_is_answered_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_importable", lambda module: False)
    monkeypatch.setattr(registry, "_declared", {})
    with pytest.raises(OpenOmniError, match=r"stt:faster-whisper needs .*run ./setup local in"):
        resolve("stt:faster-whisper")
    with pytest.raises(OpenOmniError, match=r"no stt component is usable here; .*run ./setup local in"):
        resolve("stt")
