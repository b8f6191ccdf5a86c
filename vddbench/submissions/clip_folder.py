"""Reads a distilled set that is a folder of class folders, as selecting and generating methods leave it.

A clip is a video (`<class>/<clip>.mp4`), a folder of pictures (`<class>/<clip>/00001.jpg`), or pictures beside each other
(`<class>/class00003_id00000_t000.jpg`, RDED). Clips with more than T frames are read as `prepare` reads videos, and the middle
T stored frames are used. Frames of another size are scaled only if asked for. Class folders are named like the classes, or by
their numbers.
"""

from __future__ import annotations

import io
import math
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from vddbench.data.decode import (
    MAX_FRAMES,
    Geometry,
    Scaler,
    UnreadableVideo,
    check_pixels,
    fitted,
    header_num_frames,
    opened,
)
from vddbench.data.listing import EXTENSIONS
from vddbench.data.sources.frames import pixels_of, read_files
from vddbench.data.stored_frames import plan, planned_frames
from vddbench.data.stored_frames import store_video as store
from vddbench.spec import ClipSet, DatasetSpec
from vddbench.submissions.known_formats import PICTURES, recognised_folder
from vddbench.submissions.label_forms import from_names, some
from vddbench.system.progress import bar

MOVING = (".gif",)
NUMBERED = re.compile(r".*?(?P<frame>\d{1,9})", re.ASCII)  # in a folder of their own
MARKED = re.compile(
    r"(?P<clip>.+)_(?:t|f|frame)_?(?P<frame>\d{1,9})", re.ASCII | re.IGNORECASE
)  # class003_id000 may be a still


class Clip(NamedTuple):
    """A video file, or pictures in the order of their frames."""

    files: tuple[Path, ...]
    label: int


@dataclass
class Fit:
    """How frames come to the size of the dataset, and which other sizes were scaled and lengths were cut."""

    spec: DatasetSpec
    resize: bool  # whether frames of another size may be scaled
    scaled: set[tuple[int, int]] = field(default_factory=set)  # sizes (w, h) within the clip that is being read
    length: int = 0  # frames of that clip

    def geometry(self, num_frames: int, width: int, height: int) -> Geometry:
        """How the frames of a clip are scaled and cropped: as by `prepare`, but squares are not cropped.

        Raises UnreadableVideo, with both reasons, if the length of the clip or the size of its frames is not allowed.
        """
        problems = []
        if not self.spec.frames <= num_frames <= MAX_FRAMES:
            problems.append(
                f"the clip has {num_frames:,} frames; allowed: {self.spec.frames} or more, up to {MAX_FRAMES:,}. Shorter clips "
                "are not stretched: repeat or interpolate frames in your code"
            )
        size = f"{self.spec.size}x{self.spec.size}"
        if not self.resize and f"{width}x{height}" != size:
            problems.append(
                f"its frames are {width}x{height}; allowed: {size}, the size of the dataset's clips. "
                "--resize scales and crops clips of another size as `prepare` does; or scale them in your code"
            )
        if problems:
            raise UnreadableVideo("; ".join(problems))
        if (width, height) != (self.spec.size, self.spec.size):
            self.scaled.add((width, height))
        geometry = replace(Geometry.of(self.spec), num_videos=None)  # damaged videos are kept in pinned datasets only
        return replace(geometry, resize=None) if width == height else geometry


