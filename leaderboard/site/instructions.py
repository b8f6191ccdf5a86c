"""Commands that reproduce a submission and its records, and a BibTeX entry to cite it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from vddbench import lookup
from vddbench.leaderboard.evidence import Evaluated
from vddbench.protocol import PROTOCOL
from vddbench.records.files import published_path
from vddbench.records.record import Record
from vddbench.spec import DatasetSpec, Manifest

PULLED = "published"  # the folder that `vddbench pull` writes
EXAMPLE_REPO = "ORG/vddbench-results"
ORIGIN = r"https?://\S+/datasets/(?P<repo>[\w.-]+/[\w.-]+) at commit (?P<sha>[0-9a-f]{40})"  # DatasetSpec.origin
MAX_CLASSES = 60  # a command lists the classes if there are at most so many


def commands(
    evaluated: Sequence[Evaluated], manifest: Manifest | None, spec: DatasetSpec | None, results_repo: str
) -> list[tuple[str, str]]:
    """(what it does, command line), in order.

    evaluated: the records of one submission. results_repo: where it is published, or "".
    """
    records = [one.record for one in evaluated]
    first = records[0]
    folder = f"submissions/{first.task}/{first.folder}"
    steps = [
        (f"prepare the data; the digest it prints begins with {first.store_digest[:16]}", prepare(first.task.dataset, spec))
    ]
    if results_repo:
        lowest = min(evaluated, key=lambda one: (one.record.student, one.record.seed))
        record_file = Path(PULLED, "records", published_path(lowest.record, lowest.path.read_bytes())).as_posix()
        folder = f"{PULLED}/sets/{first.submission_sha256[:8]}/{first.task}/{first.folder}"
        pull = f"vddbench pull --task {first.task} --submissions --results-repo {results_repo}"
        steps.append(("download the distilled set and its records", pull))
        steps.append(("train one of its students again and compare the scores", f"vddbench reproduce {record_file}"))
    if manifest is not None and (distill := distill_command(manifest)):
        steps.append(("distill such a set yourself", distill))
    size = f"sha256 {first.submission_sha256[:16]}..., {first.payload_bytes:,} bytes"
    steps.append((f"check the distilled set: {size}", f"vddbench check {folder}"))
    seeds = 1 + max((record.seed for record in records if record.by is None), default=PROTOCOL.default_seeds - 1)
    students = ",".join(sorted({record.student for record in records}))
    steps.append(("train and test all its students", f"vddbench evaluate {folder} --students {students} --seeds {seeds}"))
    rank = f"vddbench rank --task {first.task}{f' --results {PULLED}/records' if results_repo else ''}"
    return [*steps, ("compare it with the other methods", rank)]


def prepare(dataset: str, spec: DatasetSpec | None) -> str:
    """The command that prepares a dataset, as far as its spec determines it."""
    found = re.fullmatch(ORIGIN, (spec.origin if spec is not None else None) or "")
    from_hub = ["--hub", f"{found['repo']}@{found['sha']}"] if found else []
    if dataset in lookup.names("dataset"):
        is_procedural = hasattr(lookup.load("dataset", dataset), "render")
        return shlex.join(["vddbench", "prepare", dataset, *([] if is_procedural else ["--raw", "DIR", *from_hub])])
    parts = ["vddbench", "prepare", dataset, *(from_hub or ["--folder", "DIR"])]
    if spec is not None:
        parts += ["--frames", str(spec.frames), "--size", str(spec.size), "--stride", str(spec.stride)]
        if len(spec.class_names) <= MAX_CLASSES:
            parts += ["--classes", ",".join(spec.class_names)]
        return shlex.join([*parts, "--student-steps", str(spec.student_steps["1"])])
    # records do not contain these options, and other ones make another store
    return f"{shlex.join(parts)} --frames NUMBER --size NUMBER --stride NUMBER --student-steps NUMBER"


def distill_command(manifest: Manifest) -> str | None:
    """The command if the method is a bundled baseline, such as `dm`, or `dm_fast` with the preset fast; otherwise None."""
    preset = manifest.config.get("preset")
    has_preset = isinstance(preset, str) and re.fullmatch(r"[a-z0-9_]{1,40}", preset) is not None
    suffix = f"_{preset}" if has_preset else ""
    method = manifest.method.removesuffix(suffix)
    if method not in lookup.names("baseline") or manifest.method != method + suffix:
        return None
    options = f" --preset {preset}" if has_preset else ""
    return f"vddbench distill {method} --task {manifest.task} --seed {manifest.seed}{options}"


def bibtex(records: Sequence[Record], manifest: Manifest | None) -> str:
    """An entry that names the distilled set by its hash. Authors and links of strangers cannot contain TeX commands."""
    earliest = min(records, key=lambda record: record.date)
    is_bundled = manifest is not None and not manifest.authors and distill_command(manifest) is not None
    paper = f"\\url{{{_url(manifest.paper)}}}" if manifest is not None and manifest.paper else ""
    title = f"{earliest.method} on {earliest.task}, a distilled set"
    fields = {
        "title": f"{{{_without_tex(title)}}}",
        "author": " and ".join(_without_tex(author) for author in manifest.authors) if manifest is not None else "",
        "year": earliest.date[:4],
        "howpublished": "" if is_bundled else paper,
        "note": f"vddbench protocol {_without_tex(earliest.protocol)}, sha256 {earliest.submission_sha256[:16]}",
    }
    if is_bundled:  # the paper is about the method, and not by who made this set
        fields["author"] = "{vddbench}"
        fields["note"] += f"; a set of its baseline{f', after {paper}' if paper else ''}"

    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    key = f"{earliest.method}_{str(earliest.task).replace('-', '_')}_{earliest.submission_sha256[:8]}"
    return "\n".join([f"@misc{{{key},", *lines, "}"])


def _without_tex(text: str) -> str:
    """The text without characters that BibTeX and TeX interpret; underscores are escaped."""
    return re.sub(r"[{}\\%$#&~^\"\x00-\x1f]", "", text).replace("_", r"\_")


def _url(url: str) -> str:
    r"""The address without characters that would end \url, or start a comment in a BibTeX file."""
    return re.sub(r"[{}\\\s\x00-\x1f]", "", url)
