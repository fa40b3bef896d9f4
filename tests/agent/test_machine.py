from __future__ import annotations

import re
from pathlib import Path

import pytest

from openomni.agent import machine
from openomni.agent.machine import Accelerator


def test_the_machine_says_what_it_is() -> None:
    described = machine.describe()
    assert described.cores >= 1
    assert described.memory > 2**28
    assert described.cpu
    assert described.os.startswith("Linux")
    assert described.python.count(".") == 2


def test_agents_of_a_machine_know_it_by_one_name_that_says_nothing_else_of_it() -> None:
    named = machine.identity()
    assert named == machine.identity()
    assert re.fullmatch("[0-9a-f]{16}", named), "it is part of a key on the bus"
    boot = Path("/proc/sys/kernel/random/boot_id")
    assert not boot.exists() or named not in boot.read_text().replace("-", "")


def test_gpus_are_read_from_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = tmp_path / "nvidia-smi"
    command.write_text("#!/bin/sh\necho 'NVIDIA H200, 143771, 550.54'\necho 'NVIDIA A2, [Unknown Error], 550.54'\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert machine.accelerators() == [Accelerator("NVIDIA H200", 143771 * 2**20, "550.54")]


def test_a_machine_without_gpu_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.accelerators() == []
