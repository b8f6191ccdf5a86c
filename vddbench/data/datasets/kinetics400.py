"""kinetics400: 400 human actions, clips of 10 s from YouTube; the official train list, and the validation list as the test set.

Kay et al.: The Kinetics Human Action Video Dataset, 2017 (arXiv 1705.06950). Lists: `train.csv` and `validate.csv` (CVDF calls
it val.csv, ActivityNet's crawler kinetics-400_val.csv; label,youtube_id,time_start,time_end,split), 246,534 and 19,906 clips.
Source of the videos: https://github.com/cvdfoundation/kinetics-dataset. A clip is `<youtube_id>_%06d_%06d.mp4` (start, end)
anywhere below `raw`: in folders of splits or of classes, or as CVDF ships them; CVDF's `replacement_for_corrupted_k400/` has
undamaged copies of some 1,400 clips. Videos vanish from YouTube, so copies differ, and DeepMind's own lists have become shorter
(17,770 to 18,035 of the 19,906 in three copies of later years). Missing clips are therefore allowed: they are listed in the
store's problems.csv and counted in its spec.json and in every record.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from vddbench.data.listing import files_below, read_list
from vddbench.spec import DatasetSpec, Video

LISTS: dict[Literal["train", "test"], tuple[str, ...]] = {
    "train": ("train.csv", "kinetics-400_train.csv"),
    "test": ("validate.csv", "val.csv", "kinetics-400_val.csv"),
}
LIST_FOLDERS = (".", "annotations", "kinetics400", "kinetics400/annotations")
LIST_FILES = re.compile(
    r"((annotations|kinetics400|kinetics400/annotations)/)?(train|kinetics-400_train|validate|val|kinetics-400_val)\.csv"
)
SUFFIX = ".mp4"
OF_SPLIT = {"train": {"train"}, "test": {"validate", "val", "validation"}}  # values allowed in the column `split`
COLUMNS = ("label", "youtube_id", "time_start", "time_end", "split")
REPLACEMENTS = "replacement_for_corrupted_k400"
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
            f"the clips, with columns {','.join(COLUMNS)} ({SPEC.source})"
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


def clips_in(raw: Path) -> dict[str, Path]:
    """<youtube_id>_<start>_<end> -> its file: the replacement if it exists, otherwise the file in the first folder.

    Raises ValueError if two different files have the same name.
    """
    paths: dict[str, Path] = {}
    replaced: set[str] = set()
    for file in files_below(raw, SUFFIX):
        path = Path(file)
        if path.parent.name == REPLACEMENTS:
            replaced.add(path.stem)
            paths[path.stem] = path
        elif path.stem not in replaced and (other := paths.setdefault(path.stem, path)) is not path:
            paths[path.stem] = one_of(other, path)
    return paths


def one_of(first: Path, second: Path) -> Path:
    """Chooses between two paths of a clip, e.g. a link in a folder of classes: the first one that is a file."""
    if not (first.is_file() and second.is_file()):
        return first if first.is_file() else second
    if not first.samefile(second) and first.stat().st_size != second.stat().st_size:
        raise ValueError(f"two different files are clip {first.stem}: {first} and {second}; remove one")
    return first


def videos(raw: Path) -> Iterator[Video]:
    """The listed clips with their files below `raw`. Raises FileNotFoundError if there are no files."""
    clips = clips_in(raw)
    if not clips:
        raise FileNotFoundError(f"no {SUFFIX} file in or below {raw}; clips are <youtube_id>_<start>_<end>.mp4 ({SPEC.source})")
    return (replace(video, path=clips.get(video.id.partition("/")[2])) for video in listing(raw))
