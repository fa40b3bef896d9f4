"""`openomni doctor`: what is missing or misconfigured is a line with the mend."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from openomni.cli.main import run
from openomni.cli.slow_turns import MODELS, NAMES, WAITS, verdict
from openomni.components.kinds import KINDS
from openomni.errors import WrongUsage
from openomni.trace import What


def findings(tmp_path: Path, *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and what was found, by what was looked at."""
    out = tmp_path / "findings.json"
    code = 0
    try:
        run(["doctor", "--json", str(out), *arguments])
    except SystemExit as end:
        code = int(end.code or 0)
    return code, {each["what"]: each for each in json.loads(out.read_text())["findings"]}


def test_a_disk_that_is_nearly_full_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENOMNI_DATA_DIR", str(tmp_path / "not" / "yet"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=300 * 2**20))
    code, found = findings(tmp_path)
    assert code == 1
    assert found["disk"]["state"] == "fault"
    assert found["disk"]["line"] == f"0.29 GiB free at {tmp_path}"
    assert "--data-dir" in found["disk"]["mend"]


def test_records_that_were_too_large_for_the_bus_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENOMNI_DATA_DIR", str(tmp_path))
    assert "records" not in findings(tmp_path)[1]
    journal = tmp_path / "agent" / "journal"
    journal.mkdir(parents=True)
    (journal / "1.refused").write_bytes(b"x" * (3 << 20))
    _, found = findings(tmp_path)
    assert found["records"]["state"] == "note"
    assert found["records"]["line"] == f"1 in {journal} could not be sent whole (3.0 MiB)"


def test_a_server_that_is_away_is_a_fault(tmp_path: Path) -> None:
    code, found = findings(tmp_path, "--server", "http://127.0.0.1:9")
    assert code == 1
    assert "http://127.0.0.1:9 does not answer" in found["server"]["line"]


