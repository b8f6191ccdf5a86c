"""The files of a distilled set's dataset repo: payload, manifest, previews and README.

The README shows text of the manifest in a form that cannot act as markup.
"""

from __future__ import annotations

import csv
import io
import re
import tempfile
from pathlib import Path
from urllib.parse import quote

import yaml

from vddbench import hub
from vddbench.spec import DatasetSpec, Manifest, Submission
from vddbench.submissions.manifest import DATA, MANIFEST
from vddbench.submissions.previews import Preview, write
from vddbench.system.progress import clean

CARD, METADATA, PREVIEWS = "README.md", "metadata.csv", "previews"
LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]{0,39}")
MARKUP = re.compile(r"[!-&*+/:-@\[-`{-~]|(?<=www)\.", re.IGNORECASE)  # characters with a meaning in Markdown, HTML or a link
IN_URLS = ":/?#[]@!$&'*+,;=%~-._"


def files(submission: Submission, spec: DatasetSpec, repo: hub.Repo, licence: str) -> dict[str, hub.Content]:
    """{path in the repo: content}. Raises LookupError for a licence that is not an identifier."""
    if not LICENCE.fullmatch(licence):
        raise LookupError(f"licence {licence[:80]!r}; allowed: an identifier of the Hub, e.g. cc-by-4.0, mit, other or unknown")
    content: dict[str, hub.Content] = {DATA: submission.path / DATA, MANIFEST: (submission.path / MANIFEST).read_bytes()}
    with tempfile.TemporaryDirectory() as folder:
        previews = write(submission, spec, Path(folder))
        content |= {f"{PREVIEWS}/{preview.file}": (Path(folder) / preview.file).read_bytes() for preview in previews}
    return content | {METADATA: metadata(previews), CARD: card(submission, spec, repo, licence)}


def metadata(previews: list[Preview]) -> bytes:
    """metadata.csv: the label and class name that the Hub shows beside each preview."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["file_name", "label", "class_name"])
    rows.writerows([f"{PREVIEWS}/{preview.file}", preview.label, preview.class_name] for preview in previews)
    return text.getvalue().encode()


def card(submission: Submission, spec: DatasetSpec, repo: hub.Repo, licence: str) -> bytes:
    """README.md with YAML front matter."""
    manifest = submission.manifest
    head = {
        "license": licence,
        "pretty_name": f"{manifest.method} on {manifest.task}, distilled",
        "tags": ["vddbench", "dataset-distillation", "video", str(manifest.task), manifest.method],
        "configs": [{"config_name": PREVIEWS, "data_files": [METADATA, f"{PREVIEWS}/*"], "default": True}],
    }
    folder = f"submissions/{manifest.task}/{manifest.folder}"
    text = f"""# `{manifest.method}` on `{manifest.task}`

A distilled set of videos: {submission.payload_bytes:,} bytes in place of the training videos of `{manifest.task}`, made by the
method `{manifest.method}` (distillation seed {manifest.seed}), to be scored by the referee vddbench.
The pictures show what a student sees, one clip per class, compressed; the data is `{DATA}`.

{table(manifest, spec)}

## Evaluate it

```bash
hf download {repo.id} {DATA} {MANIFEST} --repo-type dataset --local-dir {folder}
vddbench check {folder}
vddbench evaluate {folder}
```

Tensors only (safetensors); decoded by `{manifest.decoder}` of vddbench. sha256 of `{DATA}`: `{manifest.sha256}`.
"""
    return f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---\n\n{text}".encode()


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
