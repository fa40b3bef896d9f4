"""A whole OpenOmni as a user starts it: every part a process of its own, the real local models."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import httpx
import pytest

import commands
from e2e.refusals import OFFER, pipeline
from prepared import with_tables

PATIENCE = 180.0


def openomni(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "openomni.cli.main", *arguments]


@dataclass
class Installation:
    """A running server, and commands against it."""

    folder: Path
    url: str = ""
    token: str = ""
    cookies: list[Any] = field(default_factory=list)
    """Of a browser in which its owner has signed in."""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "OPENOMNI_SERVER": self.url, "OPENOMNI_TOKEN": self.token}

    def start(self, name: str, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                openomni(*arguments), stdout=log, stderr=log, env={**self.environment, **environment}, cwd=self.folder
            )
        self.processes[name] = process
        return process

    def agent(self, name: str, offer: str, **environment: str) -> subprocess.Popen[bytes]:
        return self.agents({name: offer}, **environment)[name]

    def agents(self, offers: dict[str, str], **environment: str) -> dict[str, subprocess.Popen[bytes]]:
        """Started beside each other, by name; all ready when this returns."""
        ready = {name: self.folder / f"{name}.ready" for name in offers}
        started = {
            name: self.start(
                name, "agent", "--name", name, "--offer", offer, "--ready-file", str(ready[name]),
                "--data-dir", str(self.folder / name), **environment,
            )
            for name, offer in offers.items()
        }  # fmt: skip
        for name in offers:
            self.wait_for(ready[name], name)
        return started

    def run(self, *arguments: str, timeout: float = PATIENCE, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            openomni(*arguments), capture_output=True, text=True, timeout=timeout, cwd=self.folder,
            env={**self.environment, **environment}, check=False,
        )  # fmt: skip

    def tried(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """As `run`, quicker: for what a command says, not for how it starts."""
        return commands.run(arguments, self.folder, {**self.environment, **environment}, PATIENCE)

    def listen(self, source: Path, *options: str, **environment: str) -> list[dict[str, Any]]:
        """Replays a file and waits; the turns that came of it."""
        out = self.folder / "turns.json"
        out.unlink(missing_ok=True)
        done = self.run("listen", "--source", f"file:{source}", "--wait", "--json", str(out), *options, **environment)
        assert done.returncode == 0, done.stderr + self.logs()
        turns: list[dict[str, Any]] = json.loads(out.read_text())["turns"]
        return turns

    def put_pipeline(self, spec: dict[str, Any]) -> None:
        answer = self.request("PUT", f"/api/v1/pipelines/{spec['name']}", json={"spec": spec})
        assert answer.is_success, answer.text

    def request(self, method: str, path: str, token: str = "", **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token or self.token}"}
        return httpx.request(method, self.url + path, headers=headers, timeout=30, **options)

    def wait_for(self, file: Path, name: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not file.is_file():
            assert self.processes[name].poll() is None, f"{name} ended: {self.logs()}"
            assert time.monotonic() < deadline, f"{name} is not ready: {self.logs()}"
            time.sleep(0.05)

    def logs(self) -> str:
        files = [*self.folder.glob("*.log"), *self.folder.glob("data/logs/*.log")]
        return "".join(f"\n== {file.name}\n{file.read_text(errors='replace')[-2000:]}" for file in files)

    def stop(self) -> None:
        for process in reversed(self.processes.values()):
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(45)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def installation(folder: Path, *options: str) -> Iterator[Installation]:
    """`openomni up` with `options`; stopped at the end."""
    made = Installation(folder)
    ready = folder / "ready.json"
    arguments = [
        "up",
        "--data-dir",
        str(with_tables(folder / "data")),
        "--port",
        "0",
        "--ready-file",
        str(ready),
        *options,
    ]
    try:
        made.start("up", *arguments)
        made.wait_for(ready, "up")
        found = json.loads(ready.read_text())
        made.url, made.token = found["url"], found["token"]
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="package")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """All in one with the built-in `local` pipeline, shared by the tests that only use it."""
    with installation(tmp_path_factory.mktemp("local")) as made:
        yield made


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Installation]:
    """Gateway, API and bus, no agent."""
    with installation(tmp_path, "--no-agent") as made:
        yield made


@pytest.fixture(scope="package")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """All in one with simulated components, and the pipeline `sim` of them."""
    with installation(tmp_path_factory.mktemp("simulated"), "--offer", OFFER) as made:
        made.put_pipeline(pipeline("sim"))
        yield made


@pytest.fixture(scope="session")
def question() -> Path:
    return Path(str(resources.files("openomni.cli") / "data" / "question.wav"))
