"""Contact sheets, to check clips by eye: four frames each. Of a prepared dataset, a training clip per class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vddbench.data.store import Split
from vddbench.system.files import replacing

FRAMES = 4
GAP, LINE, TEXT = 6, 1, 16  # pixels: between cells, between frames, height of a class's name
ASPECT = 4 / 3  # approximate width / height of the sheet
MIN_SIDE = 64  # pixels; smaller frames are enlarged by a whole factor
PAPER, INK = (24, 24, 24), (235, 235, 235)


def contact_sheet(train: Split, path: Path) -> None:
    """Writes a PNG with one video per class, the middle one in its list: FRAMES evenly spaced frames of its centre clip."""
    spec = train.spec
    chosen = np.array([rows[len(rows) // 2] for rows in (np.flatnonzero(train.labels == k) for k in range(spec.num_classes))])
    draw_sheet(spec.class_names, train.clips(chosen, train.centre_starts(chosen)).numpy(), path)


def draw_sheet(names: Sequence[str], clips: np.ndarray, path: Path) -> None:
    """Writes a PNG with FRAMES evenly spaced frames of each clip under its name. clips: uint8 [n, T, H, W, 3]."""
    num_frames, size = clips.shape[1], clips.shape[2]
    times = np.arange(FRAMES) * (num_frames - 1) // (FRAMES - 1)
    scale = -(-MIN_SIDE // size)
    side = size * scale
    width, height = FRAMES * (side + LINE) + GAP, TEXT + side + GAP
    columns = max(1, round(math.sqrt(len(names) * height * ASPECT / width)))
    rows = -(-len(names) // columns)
    sheet = Image.new("RGB", (columns * width + GAP, rows * height + GAP), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=TEXT - 5)
    for number, (name, clip) in enumerate(zip(names, clips, strict=True)):
        left, top = GAP + number % columns * width, GAP + number // columns * height
        for i, frame in enumerate(clip[times].repeat(scale, axis=1).repeat(scale, axis=2)):
            sheet.paste(Image.fromarray(frame), (left + i * (side + LINE), top + TEXT))
        draw.text((left, top), fitting(name, font, width - 2 * GAP), INK, font)
    with replacing(path) as file:
        sheet.save(file, format="PNG")


def fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The text, or the longest beginning of it that fits the width."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
