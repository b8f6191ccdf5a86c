"""Writes small videos of squares that move left, right or up, in the layout that `vddbench prepare NAME --folder DIR` reads.

    python examples/make_videos.py videos

writes videos/{train,test}/{left,right,up}/NN.mp4: 8 videos for training and 4 for testing of each class.
"""

from __future__ import annotations

import sys
from pathlib import Path

import av
import numpy as np

MOVES = {"left": (0, -1), "right": (0, 1), "up": (-1, 0)}  # rows and columns per frame
COUNTS = {"train": 8, "test": 4}
FRAMES, SIDE, SQUARE = 40, 64, 12


def make(folder: Path) -> None:
    for split, count in COUNTS.items():
        for number, (name, move) in enumerate(MOVES.items()):
            (folder / split / name).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                rng = np.random.default_rng([len(split), number, i])
                write(folder / split / name / f"{i:02}.mp4", frames(move, rng))


def frames(move: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """[FRAMES, SIDE, SIDE, 3] uint8: a square of a random colour that starts anywhere and re-enters on the other side."""
    colour, background, start = rng.integers(120, 256, 3), rng.integers(0, 100, 3), rng.integers(0, SIDE, 2)
    first = np.full((SIDE, SIDE, 3), background, np.uint8)
    first[:SQUARE, :SQUARE] = colour
    return np.stack([np.roll(first, start + 2 * t * np.array(move), (0, 1)) for t in range(FRAMES)])


def write(path: Path, pictures: np.ndarray) -> None:
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=24)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        file.mux(stream.encode())


if __name__ == "__main__":
    make(Path(sys.argv[1] if len(sys.argv) > 1 else "videos"))
