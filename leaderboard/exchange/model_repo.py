"""A trained student as a model repo: its weights, a card, and its score in the Hub's format `.eval_results`.

The Hub's leaderboards rank models, so a distilled set appears there only by a student that was trained on it.
"""

from __future__ import annotations

import json
from pathlib import Path

from vddbench import hub
from vddbench.hub.eval_results import eval_results
from vddbench.leaderboard import project
from vddbench.leaderboard.exchange import mirror
from vddbench.leaderboard.exchange.card import CARD, check_licence, inert
from vddbench.leaderboard.exchange.payload_download import pinned
from vddbench.leaderboard.exchange.proposal import manifest_of
from vddbench.leaderboard.exchange.rerun import VerifiedRecord
from vddbench.spec import DatasetSpec
from vddbench.submissions.manifest import MANIFEST

WEIGHTS, CONFIG, EVAL_RESULTS = "model.safetensors", "config.json", ".eval_results/vddbench.yaml"
GIT_ATTRIBUTES = ".gitattributes"  # the Hub writes it


def check_model(repo: hub.Repo, licence: str) -> None:
    """Raises ValueError if the repo contains a model of somebody else, LookupError for a licence that is not an identifier."""
    check_licence(licence)
    files = hub.listing(repo).files if hub.exists(repo) else {}
    if EVAL_RESULTS not in files and (others := sorted(set(files) - {GIT_ATTRIBUTES})):
        raise ValueError(
            f"{repo} contains files that vddbench did not put there: {', '.join(others[:3])}; nothing was trained. Choose a "
            "new name with --model"
        )


def publish_model(
    repo: hub.Repo,
    results: hub.Repo,
    claim: VerifiedRecord,
    own: VerifiedRecord,
    weights: Path,
    spec: DatasetSpec,
    licence: str,
) -> str:
    """Commits what the model repo lacks and returns its address. An existing README stays: its author may have written more.

    claim: the published record. own: the one of the student that has these weights.
    """
    files = model_files(results, claim, own, weights, spec, licence)
    hub.create(repo)
    listing = hub.listing(repo)
    add = {path: data for path, data in files.items() if not listing.holds(path, data)}
    if CARD in listing.files:
        add.pop(CARD, None)
    if add:
        hub.commit(repo, add, f"{own.record.student} trained on {own.record.method}, {own.record.task}")
    return repo.url


def model_files(
    results: hub.Repo, claim: VerifiedRecord, own: VerifiedRecord, weights: Path, spec: DatasetSpec, licence: str
) -> dict[str, hub.Content]:
    """{path in the repo: content}."""
    record, main = own.record, hub.listing(results)
    published = f"{mirror.SUBMISSIONS}/{record.cell}/{MANIFEST}"
    manifest = manifest_of(results, published, main) if published in main.files else None
    set_repo = pinned(manifest).repo.id if manifest is not None and manifest.payload is not None else ""
    notes = (
        f"top-1 as a share of {record.num_test} test videos; {record.student}, seed {record.seed}, protocol {record.protocol}, "
        f"trained on the distilled set {record.method}, sha256 {record.submission_sha256[:16]}"
    )
    source = f"{results.url}/blob/main/{next(iter(mirror.files_of(claim.path, claim.record)))}", "vddbench record"
    config = {
        "network": record.student,
        "clip_shape": spec.clip_shape,
        "mean": spec.mean,
        "std": spec.std,
        "class_names": spec.class_names,
        "task": str(record.task),
        "method": record.method,
        "submission_sha256": record.submission_sha256,
        "seed": record.seed,
        "protocol": record.protocol,
    }
    return {
        WEIGHTS: weights,
        CONFIG: json.dumps(config, indent=1).encode() + b"\n",
        CARD: model_card(results, own, set_repo, spec, licence),
        EVAL_RESULTS: eval_results(results.id, str(record.task), record.top1, record.date, source, notes),
    }


def model_card(results: hub.Repo, own: VerifiedRecord, set_repo: str, spec: DatasetSpec, licence: str) -> bytes:
    """README.md. set_repo: of the distilled set, "" if it is not published."""
    record = own.record
    head = {
        "license": licence,
        "pipeline_tag": "video-classification",
        "tags": ["vddbench", "dataset-distillation", record.student, str(record.task)],
        "metrics": ["accuracy"],
        **({"datasets": [set_repo]} if set_repo else {}),
    }
    text = f"""
# `{record.student}` trained on `{record.method}`, `{record.task}`

One student of the benchmark {project.code_link()}: the network `{record.student}` (seed {record.seed}), trained on the
distilled set `{record.method}` alone under protocol {inert(record.protocol)}. It gets {record.top1:.1%} of {record.num_test:,}
test videos right. It shows what the distilled set teaches, and is not meant to be a good classifier. Scores of sets are means
over several students: [{results.id}]({results.url}).

```python
from safetensors.torch import load_file
from vddbench.lookup import load

network = load("student", "{record.student}").build({spec.clip_shape}, {spec.num_classes})
network.load_state_dict(load_file("{WEIGHTS}"))
network.eval()  # takes clips as vddbench.evaluation.train.to_input makes them
```

`{CONFIG}` has the classes in the order of the outputs. `{EVAL_RESULTS}` has the score for the Hub, which lists it beside those
of other models once {results.id} is one of its benchmarks.

```bibtex
{project.bibtex(record.date[:4], record.protocol)}
```
"""
    return f"{project.front_matter(head)}{text}".encode()
