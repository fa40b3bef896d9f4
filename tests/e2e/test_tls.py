"""`openomni up --tls`: all parts come in over HTTPS, by a certificate that was made here."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from e2e.conftest import Installation, installation
from e2e.refusals import OFFER, pipeline

pytestmark = pytest.mark.long

ELSEWHERE = "127.0.0.5"
"""An address that is no usual name of this machine, so the certificate holds for it because it was asked to."""


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installation(tmp_path_factory.mktemp("tls"), "--tls", "--host", ELSEWHERE, "--offer", OFFER) as made:
        yield made


@pytest.fixture
def trusted(secured: Installation) -> Path:
    return secured.folder / "data" / "tls" / "trusted.pem"


def test_an_agent_and_a_listener_converse_over_it(secured: Installation, trusted: Path, question: Path) -> None:
    assert secured.url.startswith(f"https://{ELSEWHERE}:")
    with httpx.Client(base_url=secured.url, verify=ssl.create_default_context(cafile=trusted)) as client:
        headers = {"Authorization": f"Bearer {secured.token}"}
        client.put("/api/v1/pipelines/sim", json={"spec": pipeline("sim")}, headers=headers).raise_for_status()
        agents = client.get("/api/v1/agents", headers=headers).json()["items"]
        assert [each["name"] for each in agents] == ["local"], "its own agent came in over HTTPS"
    done = secured.run("listen", "--source", f"file:{question}", "--pipeline", "sim", "--wait", "--json", "turns.json",
                       SSL_CERT_FILE=str(trusted))  # fmt: skip
    assert done.returncode == 0, done.stderr + secured.logs()


def test_who_does_not_trust_it_is_told_the_mend(secured: Installation, question: Path) -> None:
    done = secured.run("listen", "--source", f"file:{question}", "--pipeline", "sim")
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1
    assert "SSL_CERT_FILE" in done.stderr


def test_the_code_for_the_phone_signs_in_once_and_cookies_stay_on_https(secured: Installation, trusted: Path) -> None:
    with httpx.Client(base_url=secured.url, verify=ssl.create_default_context(cafile=trusted)) as client:
        shown = (secured.folder / "up.log").read_text()
        assert f"{secured.url}/" in shown
        assert "SHA-256 " in shown
        (path,) = re.findall(r"sign in \(once\):\s+\S+?(/sign-in/\S+)", shown)
        answer = client.get(path)
        assert answer.is_redirect
        cookies = answer.headers.get_list("set-cookie")
        assert any(each.startswith("openomni_session=") for each in cookies)
        assert all("Secure" in each for each in cookies)
        assert client.get(path).status_code == 410
