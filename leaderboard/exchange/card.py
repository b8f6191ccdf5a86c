"""The dataset repo of a distilled set: its files, previews that the Hub shows, and a card. Text of manifests is inert in it."""

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
MARKUP = re.compile(r"[!-&*+/:-@\[-`{-~]|(?<=www)\.", re.IGNORECASE)  # what means something in Markdown, HTML or a link
IN_URLS = ":/?#[]@!$&'*+,;=%~-._"


def files(found: Submission, spec: DatasetSpec, repo: hub.Repo, licence: str) -> dict[str, hub.Content]:
    """{path in the repo: content}. Raises LookupError for a licence that is no identifier."""
    if not LICENCE.fullmatch(licence):
        raise LookupError(f"licence {licence[:80]!r}: an identifier of the Hub, e.g. cc-by-4.0, mit, other or unknown")
    made: dict[str, hub.Content] = {DATA: found.path / DATA, MANIFEST: (found.path / MANIFEST).read_bytes()}
    with tempfile.TemporaryDirectory() as name:
        previews = write(found, spec, Path(name))
        made |= {f"{PREVIEWS}/{each.file}": (Path(name) / each.file).read_bytes() for each in previews}
    return made | {METADATA: metadata(previews), CARD: card(found, spec, repo, licence)}


def metadata(previews: list[Preview]) -> bytes:
    """What the Hub shows beside each picture."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["file_name", "label", "class_name"])
    rows.writerows([f"{PREVIEWS}/{each.file}", each.label, each.class_name] for each in previews)
    return text.getvalue().encode()


def card(found: Submission, spec: DatasetSpec, repo: hub.Repo, licence: str) -> bytes:
    """README.md with YAML front matter."""
    manifest = found.manifest
    head = {
        "license": licence,
        "pretty_name": f"{manifest.method} on {manifest.task}, distilled",
        "tags": ["vddbench", "dataset-distillation", "video", str(manifest.task), manifest.method],
        "configs": [{"config_name": PREVIEWS, "data_files": [METADATA, f"{PREVIEWS}/*"], "default": True}],
    }
    folder = f"submissions/{manifest.task}/{manifest.folder}"
    text = f"""# `{manifest.method}` on `{manifest.task}`

A distilled set of videos: {found.payload_bytes:,} bytes that stand in for the training videos of `{manifest.task}`, made by the
method `{manifest.method}` (distillation seed {manifest.seed}), to be scored by the referee vddbench.
The pictures show what a student sees, one clip a class, compressed; the data is `{DATA}`.

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
    """What the manifest says, a row a field; nothing in it is a link or markup of its own making."""
    rows = {
        "classes": str(spec.num_classes),
        "labels": manifest.labels,
        "authors": ", ".join(map(inert, manifest.authors)),
        "paper": link(manifest.paper),
        "code": link(manifest.code),
        "beside the train split it used": inert(manifest.external_data) or "nothing",
        "validation videos kept out": "yes" if manifest.holdout else "no",
        **{f"`{key}`": inert(str(value)) for key, value in manifest.config.items() if re.fullmatch(r"\w+", key, re.ASCII)},
    }
    shown = [f"| {name} | {value} |" for name, value in rows.items() if value]
    return "\n".join(["| | |", "|---|---|", *shown])


def inert(text: str) -> str:
    """Text that may be a stranger's, on one line of Markdown: no link, no HTML, no markup."""
    return MARKUP.sub(lambda found: f"&#{ord(found[0])};", " ".join(clean(text).split()))


def link(url: str) -> str:
    """`url` begins with https:// and has no white space; what could end the link is quoted."""
    return f"<{quote(url, safe=IN_URLS)}>" if url else ""


def fenced(text: str) -> str:
    """A block of plain text in Markdown, whatever it holds."""
    runs = re.findall(r"`+", text)
    fence = "`" * max(3, 1 + max(map(len, runs), default=0))
    return f"{fence}text\n{clean(text)}\n{fence}"
