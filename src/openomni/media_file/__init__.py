"""Media files as they come: late, damaged, with several tracks, lying on their side, under any name.

One reader for all who need one: the replay of a file, an agent's queued turns, the sound of a page. What it gives has
its place where a player has it: seconds from the file's beginning, which is where its earliest track begins.
"""

from .audio import channels, sound
from .opening import MediaFile, Told, shown
from .time_points import parse_time_points
from .tracks import SILENT, audio_track, moving
from .video import SHOWN_SIDE, pictures, upright

__all__ = [
    "SHOWN_SIDE",
    "SILENT",
    "MediaError",
    "MediaFile",
    "Told",
    "audio_track",
    "channels",
    "moving",
    "parse_time_points",
    "pictures",
    "shown",
    "sound",
    "upright",
]
