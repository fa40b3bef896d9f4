"""The map of commands: quick, and clear about what there is not."""

from __future__ import annotations

import subprocess
import sys

import pytest

from openomni.cli.main import COMMANDS, run
from openomni.errors import WrongUsage

HEAVY = ("django", "numpy", "httpx", "nats", "rich.console", "starlette", "aiohttp", "faster_whisper")
COMMANDS_THAT_READ = (
    "--help", "--version", "pipelines list", "pipelines show local", "pipelines check local", "components list",
)  # fmt: skip


def imported(*arguments: str) -> set[str]:
    """The modules that a command had imported when it ended."""
    code = (
        "import sys; from openomni.cli import main; sys.argv[1:] = " + repr(list(arguments)) + "\n"
        "try: main.main()\n"
        "except SystemExit: pass\n"
        "print('\\n' + ' '.join(name for name, module in sys.modules.items() if module))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("command", COMMANDS_THAT_READ)
def test_small_commands_import_little(command: str) -> None:
    assert not imported(*command.split()) & set(HEAVY)


def test_nothing_brings_what_httpx_has_for_its_own_command() -> None:
    loaded = imported("doctor", "--nosuch")
    assert "httpx" in loaded
    assert "pygments" not in loaded


def test_the_bus_does_without_aiohttp_until_it_speaks_websockets() -> None:
    loaded = imported("agent", "--token", "t", "--server", "http://127.0.0.1:1", "--offer", "nosuch")
    assert "aiohttp" not in loaded
    assert "nats" in loaded


def test_the_map_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    run(["--help"])
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in COMMANDS)


def test_a_command_that_is_none_is_told_the_nearest() -> None:
    with pytest.raises(WrongUsage, match="did you mean 'listen'"):
        run(["lisen"])
