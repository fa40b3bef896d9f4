"""Draws docs/images/timeline.svg from a turn's JSON: the lanes that the command line shows, as a picture.

openomni demo --json docs/images/timeline.json && python docs/images/make_timeline.py
"""

from __future__ import annotations

import json
from pathlib import Path
from xml.sax.saxutils import escape

from openomni.cli.timeline import COLOURS, OFF_PATH, Timeline

HERE = Path(__file__).parent
LEFT, WIDTH, RIGHT, ROW, TOP = 170, 620, 90, 26, 96
# Okabe and Ito's palette, which colour-blind people can tell apart too; the command line's names are the keys.
PAINT = {
    "end_of_turn": "#8c8c8c", "queue": "#e69f00", "lost": "#24292f", "transfer": "#56b4e9", "load": "#cc79a7",
    "model": "#009e73", "aggregation": "#d55e00", "playback": "#0072b2", "residue": "#c0392b",
}  # fmt: skip
STYLE = (
    "text{font:14px system-ui,sans-serif;fill:#24292f}.dim{fill:#6e7781;font-size:12px}.bold{font-weight:600}"
    ".grid{stroke:#d0d7de}.beside{fill:#d0d7de}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.dim{fill:#9198a1}.grid{stroke:#3d444d}.beside{fill:#3d444d}}"
)


def main() -> None:
    (turn, *_) = json.loads((HERE / "timeline.json").read_text())["turns"]
    timeline = Timeline(turn)
    lanes = timeline.lanes()
    owner = {colour: what for what, colour in COLOURS.items()}
    height = TOP + len(lanes) * ROW + 34
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + RIGHT} {height}" role="img" '
        f'aria-label="Where each millisecond of a turn went"><style>{STYLE}</style>',
        text(0, 18, f"» {turn['transcript']}"),
        text(0, 42, f"« {turn['reply_text'].strip()}"),
        text(LEFT + WIDTH + RIGHT, 18, f"voice to voice {turn['voice_to_voice_s'] * 1000:.0f} ms", "bold", "end"),
    ]
    bottom = TOP + len(lanes) * ROW
    for tick in range(0, round(timeline.total * 1000) + 1, 200):
        x = LEFT + tick / 1000 / timeline.total * WIDTH
        out.append(f'<path class="grid" d="M{x:.1f} {TOP - 8}V{bottom}"/>')
        out.append(text(x, TOP - 14, f"{tick} ms" if tick else "last word", "dim", "middle"))
    for number, lane in enumerate(lanes):
        y = TOP + number * ROW
        out.append(text(0, y + 14, lane.name))
        out.append(text(LEFT + WIDTH + RIGHT, y + 14, f"{lane.seconds * 1000:.0f} ms", "", "end"))
        for bar in lane.bars:
            start, end = max(bar.start, 0.0), min(bar.end, timeline.total)
            if end > start:
                paint = 'class="beside"' if bar.colour == OFF_PATH else f'fill="{PAINT[owner[bar.colour]]}"'
                x, width = LEFT + start / timeline.total * WIDTH, (end - start) / timeline.total * WIDTH
                out.append(f'<rect x="{x:.1f}" y="{y}" width="{max(width, 1.5):.1f}" height="18" rx="2" {paint}/>')
    x = LEFT
    for what in ("queue", "transfer", "model", "aggregation", "residue"):
        out.append(f'<rect x="{x}" y="{height - 18}" width="11" height="11" rx="2" fill="{PAINT[what]}"/>')
        out.append(text(x + 16, height - 8, what, "dim"))
        x += 105
    out.append(f'<rect class="beside" x="{x}" y="{height - 18}" width="11" height="11" rx="2"/>')
    out.append(text(x + 16, height - 8, "beside the path", "dim"))
    (HERE / "timeline.svg").write_text("\n".join([*out, "</svg>"]) + "\n")


def text(x: float, y: float, words: str, style: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y}" class="{style}" text-anchor="{anchor}">{escape(words)}</text>'


if __name__ == "__main__":
    main()
