"""Generated videos for `bench --prepare`: textured objects that move, pan and flicker, in the codecs of real datasets.

No part is flat or still, so a decoder has about as much to do as with real videos: UCF101's avi of 320x240 have about 1,000
bytes per frame, these 1,300. The same seeds give the same pixels; the files may differ with the encoder's version.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from vddbench.data.stream_codec import encode
from vddbench.data.workers import num_cores
from vddbench.system.progress import bar

NUM_THINGS = 3  # objects that move in front of the background


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Videos of one codec: `count` of them, of which `distinct` are encoded and the others are copies."""

    suffix: str
    codec: str
    options: dict[str, str]
    bit_rate: int
    rate: int  # frames/s
    size: tuple[int, int]  # (w, h)
    num_frames: tuple[int, int]  # smallest, largest
    count: int
    distinct: int


KINDS = (
    Kind(
        suffix=".avi", codec="mpeg4", options={"bf": "2"}, bit_rate=250_000, rate=25, size=(320, 240), num_frames=(60, 300),
        count=80, distinct=80,
    ),  # UCF101, HMDB51: MPEG-4 ASP with B-frames
    Kind(
        suffix=".mp4", codec="libx264", options={"preset": "veryfast", "crf": "18"}, bit_rate=0, rate=30, size=(320, 240),
        num_frames=(60, 300), count=80, distinct=80,
    ),  # Kinetics-400
    Kind(
        suffix=".webm", codec="libvpx-vp9", options={"deadline": "realtime", "cpu-used": "6"}, bit_rate=200_000, rate=12,
        size=(427, 240), num_frames=(48, 48), count=40, distinct=8,
    ),  # Something-Something V2
)  # fmt: skip


def clips(folder: Path, kinds: Sequence[Kind] = KINDS) -> dict[str, list[Path]]:
    """The videos by suffix. Those that do not exist in `folder` are made."""
    paths = {kind.suffix: [folder / f"{i:04d}{kind.suffix}" for i in range(kind.count)] for kind in kinds}
    jobs = [(paths[kind.suffix][i], kind, i) for kind in kinds for i in range(kind.distinct)]
    todo = [job for job in jobs if not job[0].is_file()]
    if todo:
        folder.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(num_cores()) as pool, bar("clips", len(todo)) as progress:
            for _ in pool.map(make, *zip(*todo, strict=True)):
                progress.advance()
    for kind in kinds:
        for i, path in enumerate(paths[kind.suffix]):
            if not path.is_file():
                shutil.copyfile(paths[kind.suffix][i % kind.distinct], path)
    return paths


def make(path: Path, kind: Kind, seed: int) -> None:
    """Encodes one video."""
    rng = np.random.default_rng([seed, *kind.suffix.encode()])
    count = round(float(np.exp(rng.uniform(*np.log(kind.num_frames)))))  # short videos are more frequent
    part = path.with_name(f".part.{path.name}")
    encode(part, scene(rng, count, *kind.size), kind.codec, rate=kind.rate, bit_rate=kind.bit_rate, options=kind.options)
    part.replace(path)


def scene(rng: np.random.Generator, count: int, width: int, height: int) -> Iterator[np.ndarray]:
    """`count` frames [H, W, 3] uint8: objects that move over a panning background, with flickering grain."""
    background = texture(rng, 2 * height, 2 * width)
    things = [texture(rng, height // 3, width // 4) for _ in range(NUM_THINGS)]
    grain = rng.normal(0, 3, (4, height, width, 3)).astype(np.int16)
    phase, speed = rng.uniform(0, 2 * np.pi, (2, NUM_THINGS + 1)), rng.uniform(0.01, 0.06, (2, NUM_THINGS + 1))
    for t in range(count):
        where = (np.sin(phase + speed * t) + 1) / 2  # [2, NUM_THINGS + 1] in [0, 1]
        top, left = int(where[0, 0] * height), int(where[1, 0] * width)
        frame = background[top : top + height, left : left + width].copy()
        for thing, (y, x) in zip(things, where.T[1:], strict=True):
            top, left = int(y * (height - thing.shape[0])), int(x * (width - thing.shape[1]))
            frame[top : top + thing.shape[0], left : left + thing.shape[1]] = thing
        yield np.clip(frame + grain[rng.integers(4)], 0, 255).astype(np.uint8)


def texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """[H, W, 3] int16: noise of all scales, the coarse ones stronger, as in photographs."""
    total = np.zeros((height, width, 3), np.float32)
    for scale in (4, 8, 16, 32, 64, 128):
        coarse = rng.normal(size=(3, height // scale + 2, width // scale + 2)).astype(np.float32)
        planes = [Image.fromarray(plane).resize((width, height), Image.Resampling.BICUBIC) for plane in coarse]
        total += np.stack([np.asarray(plane) for plane in planes], -1) * scale**0.7
    total -= total.min()
    pixels: np.ndarray = (total * (235 / total.max())).astype(np.int16)
    return pixels