@pytest.fixture
def hub() -> Iterator[tuple[str, dict[str, tuple[int, Any]]]]:
    """A server by its answers, path → status and body."""
    answers: dict[str, tuple[int, Any]] = {"/healthz": (200, {"api": "ok", "bus": "down"})}

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers[self.path]
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            """Silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}", answers
        server.shutdown()
        thread.join()


def test_a_devices_token_is_right_though_it_may_not_list_agents(
    tmp_path: Path, hub: tuple[str, dict[str, tuple[int, Any]]]
) -> None:
    url, answers = hub
    answers["/healthz"] = (200, {"api": "ok"})
    answers["/api/v1/me"] = (200, {"project": "default", "scopes": ["device"], "site": "ward-3", "device": ""})
    answers["/api/v1/agents"] = (403, {"error": "out of scope"})
    code, found = findings(tmp_path, "--server", url, "--token", "x")
    assert (found["token"]["state"], found["token"]["line"]) == ("well", "project default, device, site ward-3")
    assert (code, "agents" in found) == (0, False)
    answers["/api/v1/me"] = (200, {"project": "default", "scopes": ["device"], "site": "", "device": ""})
    code, found = findings(tmp_path, "--server", url, "--token", "x")
    assert (code, found["token"]["state"], "--site" in found["token"]["mend"]) == (0, "note", True)


def test_a_wrong_token_and_a_part_that_is_down_are_faults(
    tmp_path: Path, hub: tuple[str, dict[str, tuple[int, Any]]]
) -> None:
    url, answers = hub
    answers["/api/v1/me"] = (401, {"error": "unknown token"})
    code, found = findings(tmp_path, "--server", url, "--token", "x")
    assert (code, found["bus"]["line"], found["token"]["line"]) == (1, "down", "unknown token")


def test_a_proxy_that_is_not_spoken_to_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:1080")
    code, found = findings(tmp_path, "--server", "hub.example")
    assert (code, found["server"]["state"]) == (1, "fault")
    assert "SOCKS" in found["server"]["line"]


SLOW = [
    ("end_of_turn", "", "being sure that the person had finished", "`end_of_turn_silence`"),
    ("queue", "llm:llama-cpp", "the queue of llm:llama-cpp", "`--slots`"),
    ("queue", "host", "waiting for the word", "the reply before it"),
    ("transfer", "tts:piper", "the way to and from tts:piper", "nearer to the host"),
    ("transfer", "client", "the way to the loudspeaker", "a wired network"),
    ("load", "stt:faster-whisper", "loading the model of stt:faster-whisper", "`--warm`"),
    ("model", "stt:faster-whisper", "the model of stt:faster-whisper", "`language`"),
    ("model", "llm:llama-cpp", "the model of llm:llama-cpp", "`history`"),
    ("model", "tts:piper", "the model of tts:piper", "a lighter `voice`"),
    ("model", "end_to_end:simulated", "the model of end_to_end:simulated", "`frames`"),
    ("model", "emotion:simulated", "the model of emotion:simulated", "the reply waits for it"),
    ("model", "speaker:mine", "the model of speaker:mine", "the reply waits for it"),
    ("model", "retrieval:simulated", "the model of retrieval:simulated", "fewer passages"),
    ("aggregation", "tts:piper", "collecting the input of tts:piper", "short sentences"),
    ("playback", "client", "playback", "a wired loudspeaker"),
    ("lost", "llm:llama-cpp", "lost attempts of llm:llama-cpp", "another ran the stage again"),
    ("residue", "", "unexplained", "the machine was busy"),
]


@pytest.mark.parametrize(("what", "stage", "named", "mend"), SLOW)
def test_each_part_of_a_slow_turn_has_its_name_and_its_mend(what: str, stage: str, named: str, mend: str) -> None:
    # A part may come in pieces: it is their sum that counts.
    other = "stt:other" if (what, stage) != ("model", "llm:llama-cpp") else "tts:other"
    pieces = [(what, stage, 0.0, 0.3), ("model", other, 0.3, 0.7), (what, stage, 0.7, 1.1)]
    parts = [{"what": w, "stage": s, "start_s": start, "end_s": end} for w, s, start, end in pieces]
    found = verdict({"turn_id": "abcdef0123", "parts": parts})
    assert found.line == f"turn abcdef01: 0.70 of 1.10 s (64%) is {named}"
    assert mend in found.mend


def test_a_turn_that_waited_to_be_sure_says_how_sure_it_was() -> None:
    turn = {
        "turn_id": "abcdef0123",
        "parts": [{"what": "end_of_turn", "stage": "", "start_s": 0.0, "end_s": 0.74}],
        "pauses": [
            {"at": 1, "revision": 0, "finished": 0.1, "silence_s": 0.74, "ended": False},
            {"at": 9, "revision": 1, "finished": 0.31, "silence_s": 0.74, "lasted_s": 0.752, "ended": True},
        ],
    }
    assert verdict(turn).line == (
        "turn abcdef01: 0.74 of 0.74 s (100%) is being sure that the person had finished "
        "(only 31% sure that the person had finished, so 0.74 s of silence ended it (0.75 s passed), "
        "while the models ran ahead)"
    )


def test_every_part_and_every_kind_of_stage_has_a_mend() -> None:
    parts = set(get_args(What))
    assert parts == {*WAITS, "model"} == set(NAMES)
    assert {kind.name for kind in KINDS.values() if kind.stage} == set(MODELS)


def test_asked_for_turns_it_speaks_of_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    part = {"what": "load", "stage": "tts:piper", "start_s": 0.0, "end_s": 2.0}
    turns = tmp_path / "turns.json"
    turns.write_text(
        json.dumps({"turns": [{"turn_id": "one", "parts": [part]}, {"turn_id": "two", "reason": "no words"}]})
    )
    code, found = findings(tmp_path, "--turns", str(turns))
    assert code == 0
    assert set(found) == {"turn"}
    assert capsys.readouterr().out.splitlines() == [
        "· turn         turn one: 2.00 of 2.00 s (100%) is loading the model of tts:piper; "
        "its model was not warm; start the agent with `--warm` and the pipeline's name",
        "· turn         turn two has no timeline: no words",
    ]


def test_what_the_api_answers_is_taken_too(tmp_path: Path) -> None:
    part = {"what": "load", "stage": "tts:piper", "start_s": 0.0, "end_s": 2.0}
    file = tmp_path / "turns.json"
    for content in ({"items": [turn := {"turn_id": "one", "parts": [part]}], "next": None}, turn):
        file.write_text(json.dumps(content))
        code, found = findings(tmp_path, "--turns", str(file))
        assert (code, found["turn"]["line"][:9]) == (0, "turn one:")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "name a file that --json wrote"),
        ("[", "name a file that --json wrote"),
        ("[1]", "holds no turns"),
        ('{"pipelines": []}', "holds no turns"),
        ('{"items": [{"recording_id": "x"}], "next": null}', "holds no turns"),
        ('{"figures": {}, "utterances": []}', r"is of `openomni bench live`, whose `part_…_p50_s` say where"),
    ],
)
def test_turns_that_are_none_are_one_line(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "turns.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(WrongUsage, match=said):
        run(["doctor", "--turns", str(file)])