def read_clip_folder(folder: Path, spec: DatasetSpec, resize: bool, notes: list[str]) -> ClipSet:
    """The clips uint8 and labels of a folder. resize: scale and crop frames of another size, which are refused otherwise.

    Raises ValueError for folders that are not named like classes and files that are not clips.
    """
    clips = [clip for path, label in _classes(folder, spec, notes) for clip in _clips(path, label)]
    if not clips:
        raise ValueError(f"{folder}: its class folders hold no clips; allowed: {', '.join(EXTENSIONS + MOVING + PICTURES)}")
    notes.append(f"source: {folder}, {len(clips):,} clips in {len({clip.label for clip in clips})} class folders")
    notes.append(recognised_folder(folder, [clip.files for clip in clips]))
    out = np.empty((len(clips), *spec.clip_shape), np.uint8)
    sizes: Counter[tuple[int, int]] = Counter()
    longer: list[int] = []
    with bar("reading clips", len(clips)) as progress:
        for at, clip in enumerate(clips):
            try:
                fit = Fit(spec, resize)
                out[at] = _frames(clip.files, fit)
            except (UnreadableVideo, OSError, Image.DecompressionBombError) as error:
                raise ValueError(f"{clip.files[0]}: {error}") from error
            sizes.update(fit.scaled)
            longer += [fit.length] if fit.length > spec.frames else []
            progress.advance()
    if longer:
        lengths = some([f"{length:,}" for length in sorted(set(longer))])
        stored = "" if spec.stride == 1 else f" of those that `prepare` would store (stride {spec.stride})"
        clips_have = "1 clip has" if len(longer) == 1 else f"{len(longer):,} clips have"
        notes.append(
            f"length: {clips_have} more than {spec.frames} frames ({lengths}); the middle {spec.frames}{stored} are used"
        )
    if resize:
        of_size = ", ".join(f"{count:,} from {width}x{height}" for (width, height), count in sorted(sizes.items()))
        notes.append(f"scaled to {spec.size}x{spec.size} as `prepare` does it: {of_size or 'no clip, all have this size'}")
    return ClipSet(clips=torch.from_numpy(out), labels=torch.tensor([clip.label for clip in clips]))


def _classes(folder: Path, spec: DatasetSpec, notes: list[str]) -> list[tuple[Path, int]]:
    """The class folders, in the order of the labels."""
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not folders:
        files = [path.name for path in sorted(folder.iterdir()) if path.is_file()]
        holds = f"holds the files {some(files)}" if files else "is empty"
        file = next((f". For a file of tensors, give the file itself, e.g. pack {folder / name}" for name in files), "")
        if any("dynamic" in name for name in files):
            file += ". The motions of a static-dynamic set: --statics FILE --hallucinator FILE"
        raise ValueError(f"{folder} {holds}; a folder of clips has one folder for each class{file}")
    if files := [path.name for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]:
        more = f" and {len(files) - 3} more" if len(files) > 3 else ""
        notes.append(f"not read: {', '.join(files[:3])}{more} beside the class folders; labels are the folders' names")
    names = [path.name for path in folders]
    if all(name.isdecimal() and int(name) < spec.num_classes for name in names) and not set(names) & set(spec.class_names):
        labels = [int(name) for name in names]
        shown = some([f"{path.name} = {spec.class_names[label]}" for path, label in zip(folders, labels, strict=True)])
        notes.append(f"labels: class folders are numbers, counted from 0 in the order of the sorted names: {shown}")
    else:
        labels = from_names(names, spec, f"class folders of {folder}").tolist()
        notes.append("labels: class folders are named like the classes")
    return sorted(zip(folders, labels, strict=True), key=lambda pair: pair[1])


def _clips(folder: Path, label: int) -> Iterator[Clip]:
    """The clips of a class folder, sorted by name. Other files are refused, so that no clip is lost without a word."""
    groups: dict[str, dict[int, Path]] = defaultdict(dict)
    for path in sorted(folder.iterdir()):
        suffix = path.suffix.lower()
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield Clip(tuple(_ordered([file for file in path.iterdir() if file.suffix.lower() in PICTURES], path)), label)
        elif suffix in EXTENSIONS + MOVING:
            yield Clip((path,), label)
        elif suffix in PICTURES and (match := MARKED.fullmatch(path.stem)):
            _add(groups[match["clip"]], int(match["frame"]), path)
        else:
            raise ValueError(
                f"{path} is not a clip; allowed in a class folder: videos ({', '.join(EXTENSIONS + MOVING)}), a folder of "
                f"numbered pictures for each clip, or pictures CLIP_t000.jpg, CLIP_t001.jpg, ...; "
                "stills are packed from a tensor [N, H, W, 3]"
            )
    for name in sorted(groups):
        yield Clip(tuple(groups[name][number] for number in sorted(groups[name])), label)


