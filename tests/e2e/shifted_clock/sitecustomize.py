"""Read by every Python of a test that has this folder in its PYTHONPATH: the process's clock stands `CLOCK_APART`
seconds from the machine's and runs `CLOCK_DRIFT` too fast, and what it does with stamps is written to `CLOCK_LOG`.

The modules are patched before anything of ours is imported, so that whoever imports their names gets these.
"""

import json
import os
import time

APART, DRIFT = float(os.environ["CLOCK_APART"]), float(os.environ["CLOCK_DRIFT"])
BEGAN = float(os.environ["CLOCK_BEGAN"])
ROLE, LOG = os.environ["CLOCK_ROLE"], os.environ["CLOCK_LOG"]


def told(what, **values):
    with open(LOG, "a") as file:  # noqa: PTH123 (pathlib is more than a process needs to begin)
        file.write(json.dumps({"what": what, "at": time.monotonic(), **values}) + "\n")


def shifted():
    real = time.monotonic()
    return real + APART + DRIFT * (real - BEGAN)


from openomni import clock  # noqa: E402

clock._source = shifted

if ROLE == "agent":
    from openomni.agent import remote_run
    from openomni.bus import clocksync
    from openomni.pipeline import account

    synced, filled, recorded = clocksync.ClockSync.offset, remote_run._fill_remote, account.Account.record

    def offset(self):
        found = synced.fget(self)
        if found is not None:
            told("offset", peer="gateway", seconds=found.seconds, uncertainty=found.uncertainty)
        return found

    def fill(attempt, done, offset, sent):
        told("offset", peer="thinker", seconds=offset.seconds, uncertainty=offset.uncertainty)
        filled(attempt, done, offset, sent)

    def record(self):
        if self.heard is not None and self.heard.audible is not None:
            told(
                "turn", turn_id=self.turn.turn_id, end=self.end, speech_end=self.speech_end,
                audible=self.heard.audible, uncertainty=self.heard.uncertainty,
            )  # fmt: skip
        return recorded(self)

    clocksync.ClockSync.offset = property(offset)
    remote_run._fill_remote = fill
    account.Account.record = record

if ROLE == "client":
    from openomni.client import wire

    sound, message = wire.captured_sound, wire.Playback.message

    def captured_sound(position, captured, pcm):
        told("captured", position=position, stamp=captured)
        return sound(position, captured, pcm)

    def playback(self):
        if self.audible is not None:
            told("audible", turn_id=self.turn_id, stamp=self.audible)
        return message.fget(self)

    wire.captured_sound = captured_sound
    wire.Playback.message = property(playback)
