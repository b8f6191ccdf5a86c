"""Reads extracted frames: one folder per video, `<video>/frame000001.jpg`, ... (twostreamfusion, SDD's jpegs_112), JPEG or PNG.

Frames are sorted by number, never in listing order, and none may be missing between the first and the last. Frames that
already have the clips' size are stored unchanged (SDD's are cropped); others are scaled and cropped like those of a video. The
pixels may have gone through a JPEG coder, so the store differs from a store of the videos, and its spec says so. Only the
frames that are stored are read.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from vddbench.data.decode import MAX_FRAMES, Geometry, Scaler, UnreadableVideo, check_pixels, check_regular, fitted
from vddbench.data.listing import contents, is_folder, warn_of_folder
from vddbench.data.matching import REPLACEMENTS, ShortName, named
from vddbench.data.stored_frames import MAX_STORED_FRAMES, Stored, plan, planned_frames, repeat_to, stored
from vddbench.spec import DatasetSpec, Video
from vddbench.system.progress import say

FRAME = re.compile(  # no flow_x_00001; EPIC-KITCHENS and Something-Something's extractors write ten digits
    r"(?P<stem>(?:frame|img|image|im)?[_-]?)(?P<number>\d{1,12})\.(?:jpe?g|png)", re.ASCII | re.IGNORECASE
)
EXPECTED = "frame000001.jpg, img_00001.jpg or 0000000001.png"
FROM_FRAMES = "; from extracted frames"
MODES = {"L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"}  # of 8 bits: Pillow clips those of 16 bits
MAX_FRAME_BYTES = 64 * 10**6  # of one file; a PNG of 4K has up to 25 MB
LATE_START = "begin with a frame number other than 0 or 1, so frames may be missing at the start"
DEPTH = 3  # levels: DIR/<video>, DIR/<class>/<video>, DIR/<split>/<class>/<video>


def of_frames(spec: DatasetSpec) -> DatasetSpec:
    """The spec of a store that is made from extracted frames."""
    return spec.model_copy(update={"source": spec.source + FROM_FRAMES})


def in_frames(listing: Iterable[Video], folder: Path, short_name: ShortName | None = None) -> list[Video]:
    """The listed videos with paths to their folders of frames, named like the last part of the id; None if there is none.

    short_name: see `listing.named`. Raises FileNotFoundError if no video has a folder, ValueError if one has two.
    """
    listed = list(listing)
    keys = [video.id.rpartition("/")[2] for video in listed]
    wanted = {*keys, *map(short_name, keys)} if short_name else set(keys)
    folders, others = folders_of(folder, {key.lower() for key in wanted})
    if listed and not folders:
        raise FileNotFoundError(
            f"no frames in {folder}: looked for folders such as {folder / keys[0]} with {EXPECTED}; {contents(folder)}"
        )
    videos = list(named(listed, lambda name: one_of(folders.get(name.lower(), []), name), short_name))
    warn_of_renamed([key for video, key in zip(videos, keys, strict=True) if video.path is None], others)
    return videos


def one_of(folders: list[Path], key: str) -> Path | None:
    """The folder with exactly this name, or the only one that differs from it in case (v_HandStandPushups)."""
    same = [path for path in folders if path.name == key] or folders
    same = [path for path in same if path.parent.name in REPLACEMENTS] or same
    if len(same) > 1:
        raise ValueError(f"two folders have the frames of {key}: {same[0]} and {same[1]}; remove one")
    return same[0] if same else None


def folders_of(folder: Path, wanted: set[str]) -> tuple[dict[str, list[Path]], list[Path]]:
    """(lower-case name -> the folders with that name, for the wanted names; all other folders)."""
    named: dict[str, list[Path]] = {}
    others: list[Path] = []
    level = [folder]
    for _ in range(DEPTH):
        deeper: list[Path] = []
        for where in level:
            for path in folders_in(where):
                if (key := path.name.lower()) in wanted:
                    named.setdefault(key, []).append(path)
                else:
                    deeper.append(path)
        others += deeper
        level = deeper
    return named, others


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, sorted; none and a warning if it can't be read."""
    try:
        return sorted(Path(entry.path) for entry in os.scandir(folder) if is_folder(entry))
    except OSError as error:
        warn_of_folder(error)
        return []


def warn_of_renamed(keys: Iterable[str], others: Iterable[Path]) -> None:
    """Prints which videos have no folder with their name, but a folder with a similar name.

    Such folders are not used: without its odd characters, a name of HMDB51 may be that of another clip
    (Smile!_smile_h_cm_np1_fr_goo_0, Smile_smile_h_cm_np1_fr_goo_0).
    """
    alike = {plain(path.name): path for path in others}
    renamed = [f"{alike[plain(key)]} for {key}" for key in keys if plain(key) in alike]
    if renamed:
        first = "; ".join(renamed[:5]) + ("; ..." if len(renamed) > 5 else "")
        say(
            f"warning: {len(renamed):,} folders seem to have lost characters of their videos' names: {first}. Give them the "
            "lists' names, with every [ ] ( ) ! & # + - ; ~ @, if you know which is which",
            style="yellow",
        )