def _ordered(files: Sequence[Path], folder: Path) -> list[Path]:
    numbered: dict[int, Path] = {}
    for file in files:
        match = NUMBERED.fullmatch(file.stem)
        if match is None:
            raise ValueError(f"{file} has no frame number at the end of its name")
        _add(numbered, int(match["frame"]), file)
    if not numbered:
        raise ValueError(f"{folder} holds no pictures ({', '.join(PICTURES)})")
    return [numbered[number] for number in sorted(numbered)]


def _add(numbered: dict[int, Path], number: int, file: Path) -> None:
    if number in numbered:
        raise ValueError(f"{file} and {numbered[number]} are both frame {number} of a clip")
    numbered[number] = file


def _frames(files: Sequence[Path], fit: Fit) -> np.ndarray:
    """The frames of one clip, uint8 [T, H, W, 3]."""
    if len(files) == 1 and files[0].suffix.lower() in EXTENSIONS:
        return _video(files[0], fit)
    if files[0].suffix.lower() in MOVING:
        [content] = read_files(files)
        with Image.open(io.BytesIO(content), formats=["GIF"]) as image:
            check_pixels(*image.size)
            pictures = _pictures(image, fit.spec.frames)
            return _chosen(len(pictures), lambda at: _frame_of(image, pictures[at]), fit)
    return _chosen(len(files), lambda at: pixels_of(*read_files([files[at]])), fit)


def _chosen(number: int, read: Callable[[int], np.ndarray], fit: Fit) -> np.ndarray:
    """The T frames chosen from a clip of `number` pictures, uint8 [T, H, W, 3]."""
    planned = planned_frames(plan(number, fit.spec.frames, fit.spec.stride), number)
    begin = max(0, len(planned) - fit.spec.frames) // 2
    fit.length = number
    scaler, frames = Scaler(), []
    for at in planned[begin : begin + fit.spec.frames]:
        pixels = read(at)
        frames.append(fitted(pixels, fit.geometry(number, pixels.shape[1], pixels.shape[0]), scaler))
    return np.stack(frames)


def _video(path: Path, fit: Fit) -> np.ndarray:
    spec = fit.spec
    with opened(path) as (container, stream):
        number = header_num_frames(container, stream) or MAX_FRAMES  # 0: unknown
        size = stream.width, stream.height
    geometry = fit.geometry(min(number, MAX_FRAMES), *size)
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "frames"
        stored = store(path, geometry, part)
        fit.geometry(stored.num_source, *size)  # the duration in a header may be that of the sound
        number, fit.length = stored.num_frames, stored.num_source
        frames = np.fromfile(part, np.uint8).reshape(number, *spec.clip_shape[1:])
    begin = (number - spec.frames) // 2
    return frames[begin : begin + spec.frames]


def _pictures(image: Image.Image, frames: int) -> list[int]:
    """Which picture of a GIF each frame shows. Pillow and others save equal neighbours as one picture that is shown longer.

    A clip with fewer pictures than `frames` is read by the times that they are shown, if these make just `frames` frames.
    """
    number = getattr(image, "n_frames", 1)
    if 1 < number < frames:
        times = [_milliseconds(image, at) for at in range(number)]
        unit = math.gcd(*times)
        if sum(times) == unit * frames > 0:
            return [at for at, time in enumerate(times) for _ in range(time // unit)]
    return list(range(number))


def _milliseconds(image: Image.Image, at: int) -> int:
    image.seek(at)
    return int(image.info.get("duration", 0))


def _frame_of(image: Image.Image, at: int) -> np.ndarray:
    image.seek(at)
    return np.asarray(image.convert("RGB"))
