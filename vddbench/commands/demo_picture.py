"""The picture of `vddbench demo`: a ranked table whose rows show their clips, playing, as an animated GIF.

GIF, because every browser and picture viewer plays it. Drawn with Pillow alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vddbench.spec import ClipSet, DatasetSpec
from vddbench.system.files import replacing

WORDS = {  # what a row is, for somebody who does not know the names
    "random": "real clips, raw frames",
    "random_still": "single real frames, standing still",
    "random_jpeg": "real clips, JPEG frames",
    "random_video": "real clips, AV1",
    "random_video_tenth": "real clips, AV1, a tenth of the bytes",
    "random_video_hundredth": "real clips, AV1, a hundredth of the bytes",
    "mean": "means of real clips",
    "dm_fast": "learned clips (DM, quick preset)",
    "static_dc_fast": "learned stills (DC, quick preset)",
}
WIDTH, MARGIN, ROW, THUMB, TOP, BOTTOM = 1160, 20, 58, 44, 92, 46  # pixels
NAMES, BARS, NUMBERS = 270, 270, 180  # pixels: width of the names, of the bars, of the numbers behind them
SHOWN = 8  # classes
FRAME_MILLISECONDS, COLOURS = 120, 256
PAPER, INK, MUTED, RULE, BAR, REFERENCE, HERE = "#ffffff", "#1d1b18", "#6c665c", "#d8d2c6", "#7fa9bd", "#a2561f", "#c02020"


class Row(NamedTuple):
    """An entry of the table."""

    method: str
    top1: float
    low: float  # of its 95 % interval, NaN if unknown
    high: float
    payload_bytes: int
    clips_per_class: float
    clips: ClipSet
    here: float | None  # top-1 of the student that was trained here


def write_picture(title: str, spec: DatasetSpec, rows: Sequence[Row], path: Path) -> None:
    """Writes the GIF. rows: best first. Raises OSError if the file cannot be written."""
    labels = range(min(spec.num_classes, SHOWN))
    still = Image.new("RGB", (WIDTH, TOP + ROW * len(rows) + BOTTOM), PAPER)
    left = WIDTH - MARGIN - BARS - NUMBERS
    if any(row.here is not None for row in rows):
        note = "red: the student that was trained here, on the bar of its record"
        ImageDraw.Draw(still).text((MARGIN, still.height - 24), note, HERE, _font(13))
    _draw_head(still, title, [spec.class_names[label] for label in labels], left, len(rows), 1 / spec.num_classes)
    for number, row in enumerate(rows):
        _draw_row(still, row, TOP + ROW * number, left)
    clips = [_shown(row.clips, labels) for row in rows]
    frames = []
    for t in range(max(1, *(len(clip) for of_row in clips for clip in of_row.values()))):
        frame = still.copy()
        for number, of_row in enumerate(clips):
            for place, clip in of_row.items():
                thumb = Image.fromarray(clip[t % len(clip)]).resize((THUMB, THUMB), Image.Resampling.BOX)
                frame.paste(thumb, (MARGIN + NAMES + place * (THUMB + 4), TOP + ROW * number + (ROW - THUMB) // 2))
        frames.append(frame)
    palette = frames[0].quantize(COLOURS, dither=Image.Dither.NONE)  # one palette, so that colours do not flicker
    first, *rest = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    with replacing(path) as file:
        first.save(file, "GIF", save_all=True, append_images=rest, duration=FRAME_MILLISECONDS, loop=0)


def _shown(clips: ClipSet, labels: Sequence[int]) -> dict[int, np.ndarray]:
    """Place -> uint8 [T, H, W, 3]: the first clip of each class that has one."""
    from vddbench.submissions.previews import frames_of  # imports PyTorch

    hard = clips.labels if clips.labels.ndim == 1 else clips.labels.argmax(1)
    rows = {place: (hard == label).nonzero() for place, label in enumerate(labels)}
    return {place: frames_of(clips.clips[int(found[0, 0])]) for place, found in rows.items() if len(found)}


def _draw_head(still: Image.Image, title: str, names: Sequence[str], left: int, rows: int, chance: float) -> None:
    """The title, the names of the classes above their clips, and the axis of the bars."""
    draw, bottom = ImageDraw.Draw(still), TOP + ROW * rows
    draw.text((MARGIN, 14), title, INK, _font(19))
    about = "each row: the first clip of each class, then top-1 on test videos with its 95 % interval, and the size of the set"
    draw.text((MARGIN, 42), about, MUTED, _font(13))
    for place, name in enumerate(names):
        for line, word in enumerate(name.split("_")[:2]):
            draw.text((MARGIN + NAMES + place * (THUMB + 4), TOP - 26 + 12 * line), word[:7], MUTED, _font(11))
    for share in (0, 0.25, 0.5, 0.75, 1):
        x = left + BARS * share
        draw.line((x, TOP, x, bottom), RULE)
        draw.text((x, bottom + 4), f"{share:.0%}", MUTED, _font(12), anchor="ma")
    x = left + BARS * chance
    draw.line((x, TOP, x, bottom), REFERENCE)
    draw.text((x, TOP - 15), f"chance {chance:.1%}", REFERENCE, _font(11), anchor="ma")


def _draw_row(still: Image.Image, row: Row, top: int, left: int) -> None:
    draw, middle = ImageDraw.Draw(still), top + ROW // 2
    draw.text((MARGIN, top + 10), row.method, INK, _font(15))
    draw.text((MARGIN, top + 30), WORDS.get(row.method, ""), MUTED, _font(12))
    draw.rectangle((left, middle - 10, left + BARS * row.top1, middle + 10), BAR)
    if not math.isnan(row.low):
        draw.line((left + BARS * row.low, middle, left + BARS * row.high, middle), INK, 2)
    if row.here is not None:
        x = left + BARS * row.here
        draw.line((x, middle - 14, x, middle + 14), HERE, 3)
    interval = "" if math.isnan(row.low) else f" ({100 * row.low:.0f} to {100 * row.high:.0f})"
    draw.text((left + BARS + 12, top + 10), f"{100 * row.top1:.1f} %{interval}", INK, _font(15))
    size = f"{row.payload_bytes / 1e6:.3f} MB, {row.clips_per_class:g} clips per class"
    draw.text((left + BARS + 12, top + 30), size, MUTED, _font(12))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)
