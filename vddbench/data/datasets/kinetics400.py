"""kinetics400: 400 human actions, clips of 10 s from YouTube; the official train list, and the validation list as the test set.

Kay et al.: The Kinetics Human Action Video Dataset, 2017 (arXiv 1705.06950). Lists: `train.csv` and `validate.csv` (CVDF calls
it val.csv, ActivityNet's crawler kinetics-400_val.csv; label,youtube_id,time_start,time_end,split), 246,534 and 19,906 clips.
Source of the videos: https://github.com/cvdfoundation/kinetics-dataset. A clip is `<youtube_id>_%06d_%06d.mp4` (start, end)
anywhere below `raw`: in folders of splits or of classes, or as CVDF ships them; CVDF's `replacement_for_corrupted_k400/` (or
`replacement/`) has undamaged copies of some 1,400 clips. Copies also have .mkv files, or clips called `<youtube_id>.mp4`.
Videos vanish from YouTube, so copies differ, and DeepMind's own lists have become shorter (17,770 to 18,035 of the 19,906 in
three copies of later years). Missing clips are therefore allowed: they are listed in the store's problems.csv and counted in
its spec.json and in every record.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from vddbench.data.listing import EXTENSIONS, contents, files_below, read_list
from vddbench.data.matching import REPLACEMENTS, named
from vddbench.spec import DatasetSpec, Video

LISTS: dict[Literal["train", "test"], tuple[str, ...]] = {  # of DeepMind, CVDF, ActivityNet's crawler and MMAction2
    "train": ("train.csv", "kinetics-400_train.csv", "kinetics400_train.csv", "kinetics_train.csv"),
    "test": ("validate.csv", "val.csv", "kinetics-400_val.csv", "kinetics400_val.csv", "kinetics_val.csv"),
}
LIST_FOLDERS = (".", "annotations", "kinetics400", "kinetics400/annotations")
LIST_FILES = re.compile(
    r"((annotations|kinetics400|kinetics400/annotations)/)?(kinetics(-400|400)?_)?(train|validate|val)\.csv"
)
SUFFIX = ".mp4"
OF_SPLIT = {"train": {"train"}, "test": {"validate", "val", "validation"}}  # values allowed in the column `split`
COLUMNS = ("label", "youtube_id", "time_start", "time_end", "split")
NAME = re.compile(r"(?P<id>.{11})_(?P<start>\d{1,6})_(?P<end>\d{1,6})", re.ASCII)
MAX_SECONDS = 30  # of a file that is named by its YouTube id only; clips have 10 s, whole videos some minutes
CHECKED = 10  # such files whose length is read
CLASS_NAMES = tuple(Path(__file__).with_name("kinetics400_classes.txt").read_text(encoding="utf-8").splitlines())

SPEC = DatasetSpec(
    class_names=CLASS_NAMES,
    frames=8,
    size=64,
    stride="even",
    resize=None,
    hflip_keeps_label=True,
    num_videos={"train": 246_534, "test": 19_906},  # the first lists' rows (CVDF's arrange_by_classes.py)
    num_missing={"train": 0, "test": 0},  # `prepare` counts them
    validation_groups=(),
    student_steps={"1": 500, "5": 500, "10": 1000, "full": 30_000},  # full: our choice, 31 passes of batch 256
    source="https://github.com/cvdfoundation/kinetics-dataset (arXiv 1705.06950), train and validation lists",
    licence="lists: CC BY 4.0; the videos belong to their YouTube uploaders",
)


def listing(raw: Path | None) -> Iterator[Video]:
    """The clips that the two lists name; ids have the form train/<youtube_id>_<start>_<end>.

    Raises FileNotFoundError without the lists, ValueError naming a line that is not part of a list.
    """
    labels = {name: label for label, name in enumerate(SPEC.class_names)}
    for split in LISTS:
        path = list_of(raw or Path(), split)
        for number, row in read_rows(path):
            label = labels.get(row["label"].strip())
            times = [row[column].partition(".")[0] for column in ("time_start", "time_end")]  # some copies have 10.0
            if label is None:
                raise ValueError(f"{path} line {number}: {row['label'][:80]!r} is not a class of Kinetics-400")
            if row["split"] not in OF_SPLIT[split] or not all(time.isdecimal() for time in times):
                raise ValueError(f"{path} line {number} is not a row of the {split} list: {','.join(row.values())[:200]!r}")
            start, end = map(int, times)
            video = f"{split}/{row['youtube_id']}_{start:06d}_{end:06d}"
            yield Video(id=video, path=None, label=label, split=split)


def list_of(raw: Path, split: Literal["train", "test"]) -> Path:
    """The list of a split. Raises FileNotFoundError naming the places it may be in."""
    names = [f"{folder}/{name}" for folder in LIST_FOLDERS for name in LISTS[split]]
    path = next((raw / name for name in names if (raw / name).is_file()), None)
    if path is None:
        raise FileNotFoundError(
            f"no {' or '.join(LISTS[split])} in {raw} (nor in its folders annotations/, kinetics400/): the official list names "
            f"the clips, with columns {','.join(COLUMNS)} ({SPEC.source}); {contents(raw)}"
        )
    return path


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, column -> value) of each row."""
    try:
        rows = csv.DictReader(io.StringIO(read_list(path)))
        if missing := [column for column in COLUMNS if column not in (rows.fieldnames or ())]:
            raise ValueError(f"{path}: its first line has no column {', '.join(missing)}")
        for row in rows:
            fields = {column: row[column] for column in COLUMNS}
            if None in fields.values():
                raise ValueError(f"{path} line {rows.line_num} has too few columns")
            yield rows.line_num, fields
    except csv.Error as error:
        raise ValueError(f"{path}: {error}") from None


