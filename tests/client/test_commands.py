"""What `openomni listen` and `openomni respond` say when they are asked wrongly, or cannot go on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from openomni.cli import main
from openomni.cli.output import check_json, write_json
from openomni.errors import OpenOmniError, WrongUsage
from openomni.media import Audio

NOWHERE = ["--server", "http://127.0.0.1:1", "--token", "oo_0_x"]


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (["listen", "--source", "mic"], "there is no token"),
        (["listen", "--source", "tape:x", *NOWHERE], "choose mic, camera or file:PATH"),
        (["listen", "--source", "mic", "--pace", "fast", *NOWHERE], "are for files"),
        (["listen", "--source", "file:x.wav", "--time-points", "soon", *NOWHERE], "write MM:SS"),
        (["respond", "--sink", "lamp", *NOWHERE], "choose speaker or dir:PATH"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    command: list[str], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENOMNI_TOKEN", raising=False)
    with pytest.raises(WrongUsage, match=line):
        main.run(command)


def test_a_bad_file_is_found_before_the_server_is_asked(tmp_path: Path) -> None:
    Audio.silence(1.0, 16000).save(tmp_path / "silent.wav")
    with pytest.raises(OpenOmniError, match="no speech found"):
        main.run(["listen", "--source", f"file:{tmp_path / 'silent.wav'}", *NOWHERE])


def test_a_server_out_of_reach_leaves_nothing_in_the_spool(tmp_path: Path) -> None:
    speech = Audio([0.5, -0.5] * 8000, 16000).save(tmp_path / "speech.wav")
    spool = ["--spool", str(tmp_path / "spool")]
    with pytest.raises(OpenOmniError, match=r"cannot reach http://127.0.0.1:1"):
        main.run(["listen", "--source", f"file:{speech}", *spool, *NOWHERE])
    assert not (tmp_path / "spool").exists()


def test_a_process_prints_that_line_alone_and_exits_with_1(tmp_path: Path) -> None:
    listen = [
        sys.executable,
        "-m",
        "openomni.cli.main",
        "listen",
        "--source",
        f"file:{tmp_path / 'none.wav'}",
        *NOWHERE,
    ]
    done = subprocess.run(listen, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == f"openomni: {tmp_path / 'none.wav'} is not a file; check the path\n"


def test_turns_are_written_as_json_where_that_can_be(tmp_path: Path) -> None:
    turns = {"turns": [{"turn_id": "t", "transcript": "grüß Gott"}]}
    check_json(tmp_path / "out.json")
    write_json(tmp_path / "out.json", turns)
    assert json.loads((tmp_path / "out.json").read_text()) == turns
    for wrong in (tmp_path / "no" / "such" / "folder.json", tmp_path):
        with pytest.raises(OpenOmniError, match="--json"):
            check_json(wrong)


def test_a_listener_loads_neither_django_nor_a_model_runtime() -> None:
    code = """
import sys
import openomni.cli.listen, openomni.client.listener.listen, openomni.client.listener.replay
import openomni.client.listener.microphone, openomni.client.listener.camera, openomni.cli.respond
import openomni.client.responder.speaker, openomni.client.responder.responder
heavy = {"django", "nats", "starlette", "pydantic", "onnxruntime", "ctranslate2", "av", "soxr", "sounddevice"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
