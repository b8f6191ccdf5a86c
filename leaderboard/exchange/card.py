"""The files of a distilled set's dataset repo: payload, manifest, the clips as videos, and README.

`datasets` loads the videos with their class names. The README shows text of the manifest in a form that cannot act as markup.
"""

from __future__ import annotations

import csv
import io
import re
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any
from urllib.parse import quote

from vddbench import hub
from vddbench.leaderboard import project
from vddbench.leaderboard.project import front_matter
from vddbench.leaderboard.site.instructions import bibtex
from vddbench.records.record import Record
from vddbench.spec import DatasetSpec, Manifest, Submission, Task
from vddbench.submissions.clip_videos import FRAMES_PER_SECOND, ClipVideo, write_videos
from vddbench.submissions.manifest import DATA, MANIFEST
from vddbench.submissions.submission import decode
from vddbench.system.progress import clean

CARD, METADATA, CLIPS = "README.md", "metadata.csv", "clips"
LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]{0,39}")
MARKUP = re.compile(r"[!-&*+/:-@\[-`{-~]|(?<=www)\.", re.IGNORECASE)  # characters with a meaning in Markdown, HTML or a link
IN_URLS = ":/?#[]@!$&'*+,;=%~-._"


@dataclass(frozen=True)
class Context:
    """What the card of a set says besides the set itself."""

    repo: hub.Repo  # the set's own
    licence: str
    results: hub.Repo  # where its records are proposed
    space: str  # the Space of the board, OWNER/NAME; "" if the results repo names none
    records: Sequence[Record]  # the author's


def files(submission: Submission, spec: DatasetSpec, context: Context) -> dict[str, hub.Content]:
    """{path in the repo: content}. Raises LookupError for a licence that is not an identifier."""
    check_licence(context.licence)
    content: dict[str, hub.Content] = {DATA: submission.path / DATA, MANIFEST: (submission.path / MANIFEST).read_bytes()}
    clip_set = decode(submission, spec)
    with tempfile.TemporaryDirectory() as folder:
        videos = write_videos(clip_set, Path(folder))
        content |= {f"{CLIPS}/{video.file}": (Path(folder) / video.file).read_bytes() for video in videos}
    text = card(submission, spec, context, len(clip_set), len(videos))
    return content | {METADATA: metadata(videos), CARD: text}


def check_licence(licence: str) -> None:
    """Raises LookupError for a licence that is not an identifier."""
    if not LICENCE.fullmatch(licence):
        raise LookupError(f"licence {licence[:80]!r}; allowed: an identifier of the Hub, e.g. cc-by-4.0, mit, other or unknown")


def metadata(videos: Sequence[ClipVideo]) -> bytes:
    """metadata.csv: the label of each video, and the index of its clip in the decoded set."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["file_name", "label", "clip"])
    rows.writerows([f"{CLIPS}/{video.file}", video.label, video.clip] for video in videos)
    return text.getvalue().encode()


def front(manifest: Manifest, spec: DatasetSpec, licence: str, num_clips: int) -> dict[str, Any]:
    """The front matter of the card. Labels keep the task's numbers, also where a class has no clip."""
    names = {str(label): name for label, name in enumerate(spec.class_names)}
    features = [
        {"name": "video", "dtype": "video"},
        {"name": "label", "dtype": {"class_label": {"names": names}}},
        {"name": "clip", "dtype": "int64"},
    ]
    videos = [{"split": "train", "path": [METADATA, f"{CLIPS}/*.mp4"]}]
    return {
        "license": licence,
        "pretty_name": f"{manifest.method} on {manifest.task}, distilled",
        "task_categories": ["video-classification"],
        "size_categories": [project.size_category(num_clips)],
        "tags": ["vddbench", "dataset-distillation", "video", str(manifest.task), manifest.method],
        "configs": [{"config_name": CLIPS, "default": True, "data_files": videos, "features": features}],
    }