def short_name(name: str) -> str:
    """<youtube_id>_<start>_<end> -> <youtube_id>."""
    return name.rsplit("_", 2)[0]


def clips_in(raw: Path) -> dict[str, Path]:
    """<youtube_id>_<start>_<end>, or <youtube_id> -> its file: the replacement if it exists, otherwise the first file.

    Raises ValueError if two different files have the same name.
    """
    paths: dict[str, Path] = {}
    replaced: set[str] = set()
    for file in files_below(raw, EXTENSIONS):
        path = Path(file)
        match = NAME.fullmatch(path.stem)
        clip = f"{match['id']}_{int(match['start']):06d}_{int(match['end']):06d}" if match else path.stem
        if REPLACEMENTS & set(path.relative_to(raw).parts[:-1]):
            replaced.add(clip)
            paths[clip] = path
        elif clip not in replaced and (other := paths.setdefault(clip, path)) is not path:
            paths[clip] = one_of(other, path)
    return paths


def one_of(first: Path, second: Path) -> Path:
    """Chooses between two paths of a clip: the one that is a file, that is .mp4, or the first one."""
    if not (first.is_file() and second.is_file()):
        return first if first.is_file() else second
    if (first.suffix.lower() == SUFFIX) != (second.suffix.lower() == SUFFIX):
        return first if first.suffix.lower() == SUFFIX else second
    if not first.samefile(second) and first.stat().st_size != second.stat().st_size:
        raise ValueError(f"two different files are clip {first.stem}: {first} and {second}; remove one")
    return first


def videos(raw: Path) -> Iterator[Video]:
    """The listed clips with their files below `raw`. Raises FileNotFoundError if there are no files of such names.

    Raises ValueError if the lists name no clip.
    """
    clips = clips_in(raw)
    listed = list(named(listing(raw), clips.get, short_name))
    if not listed:
        raise ValueError(f"the lists in {raw} name no clip")
    present = [video for video in listed if video.path is not None]
    if not present:
        example = listed[0].id.partition("/")[2]
        raise FileNotFoundError(
            f"no video file of a listed clip in or below {raw}: they are named {example}{SUFFIX} or "
            f"{short_name(example)}{SUFFIX} ({SPEC.source}); {contents(raw)}"
        )
    check_cut([video.path for video in present if video.path and not NAME.fullmatch(video.path.stem)])
    return iter(listed)


def check_cut(paths: list[Path]) -> None:
    """Raises ValueError if some of the first files named by their YouTube id are much longer than a clip."""
    from vddbench.data.decode import seconds  # not at the top: reading a SPEC imports no PyAV

    for path in paths[:CHECKED]:
        if (length := seconds(path)) is not None and length > MAX_SECONDS:
            raise ValueError(
                f"{path} has {length:.0f} s: it is a whole video of YouTube, not the clip of 10 s in the list. Cut the "
                f"clips out, as <youtube_id>_<start>_<end>{SUFFIX}"
            )
