"""`openomni turns`: what it asks the server, and what it says of the answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Self

import msgspec
import pytest

from openomni.cli import asking
from openomni.cli import turns as module
from openomni.cli.main import run
from openomni.errors import OpenOmniError, WrongUsage
from openomni.records import BuildRecord, ItemRecord, StageRecord, TurnRecord

BUILD = BuildRecord.of("p", kind="llm", component="llama-cpp", package="openomni", package_version="0.2.0",
                       parameters={"model": "smollm2"})  # fmt: skip


def turn(turn_id: str, index: int = 0, said: str = "It is noon.", **fields: Any) -> TurnRecord:
    stages = [
        StageRecord(task_id="a", kind="stt", component="faster-whisper", status="completed", output={"text": "hello"}),
        StageRecord(task_id="b", kind="llm", component="llama-cpp", status="completed", agent="box", model_s=0.25,
                    output={"text": said}, build=BUILD.build),
    ]  # fmt: skip
    known: dict[str, Any] = {
        "session_id": "s1", "status": "completed", "transcript": "hello", "reply_text": said, "stages": stages,
        "started_at": 1_700_000_000.0, "voice_to_voice_s": 0.61,
    }  # fmt: skip
    return TurnRecord(
        project="p", turn_id=turn_id, index=index, pipeline="local", pipeline_hash="h", **{**known, **fields}
    )


class Server:
    """Stands for `Api`; reruns are over when they are looked at for the second time."""

    turns: ClassVar[dict[str, TurnRecord]] = {}
    asked: ClassVar[list[Any]] = []

    def __init__(self, server: str, token: str) -> None:
        self.looks = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass

    def patient(self, notice: Any) -> Self:
        return self

    async def get(self, path: str, **query: Any) -> Any:
        self.asked.append((path, query))
        if path == "/turns":
            self.looks += 1
            found = [each for each in self.turns.values() if query.get("session", "s1") == each.session_id]
            if query.get("session") == "again" and self.looks == 1:
                found = [msgspec.structs.replace(each, status="pending") for each in found]
            at = int(query.get("cursor", 0))
            page = found[at : at + min(query["limit"], 2)]
            more = at + len(page) < len(found)
            return {"items": msgspec.to_builtins(page), "next": str(at + len(page)) if more else None}
        if path.endswith("/items"):
            item = ItemRecord(
                project="p", session_id="s1", item_id="i1", position=0, role="system", content="Be brief."
            )
            return msgspec.to_builtins([item])
        if path.startswith("/builds/"):
            return msgspec.to_builtins(BUILD)
        return msgspec.to_builtins(self.turns[path.rpartition("/")[2]])

    async def post(self, path: str, body: Any) -> Any:
        self.asked.append((path, body))
        again = [each for each in self.turns.values() if each.reruns in body["turns"]]
        return {"turns": [{"turn_id": each.turn_id, "session_id": "again", "reruns": each.reruns} for each in again]}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> type[Server]:
    monkeypatch.setenv("OPENOMNI_TOKEN", "oo_1_x")
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr(asking, "Api", Server)
    monkeypatch.setattr(module, "LOOK_EVERY", 0.0)
    monkeypatch.setattr(Server, "asked", [])
    monkeypatch.setattr(Server, "turns", {each.turn_id: each for each in (turn("t1"), turn("t2", 1), turn("t3", 2))})
    return Server


def call(*arguments: str) -> None:
    with pytest.raises(SystemExit) as end:
        run(["turns", *arguments])
    assert end.value.code == 0


def test_turns_are_listed_over_pages_as_they_are_asked_for(
    server: type[Server], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("--pipeline", "local", "--status", "completed", "--tag", "debate", "--limit", "3")
    call("list", *asked, "--json", str(tmp_path / "turns.json"))
    assert server.asked[0] == ("/turns", {"limit": 3, "pipeline": "local", "status": "completed", "tag": "debate"})
    assert [each["turn_id"] for each in json.loads((tmp_path / "turns.json").read_text())["turns"]] == [
        "t1",
        "t2",
        "t3",
    ]
    first, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("t1  2023-11-1")
    assert first.endswith("completed  local        0.61 s  hello → It is noon.")


def test_what_was_said_has_a_line_of_its_own_where_it_does_not_fit_and_is_whole_in_a_pipe(
    server: type[Server], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    server.turns = {"t1": turn("t1", transcript="hello " * 20)}
    call("list")
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith(" hello" * 20 + " → It is noon.")
    monkeypatch.setenv("FORCE_COLOR", "1")
    call("list")
    head, said = capsys.readouterr().out.splitlines()
    assert head.endswith("local        0.61 s")
    assert said.startswith("  hello hello")
    assert len(said) == 60


def test_a_turn_is_shown_with_what_it_ran_on_and_what_its_models_were_told(
    server: type[Server], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.turns["t4"] = turn("t4", 3, items=["i1", "user:t4"], given={"stt": "recorded"})
    call("show", "t4", "--json", str(tmp_path / "turn.json"))
    shown = capsys.readouterr().out
    assert "» hello" in shown
    assert "stage    llm:llama-cpp smollm2 (openomni 0.2.0) on box, completed  model 0.250" in shown
    assert "told     system: Be brief." in shown
    assert "told     user: hello" in shown
    assert "given    stt, recorded" in shown
    content = json.loads((tmp_path / "turn.json").read_text())
    assert (content["turn_id"], content["told"][0]["item_id"]) == ("t4", "i1")
    assert content["builds"][BUILD.build]["parameters"] == {"model": "smollm2"}


def test_reruns_are_waited_for_and_compared_stage_by_stage(
    server: type[Server], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = [
        turn("n1", reruns="t1", session_id="again", given={"stt": "corrected"}),
        turn("n2", 1, "It is one.", reruns="t2", session_id="again"),
    ]
    server.turns |= {each.turn_id: each for each in again}
    call("rerun", "t1", "t2", "--pipelines", "local, other", "--from", "llm", "--with", "stt=a=b",
         "--json", str(tmp_path / "again.json"))  # fmt: skip
    path, body = server.asked[0]
    assert path == "/turns/rerun"
    assert (body["turns"], body["pipelines"], body["from"]) == (["t1", "t2"], ["local", "other"], "llm")
    assert body["with"] == {"stt": "a=b"}
    assert capsys.readouterr().out.splitlines() == [
        "t1 → n1 with stt corrected  the same",
        "t2 → n2  differs first in llm",
        "  was  text: It is noon.",
        "  now  text: It is one.",
        "1 of 2 the same",
    ]
    content = json.loads((tmp_path / "again.json").read_text())
    assert (content["same"], content["of"]) == (1, 2)
    assert content["reruns"][1]["first"] == {
        "stage": "llm", "was": {"text": "It is noon."}, "now": {"text": "It is one."},
    }  # fmt: skip
    assert [each["turn_id"] for each in content["turns"]] == ["n1", "n2"]


def test_a_rerun_that_failed_fails_the_command(server: type[Server]) -> None:
    server.turns["n1"] = turn("n1", reruns="t1", session_id="again", status="failed", reason="no agent offers it")
    with pytest.raises(OpenOmniError, match="1 of 1 turns failed; the first: no agent offers it"):
        run(["turns", "rerun", "t1"])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["rerun", "t1", "--with", "hello"], "--with 'hello': write KIND=TEXT"),
        (["rerun"], "Missing argument"),
        (["list", "--limit", "0"], "limit"),
    ],
)
def test_wrong_usage_is_a_line(server: type[Server], arguments: list[str], line: str) -> None:
    with pytest.raises(WrongUsage, match=line):
        run(["turns", *arguments])
    assert server.asked == []


def test_without_a_token_it_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENOMNI_TOKEN", raising=False)
    with pytest.raises(WrongUsage, match="there is no token; set OPENOMNI_TOKEN"):
        run(["turns", "list"])
