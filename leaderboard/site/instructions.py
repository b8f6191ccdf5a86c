"""How to make a submission and its records again, as commands, and how to cite it. No torch."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from vddbench import lookup
from vddbench.leaderboard.evidence import Evaluated
from vddbench.records.files import published_path
from vddbench.records.record import Record
from vddbench.spec import DatasetSpec, Manifest

PUBLISHED, A_REPO = "published", "ORG/vddbench-results"  # where `vddbench pull` puts its copy; a name for examples
STRIDE, STEPS = 4, {"1": 500, "5": 500, "10": 1000, "full": 500}  # what `prepare --folder` does when it isn't told


def commands(
    evaluated: Sequence[Evaluated], manifest: Manifest | None, spec: DatasetSpec | None, results_repo: str
) -> list[tuple[str, str]]:
    """(what it does, command line), in order. evaluated: of one submission; results_repo: where it is published, or ""."""
    records = [each.record for each in evaluated]
    one = records[0]
    digest = one.store_digest[:16]
    made = [(f"prepare the data (the store's digest must begin with {digest})", prepare(one.task.dataset, spec))]
    where = f"submissions/{one.task}/{one.folder}"
    if results_repo:
        first = min(evaluated, key=lambda each: (each.record.student, each.record.seed))
        place = Path(PUBLISHED, "records", published_path(first.record, first.path.read_bytes())).as_posix()
        where = f"{PUBLISHED}/sets/{one.submission_sha256[:8]}/{one.task}/{one.folder}"
        made.append(
            ("fetch the set and its records", f"vddbench pull --task {one.task} --submissions --results-repo {results_repo}")
        )
        made.append(("train one of its students again: does its number come out?", f"vddbench reproduce {place}"))
    if manifest is not None and (distill := distilling(manifest)):
        made.append(("what distills such a set", distill))
    made.append((f"check it: {manifest_line(one)}", f"vddbench check {where}"))
    seeds = max(record.seed for record in records) + 1
    students = ",".join(sorted({record.student for record in records}))
    made.append(("train and test all its students", f"vddbench evaluate {where} --students {students} --seeds {seeds}"))
    made.append(("compare", f"vddbench rank --task {one.task}{f' --results {PUBLISHED}/records' if results_repo else ''}"))
    return made


def manifest_line(record: Record) -> str:
    return f"the payload's sha256 is {record.submission_sha256[:16]}..., {record.payload_bytes:,} bytes"


def prepare(dataset: str, spec: DatasetSpec | None) -> str:
    """The command that makes the store, as far as its spec tells."""
    if dataset in lookup.names("dataset"):
        procedural = hasattr(lookup.load("dataset", dataset), "render")
        return f"vddbench prepare {dataset}" + ("" if procedural else " --raw DIR")
    parts = ["vddbench", "prepare", dataset, "--folder", "DIR"]
    if spec is not None:
        parts += ["--frames", str(spec.frames), "--size", str(spec.size)]
        if spec.stride != STRIDE:
            parts += ["--stride", str(spec.stride)]
        if len(spec.class_names) <= 60:
            parts += ["--classes", ",".join(spec.class_names)]
        if spec.student_steps != STEPS:
            parts += ["--student-steps", str(spec.student_steps["1"])]
    return shlex.join(parts)


def distilling(manifest: Manifest) -> str | None:
    """The bundled baseline's command, when the manifest reads like one of its sets: `dm`, or `dm_fast` of the preset fast."""
    preset = manifest.config.get("preset")
    suffix = f"_{preset}" if isinstance(preset, str) and re.fullmatch(r"[a-z]{1,20}", preset) else ""
    method = manifest.method.removesuffix(suffix) if suffix else manifest.method
    if method not in lookup.names("baseline") or manifest.method != method + suffix:
        return None
    return f"vddbench distill {method} --task {manifest.task} --seed {manifest.seed}" + (
        f" --preset {preset}" if suffix else ""
    )


def bibtex(records: Sequence[Record], manifest: Manifest | None) -> str:
    """An entry for the distilled set with its hash, as safe as text of strangers can be made."""
    one = min(records, key=lambda record: record.date)
    title = f"{one.method} on {one.task}, a distilled set"
    fields = {
        "title": f"{{{_plain(title)}}}",
        "author": " and ".join(_plain(author) for author in manifest.authors) if manifest is not None else "",
        "year": one.date[:4],
        "howpublished": f"\\url{{{_address(manifest.paper)}}}" if manifest is not None and manifest.paper else "",
        "note": f"vddbench protocol {_plain(one.protocol)}, sha256 {one.submission_sha256[:16]}",
    }
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@misc{{{one.method}_{str(one.task).replace('-', '_')}_{one.submission_sha256[:8]},", *lines, "}"])


def _plain(text: str) -> str:
    """Without what BibTeX and TeX would obey; underscores escaped."""
    return re.sub(r"[{}\\%$#&~^\"\x00-\x1f]", "", text).replace("_", r"\_")


def _address(url: str) -> str:
    r"""As \url takes it: everything but what would end it, or a comment in a file of BibTeX."""
    return re.sub(r"[{}\\\s\x00-\x1f]", "", url)
