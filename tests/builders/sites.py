"""Records and submissions of a small store for tests of the site, some of them by people who mean harm."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np

from tests.builders.records import a_record
from vddbench.data.store import Store
from vddbench.leaderboard.exchange.mirror import RECORDS, files_of
from vddbench.leaderboard.maintainers import MAINTAINERS
from vddbench.records.files import read_record, write_record
from vddbench.records.fresh_seeds import first_fresh_seed
from vddbench.records.predictions import Predictions
from vddbench.records.record import Environment
from vddbench.spec import Manifest

SCRIPT = "<script>document.title='owned'</script>"
IMAGE = '"><img src=x onerror="document.title=\'owned\'">'
HARM = f"</script>{SCRIPT}{IMAGE}{{{{ 7*191 }}}}<!--"


def answers(store: Store, share: float, seed: int, method: str = "") -> Predictions:
    """The answers of a student that is right on about this share of the store's test videos."""
    rng = np.random.default_rng([seed, *method.encode()])
    labels = store.test.labels.astype(np.int32)
    num_classes = store.spec.num_classes
    wrong = rng.random(len(labels)) >= share
    first = (labels + wrong * rng.integers(1, num_classes, len(labels))) % num_classes
    top5 = (first[:, None] + np.arange(5)) % num_classes
    return Predictions(
        video=store.test.index["video"].to_numpy(str),
        group=np.full(len(labels), ""),
        label=labels,
        top5=top5.astype(np.int32),
        true_probability=np.full(len(labels), 0.5, np.float32),
        centre_top1=first.astype(np.int32),
    )


def write_records(root: Path, store: Store, method: str, shares: list[float], **changes: Any) -> None:
    """Writes a record for each share, with seeds 0, 1, ..."""
    for seed, share in enumerate(shares):
        predictions = answers(store, share, seed, method)
        clips = store.spec.num_classes * (store.spec.clip_bytes + 8)
        fields: dict[str, Any] = {
            "task": f"{store.name}-ipc1", "store_digest": store.digest, "num_test": len(predictions.label),
            "num_classes": store.spec.num_classes, "budget_bytes": clips, "payload_bytes": clips,
            "submission_sha256": (method.encode().hex() * 64)[:64],
        }  # fmt: skip
        write_record(root, a_record(method=method, seed=seed, **predictions.scores(), **{**fields, **changes}), predictions)


def write_manifest(root: Path, task: str, method: str, sha256: str, **fields: Any) -> Path:
    """Writes a manifest without its payload and returns its folder."""
    folder = root / task / method
    folder.mkdir(parents=True)
    manifest = Manifest(method=method, task=task, decoder="pixels", labels="hard", sha256=sha256, **fields)
    (folder / "manifest.json").write_text(json.dumps(manifest.model_dump(mode="json")))
    return folder


def write_verified(results: Path, method: str, by: str) -> None:
    """Writes a maintainer's re-run of a method's first student and three students on fresh seeds, with the same answers."""
    record, predictions = read_record(next(results.glob(f"*/{method}@*/convnet3d/seed0.json")))
    first = first_fresh_seed(record.submission_sha256, "c" * 40)
    fresh = [{"seed": first + i, "drawn_from": "c" * 40} for i in range(3)]
    for fields in ({}, *fresh):
        made = record.model_copy(update={"by": by, "date": "2026-02-03T00:00:00Z", "train_seconds": 2.0, **fields})
        path = write_record(results.parent / "again", made, predictions)
        for published, file in files_of(path, made).items():
            file.rename(results / Path(published).relative_to(RECORDS))
    (results.parent / MAINTAINERS).write_text(f"{by}\n")


def write_harmful_entry(root: Path, store: Store) -> str:
    """Writes a submission and a record in which every free text tries to run something. Returns the path of its page."""
    environment = Environment(
        vddbench=HARM, git_commit=HARM, python=HARM, torch=HARM, cuda=HARM, device=HARM, num_threads=1, precision="fp32",
        micro_batch=1,
    )  # fmt: skip
    sha = "f" * 64
    write_records(root / "results", store, "harm", [0.4], submission_sha256=sha, environment=environment, external=True)
    write_manifest(
        root / "submissions", f"{store.name}-ipc1", "harm", sha, authors=(HARM, "A. \u202eName\x1b"), external_data=HARM,
        config={HARM[:100]: HARM}, paper="https://x/" + IMAGE.replace(" ", "/"), code="https://x/'onclick='alert(1)",
        distill_hardware=HARM, distill_seconds=1.0, payload={"url": f"https://{HARM}", "revision": HARM[:100]},
    )  # fmt: skip
    return f"s/{store.name}-ipc1/harm@ffffffff/index.html"


VOID_TAGS = {"meta", "link", "br", "img", "input", "wbr", "hr", "source"}


class ParsedPage(HTMLParser):
    """Elements, links and text of a page as a browser would read them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID_TAGS:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in {"script", "style"}:
            self.text += data
