"""What a person gets wrong, or a machine lacks: one line that says what, where and the mend; and nothing is lost."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from e2e.conftest import Installation, openomni
from e2e.refusals import KINDS, children, pipeline, refused
from openomni.media import Audio

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory, question: Path) -> Path:
    """A folder of recordings of all sorts."""
    folder = tmp_path_factory.mktemp("media")
    speech = Audio.load(question)
    (folder / "empty.wav").touch()
    (folder / "text.wav").write_text("This is no recording.\n" * 20)
    (folder / "noise.mp3").write_bytes(np.random.default_rng(1).bytes(5000))
    Audio.silence(2.0, 16_000).save(folder / "silent.wav")
    write_pcm(folder / "phone.wav", np.repeat(speech.resample(8000).samples, 2), 8000, channels=2, width=2)
    write_pcm(folder / "studio.wav", speech.resample(96_000).samples, 96_000, channels=1, width=3)
    write_mute_video(folder / "mute.mp4")
    return folder


def write_pcm(path: Path, samples: Any, rate: int, channels: int, width: int) -> None:
    scaled = np.clip(samples * 2 ** (8 * width - 1), -(2 ** (8 * width - 1)), 2 ** (8 * width - 1) - 1).astype("<i4")
    with wave.open(str(path), "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(width)
        out.setframerate(rate)
        out.writeframes(scaled.view(np.uint8).reshape(-1, 4)[:, :width].tobytes())


def write_mute_video(path: Path) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for number in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), number * 20, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


# ---- recordings ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pace", ["realtime", "fast"])
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing.wav", "is not a file; check the path"),
        ("empty.wav", "is empty (0 bytes)"),
        ("text.wav", "is no audio or video"),
        ("noise.mp3", "is no audio or video"),
        ("silent.wav", "it is silent; check the recording"),
        ("mute.mp4", "has no audio track"),
    ],
)
def test_what_cannot_be_heard_is_refused(simulated: Installation, media: Path, name: str, says: str, pace: str) -> None:
    source = media / name
    done = simulated.tried("listen", "--source", f"file:{source}", "--pipeline", "sim", "--pace", pace, "--wait")
    assert "Errno" not in refused(done, 1, str(source), says)


@pytest.mark.models
@pytest.mark.parametrize("name", ["phone.wav", "studio.wav"])
def test_any_rate_and_width_is_understood(local: Installation, media: Path, name: str) -> None:
    (turn,) = local.listen(media / name, "--pipeline", "local", "--pace", "fast")
    assert "what is the capital of" in turn["transcript"].lower()


MEASURED = """
import atexit, pathlib, sys
from openomni.cli.main import main
atexit.register(lambda: print(pathlib.Path("/proc/self/status").read_text()))
main()
"""


@pytest.mark.long
def test_an_hour_takes_hardly_more_memory_than_a_second(
    simulated: Installation, tmp_path: Path, question: Path
) -> None:
    simulated.put_pipeline({**pipeline("patient"), "turn_taking": {"vad": "energy"}})
    write_hour(tmp_path / "hour.wav", Audio.load(question, 16_000).samples)
    before = memory_of(simulated)
    listen = ["listen", "--source", f"file:{tmp_path / 'hour.wav'}", "--pipeline", "patient", "--pace", "fast"]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *listen, "--json", str(tmp_path / "out.json")],
        env=simulated.environment, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    turns = json.loads((tmp_path / "out.json").read_text())["turns"]
    assert [turn["status"] for turn in turns] == ["completed"] * 6
    assert resident(done.stdout, "VmHWM") <= 80 * MIB
    # The recording alone is 110 MiB.
    assert memory_of(simulated) < before + 60 * MIB


def write_hour(path: Path, speech: Any) -> None:
    """Something said every ten minutes."""
    rest = np.zeros(600 * 16_000 - len(speech), np.float32)
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16_000)
        for _ in range(6):
            out.writeframes(Audio(np.concatenate([speech, rest]), 16_000).pcm16())


def memory_of(made: Installation) -> int:
    """Bytes that all processes of the server hold."""
    processes = (made.processes["up"].pid, *children(made))
    return sum(resident(Path(f"/proc/{pid}/status").read_text(), "VmRSS") for pid in processes)


def resident(status: str, field: str) -> int:
    """Bytes, as /proc tells them."""
    found = re.search(rf"{field}:\s+(\d+) kB", status)
    assert found, status
    return int(found[1]) * 1024


# ---- names ---------------------------------------------------------------------------------------------------

STAGES = "  - llm: simulated\n  - tts: simulated\n"
WRONG_PIPELINES = {
    "component": ("- stt: simulatd", "unknown component 'simulatd'; did you mean 'simulated'?"),
    "parameter": ("- {stt: simulated, txet: Hello}", "unknown parameter 'txet'; did you mean 'text'?"),
    "type": ("- {stt: simulated, text: 3}", "parameter 'text' must be text, not 3"),
    "kind": ("- sst: simulated", "unknown kind 'sst'; did you mean 'stt'?"),
}


def pipeline_file(folder: Path, stage: str) -> Path:
    file = folder / "mine.yaml"
    file.write_text(f"name: mine\nstages:\n  {stage}\n{STAGES}")
    return file


@pytest.mark.parametrize("server", [True, False])
@pytest.mark.parametrize(("stage", "says"), WRONG_PIPELINES.values(), ids=WRONG_PIPELINES)
def test_a_check_says_where_a_pipeline_is_wrong(
    simulated: Installation, tmp_path: Path, stage: str, says: str, server: bool
) -> None:
    file = pipeline_file(tmp_path, stage)
    done = simulated.tried("pipelines", "check", str(file), *(["--server", simulated.url] if server else []))
    assert done.returncode == 2
    (line,) = (done.stdout + done.stderr).splitlines()
    assert line.removeprefix("openomni: ").startswith(f"{file}:3: stage 1")
    assert line.endswith(says)


def test_a_check_knows_the_models(simulated: Installation, tmp_path: Path) -> None:
    file = pipeline_file(tmp_path, "- {stt: faster-whisper, model: tiny.em}")
    done = simulated.tried("pipelines", "check", str(file))
    assert done.returncode == 2
    assert done.stdout.startswith(f"{file}:3: stage 1 (stt): unknown model 'tiny.em'; did you mean 'tiny.en'?")


@pytest.mark.parametrize(("stage", "says"), WRONG_PIPELINES.values(), ids=WRONG_PIPELINES)
def test_the_server_stores_no_wrong_pipeline(simulated: Installation, stage: str, says: str) -> None:
    text = f"name: mine\nstages:\n  {stage}\n{STAGES}"
    answer = simulated.request("PUT", "/api/v1/pipelines/mine", json={"yaml": text})
    assert answer.status_code in (400, 422)
    assert answer.json()["error"].endswith(says)
    assert simulated.request("GET", "/api/v1/pipelines/mine").status_code == 404


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["listen", "--source", "file:{question}", "--pipeline", "simm"], "no pipeline 'simm' in this project; did"),
        (["pipelines", "show", "simm"], "did you mean 'sim'?"),
        (["demo", "--pipeline", "locla"], "unknown pipeline 'locla'; did you mean 'local'?"),
        (["agent", "--offer", "stt:simulatd"], "unknown stt component 'simulatd'; did you mean 'simulated'?"),
        (["agent", "--offer", "hots"], "--offer: unknown 'hots'; did you mean 'host'?"),
        (["models", "pull", "tiny.em"], "unknown model 'tiny.em'; did you mean 'tiny.en'?"),
        (["components", "check", "stt:simulatd"], "did you mean 'simulated'?"),
        (["lisen"], "there is no command 'lisen'; did you mean 'listen'?"),
        (["listen", "--sorce", "mic"], "No such option: --sorce"),
        (["listen", "--pace", "slow"], "'slow' is not one of 'realtime', 'fast'"),
        (["listen", "--source", "fiel:x.wav"], "choose mic, camera or file:PATH"),
        (["respond", "--sink", "loud"], "choose speaker or dir:PATH"),
        (["listen", "--source", "file:{question}", "--time-points", "soon"], "'soon' is no time; write MM:SS"),
        (["listen", "--source", "file:{question}", "--time-points", "00:02,00:01"], "must grow"),
        (["listen", "--source", "file:{question}", "--time-points", "00:30"], "which lasts 2.2 s"),
        (["listen", "--source", "file:{question}", "--server", "ftp://here"], "is no address; give one such as"),
        (["listen", "--source", "file:{question}", "--server", "http://here:99999"], "is no address"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)  # fmt: skip
def test_a_wrong_name_is_wrong_usage(simulated: Installation, question: Path, arguments: list[str], says: str) -> None:
    refused(simulated.tried(*(each.format(question=question) for each in arguments)), 2, says)


# ---- sound cards ---------------------------------------------------------------------------------------------

NO_PORTAUDIO = """
import ctypes.util
real = ctypes.util.find_library
ctypes.util.find_library = lambda name: None if "portaudio" in name else real(name)
"""


@pytest.mark.parametrize(
    ("arguments", "what"), [(["listen"], "the microphone"), (["respond"], "the loudspeaker")], ids=["listen", "respond"]
)
def test_without_portaudio_the_line_installs_it(
    simulated: Installation, tmp_path: Path, arguments: list[str], what: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(NO_PORTAUDIO)
    done = simulated.run(*arguments, PYTHONPATH=str(tmp_path))
    refused(done, 1, f"{what} needs the PortAudio library", "sudo apt install libportaudio2")


def test_without_a_camera_the_line_says_so(simulated: Installation) -> None:
    done = simulated.tried("listen", "--source", "camera", "--camera", "/dev/video99")
    refused(done, 1, "/dev/video99", "--camera")


# ---- agents and components -----------------------------------------------------------------------------------


@pytest.mark.parametrize("pace", ["realtime", "fast"])
def test_what_no_agent_offers_is_said_at_once(simulated: Installation, question: Path, pace: str) -> None:
    stages = [{"stt": "simulated"}, {"emotion": "simulated"}, {"llm": "simulated"}, {"tts": "simulated"}]
    simulated.put_pipeline({"name": "moody", "stages": stages})
    done = simulated.tried("listen", "--source", f"file:{question}", "--pipeline", "moody", "--pace", pace)
    refused(done, 1, "no live agent offers emotion:simulated", "openomni agent --offer emotion:simulated")


@pytest.mark.long
def test_an_agent_is_waited_for_when_asked(simulated: Installation, tmp_path: Path, question: Path) -> None:
    simulated.put_pipeline({"name": "searching", "stages": [{"stt": "simulated"}, {"retrieval": "simulated"},
                                                            {"llm": "simulated"}, {"tts": "simulated"}]})  # fmt: skip
    listen = ["listen", "--source", f"file:{question}", "--pipeline", "searching", "--wait-for-agent"]
    listener = subprocess.Popen(
        openomni(*listen), env=simulated.environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    assert listener.stderr is not None
    assert listener.stderr.readline().startswith("waiting: no live agent offers retrieval:simulated")
    simulated.agent("late", "retrieval:simulated")
    assert listener.wait(60) == 0, listener.stderr.read()


REASONS = {
    "raise": "raised RuntimeError: simulated failure",
    "hang": "hung: nothing came out of it for 0.5 s",
    "wrong_type": "returned dict",
}


FAILURES = [*zip(KINDS, REASONS, strict=True)]
"""Each kind and each failure once."""


@pytest.mark.parametrize(
    ("kind", "failure"),
    [
        pytest.param(kind, failure, marks=() if (kind, failure) in FAILURES else pytest.mark.long)
        for kind in KINDS
        for failure in REASONS
    ],
)
def test_a_queued_turn_fails_with_its_component_and_the_reason(
    simulated: Installation, question: Path, kind: str, failure: str
) -> None:
    fails(simulated, question, kind, failure, "fast")


@pytest.mark.long
def test_live_turns_fail_alike_and_the_next_turn_works(simulated: Installation, question: Path) -> None:
    for kind, failure in FAILURES:
        fails(simulated, question, kind, failure, "realtime")
    (turn,) = simulated.listen(question, "--pipeline", "sim", "--pace", "realtime")
    assert (turn["status"], turn["reply_text"]) == ("completed", "It is sunny today. Take a walk.")


def fails(made: Installation, question: Path, kind: str, failure: str, pace: str) -> None:
    name = f"{kind}-{failure}".replace("_", "-")
    made.put_pipeline(pipeline(name, **{kind: {"fail": failure, "timeout": 0.5}}))
    done = made.tried("listen", "--source", f"file:{question}", "--pipeline", name, "--pace", pace, "--wait")
    refused(done, 1, f"1 of 1 turns failed; the first: {kind}:simulated: {REASONS[failure]}")


@pytest.mark.long
def test_a_session_outlives_its_failed_turns(simulated: Installation, tmp_path: Path, question: Path) -> None:
    simulated.put_pipeline(pipeline("llm-raises", llm={"fail": "raise"}))
    said = Audio.load(question, 16_000)
    Audio.join([said, Audio.silence(1.5, 16_000), said]).save(tmp_path / "twice.wav")
    out = tmp_path / "out.json"
    done = simulated.tried(
        "listen", "--source", f"file:{tmp_path / 'twice.wav'}", "--pipeline", "llm-raises", "--json", str(out)
    )
    refused(done, 1, "2 of 2 turns failed; the first: llm:simulated")
    turns = json.loads(out.read_text())["turns"]
    assert [(turn["status"], bool(turn["transcript"])) for turn in turns] == [("failed", True)] * 2
