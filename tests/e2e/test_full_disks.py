"""Disks that are full and files that cannot be written: one line, and nothing is lost."""

from __future__ import annotations

import hashlib
import re
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from e2e.conftest import Installation, openomni
from e2e.refusals import children, refused
from openomni.media import Audio

MIB = 1024 * 1024


def limited(most_bytes: int) -> Callable[[], None]:
    """A disk that takes no larger file, for a process to come."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))


def run_on_small_disk(made: Installation, most_bytes: int, *arguments: str, **environment: str) -> Any:
    return subprocess.run(
        openomni(*arguments), capture_output=True, text=True, timeout=60, cwd=made.folder, check=False,
        env={**made.environment, **environment}, preexec_fn=limited(most_bytes),
    )  # fmt: skip


def test_results_that_cannot_be_written_are_said_before_the_work(
    simulated: Installation, tmp_path: Path, question: Path
) -> None:
    listen = ["listen", "--source", f"file:{question}", "--pipeline", "sim"]
    refused(simulated.tried(*listen, "--json", str(tmp_path / "no" / "out.json")), 1, "choose another file with --json")
    (tmp_path / "file").touch()
    for pace in ("realtime", "fast"):
        done = simulated.tried(*listen, "--replies", str(tmp_path / "file"), "--pace", pace, "--wait")
        refused(done, 1, f"replies cannot be written to {tmp_path / 'file'}")
    refused(simulated.tried("respond", "--sink", f"dir:{tmp_path / 'file'}"), 1, "choose another folder")
    refused(simulated.tried(*listen, "--spool", str(tmp_path / "file")), 1, "choose another folder with --spool")


@pytest.mark.parametrize("pace", ["realtime", "fast"])
def test_a_full_spool_is_said(simulated: Installation, tmp_path: Path, pace: str) -> None:
    noise = write_noise(tmp_path / "noise.wav", 200_000)
    listen = ["listen", "--source", f"file:{noise}", "--pipeline", "sim", "--pace", pace]
    done = run_on_small_disk(simulated, 100_000, *listen, "--spool", str(tmp_path / "spool"))
    refused(done, 1, f"the disk of the spool {tmp_path / 'spool'} is full", "free some space")


@contextmanager
def full_disk_of_the_server(made: Installation) -> Iterator[int]:
    """The API can make no file larger than the bytes that this gives."""
    (pid,) = children(made, "openomni.cli.main api")
    most = MIB + max(file.stat().st_size for file in (made.folder / "data").glob("openomni.sqlite3*"))
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
    try:
        yield most
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def write_noise(path: Path, size: int) -> Path:
    Audio(np.random.default_rng(1).normal(0, 0.1, size // 2), 16_000).save(path)
    return path


def test_a_full_server_loses_nothing(simulated: Installation, tmp_path: Path) -> None:
    with full_disk_of_the_server(simulated) as most:
        noise = write_noise(tmp_path / "noise.wav", most + MIB)
        done = simulated.tried(
            "listen", "--source", f"file:{noise}", "--pipeline", "sim", "--pace", "fast", "--spool", str(tmp_path)
        )
        refused(done, 1, "no room left", "free some space", "the recording is kept: openomni listen --resume-uploads")
    check_resumed(simulated, tmp_path, noise)


def check_resumed(made: Installation, spool: Path, source: Path) -> None:
    """The one recording that waits in the spool is the source, and goes up."""
    (sidecar,) = spool.glob("*.json")
    assert sidecar.with_suffix(".wav").read_bytes() == source.read_bytes()
    done = made.run("listen", "--resume-uploads", "--spool", str(spool))
    assert done.returncode == 0, done.stderr
    assert not sidecar.exists()
    content = made.request("GET", f"/api/v1/recordings/{sidecar.stem}/content")
    assert content.content == source.read_bytes()


@pytest.mark.long
def test_an_interrupted_listener_keeps_its_capture_and_says_how_to_upload_it(
    simulated: Installation, tmp_path: Path
) -> None:
    with full_disk_of_the_server(simulated) as most:
        noise = write_noise(tmp_path / "noise.wav", most + MIB)
        listen = ["listen", "--source", f"file:{noise}", "--pipeline", "sim", "--spool", str(tmp_path)]
        listener = subprocess.Popen(
            openomni(*listen), env=simulated.environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True
        )
        while not list(tmp_path.glob("*.json")):
            assert listener.poll() is None
            time.sleep(0.05)
        listener.send_signal(signal.SIGINT)
        _, said = listener.communicate(timeout=60)
    assert listener.returncode == 1
    assert "1 recording is not uploaded yet" in said
    assert said.endswith("it is kept: openomni listen --resume-uploads\n")
    check_resumed(simulated, tmp_path, noise)


def catalogue(folder: Path, content: bytes, claimed: bytes) -> dict[str, Any]:
    """The environment in which the catalogue has a model `toy` of that content, pinned to what was claimed."""
    (folder / "source").mkdir()
    (folder / "source" / "toy.bin").write_bytes(content)
    pin = {"size": len(claimed), "sha256": hashlib.sha256(claimed).hexdigest()}
    toy = {
        "kind": "stt", "component": "toy", "licence": "MIT", "files": {"toy.bin": pin},
        "sources": [{"path": str(folder / "source")}],
    }  # fmt: skip
    (folder / "models.yaml").write_text(yaml.safe_dump({"models": {"toy": toy}}))
    return {"OPENOMNI_CATALOGUE": str(folder / "models.yaml"), "OPENOMNI_MODELS": str(folder / "cache")}


def test_a_model_with_another_hash_is_refused(simulated: Installation, tmp_path: Path) -> None:
    environment = catalogue(tmp_path, b"evil", b"good")
    done = simulated.tried("models", "pull", "toy", **environment)
    assert done.returncode == 1
    assert re.search(r"toy\.bin has the SHA-256 \w+… where the catalogue says \w+…; refused", done.stderr)
    assert not (tmp_path / "cache" / "toy" / "toy.bin").exists()


def test_a_full_model_cache_is_said(simulated: Installation, tmp_path: Path) -> None:
    content = bytes(300_000)
    done = run_on_small_disk(simulated, 100_000, "models", "pull", "toy", **catalogue(tmp_path, content, content))
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert f"the disk of {tmp_path / 'cache'} is full" in last
    assert "free that, or set OPENOMNI_MODELS" in last
