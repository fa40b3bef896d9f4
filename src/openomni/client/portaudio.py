"""PortAudio through sounddevice, loaded when a microphone or a loudspeaker is first asked for."""

from __future__ import annotations

from typing import Any

from .. import installs
from ..errors import OpenOmniError, WrongUsage, nearest


def load(what: str) -> Any:
    """The sounddevice module. Raises OpenOmniError with the line that mends its absence; `what` needs it."""
    try:
        import sounddevice
    except ModuleNotFoundError:
        extra = "listener" if what == "the microphone" else "responder"
        raise OpenOmniError(f"{what} needs sounddevice; {installs.line(extra)}") from None
    except OSError:
        raise OpenOmniError(
            f"{what} needs the PortAudio library, which is not here; install it with: sudo apt install libportaudio2"
        ) from None
    return sounddevice


def devices(sounddevice: Any) -> list[dict[str, Any]]:
    """All devices that PortAudio sees; each with `index`, `name`, `max_input_channels`, `max_output_channels`, …"""
    return [dict(device) for device in sounddevice.query_devices()]


def choose(sounddevice: Any, wanted: str | None, direction: str) -> dict[str, Any]:
    """The device with that index or (part of the) name, or the system's default one.

    `direction` is `input` or `output`. Raises OpenOmniError when there is none, WrongUsage for an unknown one.
    """
    channels = f"max_{direction}_channels"
    usable = [device for device in devices(sounddevice) if device[channels] > 0]
    what = "microphone" if direction == "input" else "loudspeaker"
    if not usable:
        raise OpenOmniError(f"there is no {what} on this machine; plug one in, or see `openomni listen --list-devices`")
    if wanted is None:
        default = sounddevice.default.device["input" if direction == "input" else "output"]
        return next((device for device in usable if device["index"] == default), usable[0])
    for device in usable:
        if wanted == str(device["index"]) or wanted.lower() in device["name"].lower():
            return device
    raise WrongUsage(f"there is no {what} {wanted!r}; {nearest(wanted, [device['name'] for device in usable])}")


def table(sounddevice: Any) -> list[str]:
    """The devices as lines for `--list-devices`."""
    lines = []
    for device in devices(sounddevice):
        ways = [way for way in ("input", "output") if device[f"max_{way}_channels"]]
        rate = round(device["default_samplerate"])
        lines.append(f"{device['index']:>3}  {device['name']}  ({' and '.join(ways)}, {rate} Hz)")
    return lines or ["no audio devices; plug one in"]


def lag(seconds: float) -> float:
    """How far a converter is from now, as PortAudio says; 0 where the driver does not know, and says what cannot be."""
    return seconds if 0 <= seconds < 5 else 0.0
