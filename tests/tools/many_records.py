"""`python -m tests.tools.many_records [RECORDS]`: CPU seconds and memory of `rank` and `site build` with many records.

Writes records of made-up students on 400 test videos, three of each method, and runs both commands on them. The rates of
answers differ by method, so that tables have ranks to find.
"""

from __future__ import annotations

import hashlib
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.builders.records import a_record
from vddbench.records.files import path_of
from vddbench.records.predictions import Predictions

VIDEOS, CLASSES, STUDENTS = 400, 8, 3


def write(root: Path, count: int) -> None:
    """Writes `count` records. Not with `write_record`, which waits for the disk after each."""
    labels = np.arange(VIDEOS, dtype=np.int32) % CLASSES
    ids = np.array([f"test/{i:04}" for i in range(VIDEOS)])
    rng = np.random.default_rng(0)
    record = a_record(num_test=VIDEOS, num_classes=CLASSES, budget_bytes=2 * 10**6)
    for i in range(count):
        method, seed = divmod(i, STUDENTS)
        skill = np.random.default_rng(method).uniform(0.1, 0.6)
        first = np.where(rng.random(VIDEOS) < skill, labels, (labels + rng.integers(1, CLASSES, VIDEOS)) % CLASSES)
        answers = Predictions(
            video=ids,
            group=np.full(VIDEOS, ""),
            label=labels,
            top5=((first[:, None] + np.arange(5)) % CLASSES).astype(np.int32),
            true_probability=np.full(VIDEOS, 0.5, np.float32),
            centre_top1=first.astype(np.int32),
        )
        data = answers.to_safetensors()
        name = {"method": f"method_{method}" if method else "random", "submission_sha256": f"{method:08x}" * 8, "seed": seed}
        size = {"payload_bytes": int(10 ** np.random.default_rng(method).uniform(4, 6.3))}
        digest = {"predictions_sha256": hashlib.sha256(data).hexdigest()}
        one = record.model_copy(update={**name, **size, **answers.scores(), **digest})
        path = path_of(root, one)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".safetensors").write_bytes(data)
        path.write_text(one.model_dump_json(indent=1))


def measured(command: list[str], folder: Path) -> tuple[float, float]:
    """(CPU seconds, peak memory in MB) of a command in a process of its own, which the caller waits for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    code = (
        "import resource, sys; from vddbench.commands.main import app; app(sys.argv[1:], standalone_mode=False);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, int(done.stderr.split()[-1]) / 1000


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "results", count)
        for command in (["rank", "--format", "csv"], ["site", "build", "--out", "site"]):
            seconds, megabytes = measured(command, folder)
            print(f"{count} records: {' '.join(command[:2])} took {seconds:.1f} CPU seconds and {megabytes:.0f} MB", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5000)