def card(submission: Submission, spec: DatasetSpec, context: Context, num_clips: int, num_videos: int) -> bytes:
    """README.md with YAML front matter. num_clips: of the decoded set; num_videos: of them that are here as videos."""
    manifest = submission.manifest
    head = front_matter(front(manifest, spec, context.licence, num_clips))
    folder = f"submissions/{manifest.task}/{manifest.folder}"
    shown = "all clips" if num_videos == num_clips else f"{num_videos:,} of the {num_clips:,} clips, evenly over the classes,"
    text = f"""# `{manifest.method}` on `{manifest.task}`

A distilled set of videos: {submission.payload_bytes:,} bytes in place of the training videos of `{manifest.task}`, made by the
method `{manifest.method}` (distillation seed {manifest.seed}), and scored by the referee {project.code_link()}.

{scores(context, manifest.task)}

{table(manifest, spec)}

## Watch and load the clips

```python
import datasets

clips = datasets.load_dataset("{context.repo.id}", split="train")  # decoding the videos needs torchcodec
clips = clips.cast_column("video", datasets.Video(decode=False))  # or read their files without it
```

| column | meaning |
|---|---|
| `video` | a clip of {spec.frames} frames of {spec.size} x {spec.size} pixels, H.264, {FRAMES_PER_SECOND} frames per second |
| `label` | its class, with the numbers and names of the task; with soft labels the most probable one |
| `clip` | its index in the decoded set |

These are {shown} as previews: compressed again, with loss. What is scored is `{DATA}`:

{tensors(submission)}

## Evaluate it

```bash
hf download {context.repo.id} {DATA} {MANIFEST} --repo-type dataset --local-dir {folder}
vddbench check {folder}
vddbench evaluate {folder}
```

Tensors only (safetensors); decoded by `{manifest.decoder}` of vddbench. sha256 of `{DATA}`: `{manifest.sha256}`.
{citation(manifest, context.records)}"""
    return f"{head}\n{text}".encode()


def scores(context: Context, task: Task) -> str:
    """The author's scores by protocol and network, and where the ranks are."""
    place = f"<{hub.Repo(context.space, 'space').url}#{task}>" if context.space else f"<{context.results.url}>"
    board = f"Ranks, intervals and students that others trained: {place}."
    of_student: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in context.records:
        of_student[record.protocol, record.student].append(record)
    if not of_student:
        return board
    rows = []
    for (protocol, student), records in sorted(of_student.items()):
        top1 = [100 * record.top1 for record in records]
        spread = f" ± {stdev(top1):.1f}" if len(top1) > 1 else ""
        rows.append(f"| `{student}` | {mean(top1):.1f} %{spread} | {len(top1)} | {records[0].num_test:,} | {inert(protocol)} |")
    newest = max(record.date for record in context.records)[:10]
    return "\n".join(
        [
            "| network | top-1 accuracy | students | test videos | protocol |",
            "|---|---|---|---|---|",
            *rows,
            "",
            f"Claimed by the author on {newest}: means and standard deviations over students. {board}",
        ]
    )


def tensors(submission: Submission) -> str:
    """A Markdown table of what the payload holds."""
    rows = [
        f"| {inert(name)} | {str(tensor.dtype).removeprefix('torch.')} | {' x '.join(map(str, tensor.shape))} | "
        f"{tensor.numel() * tensor.element_size():,} |"
        for name, tensor in submission.tensors.items()
    ]
    return "\n".join(["| tensor | type | shape | bytes |", "|---|---|---|---|", *rows])


def citation(manifest: Manifest, records: Sequence[Record]) -> str:
    """BibTeX entries of the set and of the benchmark. Empty without records, which have the dates."""
    if not records:
        return ""
    newest = max(records, key=lambda record: record.date)
    entries = f"{bibtex(records, manifest)}\n\n{project.bibtex(newest.date[:4], newest.protocol)}"
    return f"\n## Cite it\n\n{fenced(entries)}\n"


def table(manifest: Manifest, spec: DatasetSpec) -> str:
    """A Markdown table of the manifest's fields; their text cannot become a link or markup."""
    rows = {
        "classes": str(spec.num_classes),
        "labels": manifest.labels,
        "authors": ", ".join(map(inert, manifest.authors)),
        "paper": link(manifest.paper),
        "code": link(manifest.code),
        "data besides the train split": inert(manifest.external_data) or "nothing",
        "distilled without the validation videos": "yes" if manifest.holdout else "no",
        **{f"`{key}`": inert(str(value)) for key, value in manifest.config.items() if re.fullmatch(r"\w+", key, re.ASCII)},
    }
    shown = [f"| {name} | {value} |" for name, value in rows.items() if value]
    return "\n".join(["| | |", "|---|---|", *shown])


def inert(text: str) -> str:
    """A stranger's text as one line of Markdown without links, HTML or markup."""
    return MARKUP.sub(lambda match: f"&#{ord(match[0])};", " ".join(clean(text).split()))


def link(url: str) -> str:
    """A Markdown link to `url`, which begins with https:// and has no white space; characters that could end it are quoted."""
    return f"<{quote(url, safe=IN_URLS)}>" if url else ""


def fenced(text: str) -> str:
    """A Markdown block of plain text, which nothing in the text can end."""
    runs = re.findall(r"`+", text)
    fence = "`" * max(3, 1 + max(map(len, runs), default=0))
    return f"{fence}text\n{clean(text)}\n{fence}"
