"""The process that reads media: as far as it goes nobody else is touched by what a file does to it.

`python -m openomni.api.media.derive.child` takes an order a line (JSON) and answers each with a line, until its input
ends. It runs when nobody else wants the processor, in one thread, and with little memory; an order that takes more time
than it grants ends the process.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

MEMORY = 1 << 30
"""Bytes of address space: of this, Python and FFmpeg take some 230 MB before they have read anything."""
LARGEST = 4 << 30
"""Bytes of a file that is made."""
NICE = 19


def main() -> None:
    """Answers are `{"wants": [kind, …]}` to the order `look`; `{"seconds": …}` to `length`; `{"file": …,
    "media_type": …, "size": …, "sha256": …}` to a kind; `{"failed": "why"}` to any."""
    withdraw()
    for line in sys.stdin:
        order = json.loads(line)
        # Processor time, not time: a machine that has better to do must not make a file look broken.
        signal.setitimer(signal.ITIMER_PROF, order["seconds"])
        answer = answered(order)
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps(answer), flush=True)


def withdraw() -> None:
    """Leaves the machine to others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which ends us in order
    # A frame whose side data were looked at holds itself, and with it some MB that the collector does not see.
    gc.set_threshold(20, 2, 2)
    os.nice(NICE)
    # What FFmpeg may use of the processors it counts, and starts a thread on each.
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {allowed[os.getpid() % len(allowed)]})
    # Where the kernel shares the processor among sessions first, being nice within one's own is not enough.
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(NICE))
    for limit, most in (
        (resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_FSIZE, LARGEST), (resource.RLIMIT_CORE, 0),
    ):  # fmt: skip
        _, hard = resource.getrlimit(limit)
        resource.setrlimit(limit, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def answered(order: dict[str, Any]) -> dict[str, Any]:
    """Never raises."""
    try:
        match order["kind"]:
            case "look":
                return _looked(order)
            case "length":
                return _measured(order)
            case _:
                return _made(order)
    except MemoryError:
        return {"failed": "it takes more memory than is granted"}
    except Exception as error:
        said = str(error) or type(error).__name__
        for name in {"source", "target"} & order.keys():  # who is told the reason need not know where we keep what
            said = said.replace(str(Path(order[name])), "it")
        return {"failed": " ".join(said.split())}


def _looked(order: dict[str, Any]) -> dict[str, Any]:
    from ....media_file import MediaFile
    from . import playable

    with MediaFile(order["source"], told=lambda line: None) as file:
        audio, video = playable.chosen(file, order["audio_track"], order["video_track"])
        wants = [kind for kind, there in (("peaks", audio), ("thumbnail", video)) if there is not None]
        if wants and not playable.plays(file, order["media_type"], audio, video):
            wants.append("playable")
    return {"wants": wants}


def _measured(order: dict[str, Any]) -> dict[str, Any]:
    from ....media_file import MediaFile
    from . import playable

    with MediaFile(order["source"], told=lambda line: None) as file:
        tracks = playable.chosen(file, order["audio_track"], order["video_track"])
        return {"seconds": file.lasts(*(track for track in tracks if track is not None))}


def _made(order: dict[str, Any]) -> dict[str, Any]:
    from . import peaks, playable, thumbnail

    source, target = Path(order["source"]), Path(order["target"])
    audio, video = order["audio_track"], order["video_track"]
    match order["kind"]:
        case "peaks":
            peaks.make(source, target, audio)
            media_type = peaks.MEDIA_TYPE
        case "thumbnail":
            thumbnail.make(source, target, video)
            media_type = thumbnail.MEDIA_TYPE
        case "playable":
            media_type = playable.make(source, target, audio, video)
        case kind:
            raise ValueError(f"nobody knows how to make {kind!r}")
    with target.open("rb+") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    return {"media_type": media_type, "size": target.stat().st_size, "sha256": sha256}


if __name__ == "__main__":
    main()
