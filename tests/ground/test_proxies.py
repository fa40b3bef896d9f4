"""Which proxy of the environment an address is asked through, whatever client asks."""

from __future__ import annotations

import os
from contextlib import suppress

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openomni import proxies
from openomni.errors import OpenOmniError
from openomni.proxies import httpx_settings, proxy_for

PROXY = "http://proxy.example:3128"
VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


@pytest.mark.parametrize("variable", ["http_proxy", "HTTPS_PROXY", "all_proxy"])
@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "sub.localhost", "127.0.0.1", "127.0.1.1", "[::1]"])
def test_loopback_is_asked_straight(environment: pytest.MonkeyPatch, variable: str, host: str) -> None:
    environment.setenv(variable, PROXY)
    for scheme in ("http", "https", "ws", "wss"):
        assert proxy_for(f"{scheme}://{host}:8000/path") is None


def test_others_go_by_the_proxy_of_their_scheme(environment: pytest.MonkeyPatch) -> None:
    assert proxy_for("https://hub.example") is None
    environment.setenv("https_proxy", PROXY)
    environment.setenv("all_proxy", "other.example:8080")
    assert proxy_for("https://hub.example") == proxy_for("wss://user@hub.example:444/") == PROXY
    assert proxy_for("http://hub.example") == proxy_for("ws://[2001:db8::1]:8000") == "http://other.example:8080"


def test_what_no_proxy_names_is_asked_straight(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("all_proxy", PROXY)
    environment.setenv("no_proxy", "lab.example, 192.0.2.7,2001:db8::1")
    for host in ("lab.example", "gpu.lab.example:8000", "192.0.2.7", "[2001:db8::1]"):
        assert proxy_for(f"http://{host}") is None
    assert proxy_for("http://192.0.2.8") == PROXY
    environment.setenv("no_proxy", "*")
    assert proxy_for("http://192.0.2.8") is None


def test_a_socks_proxy_is_refused_in_a_line_and_no_matter_to_loopback(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ALL_PROXY", "socks5h://me:secret@proxy.example:1080")
    assert httpx.Client(**httpx_settings("http://localhost:8000"))
    with pytest.raises(OpenOmniError, match=r"through all_proxy.*SOCKS.* put hub into no_proxy") as no:
        proxy_for("wss://hub:8000/v1")
    assert "secret" not in str(no.value)
    environment.setenv("https_proxy", PROXY)
    assert proxy_for("wss://hub:8000/v1") == PROXY


def test_other_libraries_and_children_are_told_to_leave_loopback_alone(environment: pytest.MonkeyPatch) -> None:
    proxies.keep_loopback_direct()
    assert "no_proxy" not in os.environ, "there is no proxy"
    environment.setenv("http_proxy", PROXY)
    environment.setenv("NO_PROXY", "lab.example,localhost")
    told = proxies.without("192.0.2.1")
    assert told == dict.fromkeys(("no_proxy", "NO_PROXY"), "lab.example,localhost,127.0.0.1,::1,192.0.2.1")
    for name, value in told.items():
        environment.setenv(name, value)
    assert proxies.without() == told


@given(st.text(), st.sampled_from(["http", "https", "ws", "wss"]))
def test_any_proxy_is_an_address_or_a_line(value: str, scheme: str) -> None:
    value = value.replace("\0", "").encode(errors="ignore").decode()
    with pytest.MonkeyPatch.context() as patch:
        for name in VARIABLES:
            patch.delenv(name, raising=False)
        patch.setenv("all_proxy", value)
        with suppress(OpenOmniError):
            proxy = proxy_for(f"{scheme}://hub.example")
            assert proxy is None or httpx.Proxy(proxy).url.host
