"""`openomni up` as a user has it: the first start, the next ones, and all that ends it."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from prepared import with_tables

PATIENCE = 90.0
Start = Callable[..., "Up"]


@dataclass
class Up:
    process: subprocess.Popen[bytes]
    folder: Path
    output: Path
    ready_file: Path

    def ready(self) -> Up:
        self.until(self.ready_file.is_file)
        return self

    def until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not done():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.02)

    @property
    def said(self) -> str:
        return self.output.read_text()

    @property
    def known(self) -> dict[str, str]:
        found: dict[str, str] = json.loads(self.ready_file.read_text())
        return found

    def get(self, path: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.known['token']}"}
        return httpx.get(self.known["url"] + path, headers=headers, timeout=20, trust_env=False)

    def children(self) -> dict[str, psutil.Process]:
        """By what they are: api, gateway, agent, nats."""
        found = {}
        for child in psutil.Process(self.process.pid).children():
            try:
                command = child.cmdline()
            except psutil.NoSuchProcess:
                continue  # it just ended
            if not command:
                continue  # it ended, and nobody has asked for its exit code yet
            found["nats" if "nats-server" in command[0] else command[command.index("openomni.cli.main") + 1]] = child
        return found

    def end(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(45)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Start]:
    """`up(*options)` starts it on the same data directory each time."""
    started: list[Up] = []

    def start(*options: str, folder: Path | None = None) -> Up:
        folder = folder or with_tables(tmp_path / "data")
        output, ready = tmp_path / f"up-{len(started)}.log", tmp_path / f"ready-{len(started)}.json"
        arguments = ["up", "--port", "0", "--data-dir", str(folder), "--ready-file", str(ready), *options]
        with output.open("wb") as log:
            command = [sys.executable, "-m", "openomni.cli.main", *arguments]
            started.append(Up(subprocess.Popen(command, stdout=log, stderr=log), folder, output, ready))
        return started[-1]

    yield start
    for each in started:
        each.end()


def test_the_first_start_shows_the_way_in_and_the_next_keeps_it(up: Start) -> None:
    first = up("--no-agent").ready()
    token = first.known["token"]
    assert first.known["url"] in first.said
    assert token in first.said
    link = re.search(r"http\S+/sign-in/\S+", first.said)
    assert link
    assert httpx.get(link[0], trust_env=False).headers["Location"] == "/password/"
    assert first.get("/api/v1/me").json()["project"] == "default"
    kept = first.folder / "up.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    logs = "".join(path.read_text() for path in (first.folder / "logs").glob("*.log"))
    assert token not in logs
    assert first.end() == 0
    assert not first.ready_file.exists(), "it serves no more"

    second = up("--no-agent").ready()
    assert second.known["token"] == token
    assert "sign in" not in second.said
    assert token not in second.said
    assert second.get("/api/v1/me").status_code == 200
    second.end()

    kept.unlink()
    third = up("--no-agent").ready()
    assert third.known["token"] != token, "what is lost is made anew"
    assert third.get("/api/v1/me").status_code == 200
    assert "sign-in" not in third.said, "somebody has an account already"


@pytest.mark.long
def test_an_agent_that_is_killed_comes_back(up: Start) -> None:
    server = up("--offer", "host,stt:simulated").ready()
    agent = server.children()["agent"]
    agent.kill()
    server.until(lambda: server.children().get("agent", agent) != agent)
    server.until(lambda: any(each["alive"] for each in server.get("/api/v1/agents").json()["items"]))
    assert server.process.poll() is None


@pytest.mark.long
def test_an_agent_that_can_never_work_ends_it_with_its_line(up: Start) -> None:
    server = up("--offer", "stt:nosuch")
    assert server.process.wait(PATIENCE) == 1
    line = server.said.strip().splitlines()[-1]
    assert "the agent ended with exit code 2" in line
    assert "nosuch" in line


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.long
def test_it_ends_in_order(up: Start, number: int) -> None:
    server = up("--offer", "host,stt:simulated").ready()
    parts = server.children()
    assert set(parts) == {"api", "gateway", "agent", "nats"}
    assert server.end(number) == 0
    assert "Traceback" not in server.said
    assert not any(part.is_running() for part in parts.values())
    assert "draining" in (server.folder / "logs" / "agent.log").read_text()


@pytest.mark.long
def test_killed_it_leaves_no_process_and_starts_again(up: Start) -> None:
    server = up("--offer", "host,stt:simulated").ready()
    parts = list(server.children().values())
    server.process.kill()
    _, alive = psutil.wait_procs(parts, timeout=45)
    assert not alive
    server.process.wait()
    assert up("--no-agent").ready().get("/api/v1/me").status_code == 200


@pytest.mark.long
def test_two_on_one_folder_is_one_line(up: Start) -> None:
    up("--no-agent").ready()
    second = up("--no-agent")
    assert second.process.wait(PATIENCE) == 1
    assert "another bus runs in" in second.said.splitlines()[-1]


def test_a_port_that_is_taken_is_one_line(up: Start) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        server = up("--port", str(port := holder.getsockname()[1]))
        assert server.process.wait(PATIENCE) == 1
    line = server.said.strip().splitlines()[-1]
    assert line == f"openomni: port {port} on 127.0.0.1 is taken; choose another with --port"


def test_a_folder_that_can_not_be_is_one_line(up: Start, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    server = up(folder=tmp_path / "file" / "data")
    assert server.process.wait(PATIENCE) == 1
    assert "choose another folder with --data-dir" in server.said.splitlines()[-1]


def test_tokens_that_are_damaged_are_one_line(up: Start, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "up.json").write_text("{")
    server = up()
    assert server.process.wait(PATIENCE) == 1
    assert "up.json is damaged; remove it" in server.said.splitlines()[-1]
