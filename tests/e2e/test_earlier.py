"""Versions mix: an agent, a gateway and a listener installed from an earlier commit, each with the rest of this tree.

`$EARLIER` names the commit; without it, the first one of 0.2.0 whose word holds. Of a commit that is older than what
this release promises to work with, the same tests want each part refused, in one line that says what to upgrade.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from e2e import staging
from e2e.conftest import Installation, installation
from e2e.staging import EVERYTHING, QUESTION
from openomni import version

pytestmark = pytest.mark.long

COMMIT = os.environ.get("EARLIER") or "f7556e7"
ROOT = Path(__file__).parents[2]


class Earlier:
    """Variables with which a command runs the earlier code, and whether that is promised to work."""

    def __init__(self, folder: Path) -> None:
        self.environment = {"PYTHONPATH": str(folder)}
        print_version = [sys.executable, "-c", "import openomni; print(openomni.__version__, openomni.__file__)"]
        said = subprocess.check_output(print_version, env={**os.environ, **self.environment}, cwd=folder, text=True)
        self.version, file = said.split()
        assert Path(file).is_relative_to(folder)
        self.too_old = version.too_old(self.version)


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Earlier:
    found = subprocess.run(["git", "archive", COMMIT], cwd=ROOT, capture_output=True, check=False)
    if found.returncode and "EARLIER" not in os.environ:
        pytest.skip(f"this clone does not reach back to {COMMIT}")
    assert found.returncode == 0, found.stderr.decode()
    folder = tmp_path_factory.mktemp("earlier")
    subprocess.run(["tar", "x", "--one-top-level=source"], input=found.stdout, cwd=folder, check=True)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", "installed", "./source"]
    subprocess.run(install, cwd=folder, check=True)
    return Earlier(folder / "installed")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """All of this tree's, without an agent."""
    with installation(tmp_path_factory.mktemp("server"), "--no-agent") as made:
        made.put_pipeline(staging.pipeline("mixed"))
        yield made


def listened(made: Installation, **environment: str) -> subprocess.CompletedProcess[str]:
    made.folder.joinpath("turns.json").unlink(missing_ok=True)
    return made.run("listen", "--source", f"file:{QUESTION}", "--pipeline", "mixed", "--wait", "--json", "turns.json",
                    **environment)  # fmt: skip


def check_answered(done: subprocess.CompletedProcess[str], made: Installation) -> None:
    assert done.returncode == 0, done.stderr + made.logs()
    assert "It is Paris." in (made.folder / "turns.json").read_text()


def check_refused(text: str, earlier: Earlier) -> None:
    (line,) = (line for line in text.splitlines() if "too old" in line or "older side" in line)
    assert "upgrade" in line, line
    assert "Traceback" not in text


def test_an_earlier_agent_serves_this_server(server: Installation, earlier: Earlier) -> None:
    if earlier.too_old:
        process = server.start("too-old", "agent", "--name", "too-old", "--offer", EVERYTHING,
                               "--data-dir", str(server.folder / "too-old"), **earlier.environment)  # fmt: skip
        log = server.folder / "too-old.log"
        staging.until(lambda: log.is_file() and "upgrade" in log.read_text(), f"nothing said: {server.logs()}")
        process.terminate()
        process.wait(40)
        check_refused(log.read_text(), earlier)
        return
    process = server.agent("earlier", EVERYTHING, **earlier.environment)
    try:
        check_answered(listened(server), server)
    finally:
        process.terminate()
        process.wait(40)


def test_an_earlier_listener_talks_to_this_gateway(server: Installation, earlier: Earlier) -> None:
    process = server.agent("present", EVERYTHING)
    try:
        done = listened(server, **earlier.environment)
    finally:
        process.terminate()
        process.wait(40)
    if earlier.too_old:
        assert done.returncode != 0
        check_refused(done.stderr, earlier)
    else:
        check_answered(done, server)


def test_an_earlier_gateway_stands_between_this_trees_listener_agent_and_api(tmp_path: Path, earlier: Earlier) -> None:
    with staging.apart(tmp_path, gateway=earlier.environment) as made:
        made.put_pipeline(staging.pipeline("mixed"))
        made.agent("present", EVERYTHING)
        if earlier.too_old:
            done = listened(made)
            assert done.returncode != 0
            check_refused(done.stderr, earlier)
            return
        check_answered(listened(made), made)
