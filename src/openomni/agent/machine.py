"""What this machine is: told at registration, so that a figure can be read beside the hardware that made it."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import uuid
from pathlib import Path

import msgspec
import psutil


class Accelerator(msgspec.Struct, frozen=True):
    """A GPU or the like; `memory` in bytes."""

    name: str
    memory: int
    driver: str = ""


class Machine(msgspec.Struct, frozen=True):
    """Hardware and system; `memory` in bytes, `cores` those that this process may use."""

    host: str
    cpu: str
    cores: int
    memory: int
    os: str
    python: str
    architecture: str


def describe() -> Machine:
    return Machine(
        host=platform.node(),
        cpu=_cpu_name(),
        cores=cores(),
        memory=psutil.virtual_memory().total,
        os=platform.platform(aliased=True, terse=True),
        python=platform.python_version(),
        architecture=platform.machine(),
    )


def identity() -> str:
    """The same for all agents on this machine, in containers too, and another on every other one, as long as it runs.
    A hash, for it is told to others."""
    try:
        named = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        named = f"{platform.node()} {uuid.getnode()}"
    return hashlib.sha256(f"openomni {named}".encode()).hexdigest()[:16]


def cores() -> int:
    """Cores that this process may use, which a container or a batch system may limit."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def accelerators() -> list[Accelerator]:
    """The NVIDIA GPUs that `nvidia-smi` lists; none where it is not installed or does not answer."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    query = [command, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return parse_accelerators(answer)


def parse_accelerators(table: str) -> list[Accelerator]:
    """Reads `name, MiB, driver` lines; one that reads otherwise (a GPU in error) is left out."""
    found = []
    for line in table.splitlines():
        fields = [field.strip() for field in line.rsplit(",", 2)]
        if len(fields) == 3 and fields[1].isdigit():
            found.append(Accelerator(fields[0], int(fields[1]) * 2**20, fields[2]))
    return found


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model"):
            return value.strip()
    return platform.processor() or platform.machine()