def plain(name: str) -> str:
    """A name without the characters that scripts remove to make it safe for a shell."""
    return "".join(c for c in name.lower() if c.isalnum() and c.isascii())


def frame_files(folder: Path) -> tuple[list[Path], int]:
    """(the files of a video's frames in the order of their numbers, the first number). Raises UnreadableVideo."""
    numbered: dict[int, Path] = {}
    stems: set[str] = set()
    others: list[str] = []
    own_name = re.compile(rf"{re.escape(folder.name)}[_-](?=\d)")  # <video>/<video>_00001.jpg
    try:
        for path in folder.iterdir():
            match = FRAME.fullmatch(own_name.sub("", path.name, count=1))
            if match is None:
                others.append(path.name)
                continue
            number = int(match["number"])
            if number in numbered:
                raise UnreadableVideo(f"two files are frame {number}: {numbered[number].name} and {path.name}")
            numbered[number] = path
            stems.add(match["stem"])
    except OSError as error:
        raise UnreadableVideo(f"cannot be read: {error.strerror}") from None
    if not numbered:
        found = f" among its {len(others):,} files, e.g. {min(others)}; they are named {EXPECTED}" if others else ""
        raise UnreadableVideo(f"no frames{found and ':'}{found}")
    if len(stems) > 1:
        raise UnreadableVideo(f"frames of several kinds: {', '.join(sorted(stem or '(number)' for stem in stems))}")
    if len(numbered) > MAX_FRAMES:
        raise UnreadableVideo(f"more than {MAX_FRAMES:,} frames")
    check_consecutive(sorted(numbered))
    return [numbered[number] for number in sorted(numbered)], min(numbered)


def check_consecutive(numbers: list[int]) -> None:
    """Raises UnreadableVideo if a number between the first and the last is missing: clips would jump in time."""
    steps = {later - earlier for earlier, later in itertools.pairwise(numbers)}
    if steps <= {1}:
        return
    if len(steps) == 1:
        raise UnreadableVideo(
            f"frame missing: {numbers[0] + 1}: the numbers are {', '.join(map(str, numbers[:3]))}, ..., only one frame in "
            f"{steps.pop()}. Stored frames are chosen among all frames of a video: extract all of them"
        )
    first = next(earlier for earlier, later in itertools.pairwise(numbers) if later - earlier > 1)
    raise UnreadableVideo(f"frame missing: {first + 1}")


def store_frames(folder: Path, spec: Geometry, part: Path) -> Stored:
    """Writes the planned frames of a folder to the new file `part`: uint8 [num_frames, H, W, C].

    The result's `sha256` covers the stored files, each preceded by its length in 8 bytes. Raises UnreadableVideo, and OSError
    if `part` cannot be written.
    """
    files, first = frame_files(folder)
    planned = plan(len(files), spec.frames, spec.stride)
    if (num_planned := len(planned_frames(planned, len(files)))) > MAX_STORED_FRAMES:
        raise UnreadableVideo(f"more than {MAX_STORED_FRAMES:,} frames to store: {num_planned:,}")
    source, scaler = hashlib.sha256(), Scaler()
    with part.open("w+b") as out:
        for content in read_files(files[number] for number in planned_frames(planned, len(files))):
            source.update(len(content).to_bytes(8, "big") + content)
            out.write(fitted(pixels_of(content), spec, scaler).tobytes())
        num_frames = repeat_to(spec, out)
        done = stored(out, spec, num_frames, stride=planned.step, sha256=source.hexdigest(), num_source=len(files))
        return done if first in {0, 1} else replace(done, note=LATE_START)


def read_files(files: Iterable[Path]) -> Iterator[bytes]:
    for file in files:
        try:
            check_regular(file)
            if (size := file.stat().st_size) > MAX_FRAME_BYTES:
                raise UnreadableVideo(f"a frame of {size:,} bytes: {file.name}; allowed: {MAX_FRAME_BYTES:,}")
            yield file.read_bytes()
        except OSError as error:
            raise UnreadableVideo(f"cannot be read: {file.name}, {error.strerror}") from None


def pixels_of(content: bytes) -> np.ndarray:
    """The pixels of a JPEG or PNG, uint8 RGB [H, W, 3]. Raises UnreadableVideo."""
    try:
        with Image.open(io.BytesIO(content), formats=["JPEG", "PNG"]) as image:
            check_pixels(*image.size)
            if image.mode not in MODES:
                raise UnreadableVideo(f"a frame has pixels of kind {image.mode}; allowed are 8 bits a colour")
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, Image.DecompressionBombError):  # OSError: also if it is cut short; SyntaxError: a broken PNG
        raise UnreadableVideo("a frame is not a complete JPEG or PNG") from None
