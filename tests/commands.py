"""Commands of `openomni` by the dozen: each a process of its own, forked from one that has imported already what most
of them begin with, which is most of their work."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

FORKS = """
import json, os, signal, sys
import httpx, numpy, websockets
from openomni.cli import agent, listen, main, pipelines
from openomni.client import connection
from openomni.client.listener import sources
for line in sys.stdin:
    asked = json.loads(line)
    if child := os.fork():
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    signal.alarm(asked["timeout"])
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(asked[name], os.O_WRONLY), number)
    sys.argv = ["openomni", *asked["arguments"]]
    main.main()
    sys.exit()
"""


@cache
def _forks() -> subprocess.Popen[str]:
    """Ends with its standard input, that is with this process."""
    return subprocess.Popen([sys.executable, "-c", FORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def run(
    arguments: tuple[str, ...], cwd: Path, env: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run` has it, one after the other. A command that takes too long ends with −SIGALRM."""
    forks = _forks()
    assert forks.stdin is not None
    assert forks.stdout is not None
    with tempfile.NamedTemporaryFile("r") as out, tempfile.NamedTemporaryFile("r") as err:
        asked = {"arguments": arguments, "cwd": str(cwd), "env": dict(env), "timeout": round(timeout),
                 "stdout": out.name, "stderr": err.name}  # fmt: skip
        forks.stdin.write(json.dumps(asked) + "\n")
        forks.stdin.flush()
        code = forks.stdout.readline()
        assert code, "the process that forks commands is gone"
        return subprocess.CompletedProcess(["openomni", *arguments], int(code), out.read(), err.read())
