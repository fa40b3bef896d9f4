"""Tokens, addresses and ports that are wrong: one line that says what, where and the mend."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
from pathlib import Path

import pytest

from e2e.conftest import Installation
from e2e.refusals import OFFER, pipeline, refused

COMMANDS = {
    "listen": ["listen", "--source", "file:{question}", "--pipeline", "sim"],
    "respond": ["respond", "--sink", "dir:played"],
    "agent": ["agent", "--offer", OFFER, "--data-dir", "agent"],
    "pipelines": ["pipelines", "list"],
}


def called(made: Installation, command: str, question: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return made.tried(*(each.format(question=question) for each in COMMANDS[command]), *options)


def make_token(made: Installation, scope: str, days: float | None = None) -> str:
    limited = {"expires_in_days": days} if days else {}
    answer = made.request("POST", "/api/v1/tokens", json={"scopes": [scope], **limited})
    assert answer.is_success, answer.text
    return str(answer.json()["token"])


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("token", "says"),
    [("mine", "no token of OpenOmni (they start with oo_)"), ("oo_00000000_x", "this token is unknown to this server")],
)
def test_a_bad_token_is_refused(simulated: Installation, question: Path, command: str, token: str, says: str) -> None:
    refused(called(simulated, command, question, "--token", token), 1, says, "openomni api token create")


@pytest.mark.parametrize("command", COMMANDS)
def test_an_expired_token_is_refused_with_the_time(simulated: Installation, question: Path, command: str) -> None:
    token = make_token(simulated, "device", 1e-9)
    refused(called(simulated, command, question, "--token", token), 1, "this token expired on 20", "UTC")


@pytest.mark.parametrize(
    ("command", "scope", "needs"),
    [("listen", "viewer", "device"), ("respond", "agent", "device"), ("agent", "device", "agent")],
)
def test_a_token_of_another_scope_is_refused(
    simulated: Installation, question: Path, command: str, scope: str, needs: str
) -> None:
    refused(called(simulated, command, question, "--token", make_token(simulated, scope)), 1, f"scope `{needs}`")


def test_rest_says_what_is_wrong_with_a_token(simulated: Installation) -> None:
    for header in ("Bearer", "Bearer ", "Bearer mine"):
        status, error = with_header(simulated, header)
        assert status == 401
        assert "oo_" in error
    body = {"spec": pipeline("theirs")}
    answer = simulated.request("PUT", "/api/v1/pipelines/theirs", token=make_token(simulated, "viewer"), json=body)
    assert (answer.status_code, "researcher" in answer.json()["error"]) == (403, True)


def with_header(made: Installation, header: str) -> tuple[int, str]:
    """Status and error of a request with that header, which a client library would not send."""
    connection = http.client.HTTPConnection(made.url.removeprefix("http://"), timeout=30)
    try:
        connection.request("GET", "/api/v1/pipelines", headers={"Authorization": header})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())["error"]
    finally:
        connection.close()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_server_that_is_not_there_is_said(simulated: Installation, question: Path, command: str) -> None:
    done = called(simulated, command, question, "--server", "http://127.0.0.1:1")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("openomni: cannot reach http://127.0.0.1:1 (")
    assert last.endswith("is the server up, and --server right?")


@pytest.mark.long
def test_a_taken_port_is_said(simulated: Installation, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for command in ("up", "api", "gateway"):
            folder = simulated.folder / "data" if command == "gateway" else tmp_path / command
            done = simulated.run(command, "--port", port, "--data-dir", str(folder))
            refused(done, 1, f"port {port} on 127.0.0.1 is taken; choose another with --port")


def test_a_server_that_cannot_start_says_why(simulated: Installation) -> None:
    refused(simulated.run("up", "--port", "0", "--host", "192.0.2.1"), 1, "can't serve on 192.0.2.1", "--host")
    refused(simulated.run("up", "--port", "0", "--data-dir", "/dev/null/x"), 1, "/dev/null/x", "--data-dir")
    refused(simulated.run("api", "--port", "0", DATABASE_URL="mysq://here"), 2, "DATABASE_URL begins with 'mysq'")
