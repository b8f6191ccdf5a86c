"""The functions `vddbench.evaluate`, `vddbench.rank` and `vddbench.load_records`, which return pandas tables.

Nothing heavy is imported before a function is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from vddbench.leaderboard.evidence import Evaluated

Folders = str | Path | Sequence[str | Path]


def evaluate(
    submissions: Folders,
    *,
    students: str | Sequence[str] = "convnet3d",
    seeds: int | Sequence[int] = 5,
    results: str | Path = "results",
    force: bool = False,
    device: str | None = None,
    probes: bool = False,
    frames: str | None = None,
    protocol: str = "v3",
    epochs: int | None = None,
) -> pd.DataFrame:
    """Trains students on submissions and returns their records, one row per submission, student and seed.

    submissions: one folder submissions/TASK/METHOD, or several. seeds: N for 0..N-1, or the seeds. results: the folder that
    records are written to; students that have a record there are not trained again, unless `force`. device: "cpu", "cuda" or
    "cuda:N"; by default the GPU if there is one. protocol: "sdd" replays the field's released code, in `epochs` passes over the
    set (500 as released); its records are never ranked. Columns are those of `load_records`.

    Raises ValueError or LookupError with every reason for which a submission cannot be scored, before anything is trained.
    """
    from vddbench.evaluation.evaluate import evaluate as run
    from vddbench.protocol import protocol_named
    from vddbench.system.device import named_device

    written = run(
        _paths(submissions),
        students=[students] if isinstance(students, str) else list(students),
        seeds=range(seeds) if isinstance(seeds, int) else list(seeds),
        results=Path(results),
        force=force,
        device=None if device is None else named_device(device),
        probes=probes,
        frames=frames,
        protocol=protocol_named(protocol, epochs),
    )
    return _table(written)


def load_records(
    results: Folders = "results", *, task: str | None = None, student: str | None = None, track: str | None = None
) -> pd.DataFrame:
    """All valid records in one or several results folders, one row each.

    Columns are the fields of `vddbench.Record` (accuracies in [0, 1], sizes in bytes, times in seconds), with those of its
    environment as environment_*, its checks as checks_*, and `path`. Invalid records are left out and named on stderr. Those of
    protocol "sdd", which `rank` leaves out, are among them.
    """
    tables = _tables(_paths(results), task, student, replayed=True)
    paths = dict.fromkeys(row.path for table in tables for row in table if track in {None, row.record.track})
    return _table(list(paths))


def rank(
    results: Folders = "results",
    *,
    task: str | None = None,
    student: str | None = None,
    track: str | None = None,
    division: str | None = None,
) -> pd.DataFrame:
    """The ranked entries of one or several results folders, the best first inside each table.

    A table is a task, a student, a track and a division; ranks never cross tables. Division "ipc" has the entries of at most
    ipc clips per class, "open" has all: an entry of both has a row in each. The columns are explained at
    `vddbench.leaderboard.rank.ranked_rows`. Raises LookupError for a task or student without records and for an unknown
    division, ValueError for records that cannot share a table.
    """
    from vddbench.leaderboard.divisions import NONE, chosen
    from vddbench.leaderboard.rank import as_frame, rank_tables

    divisions = chosen(division)
    rows, problems = rank_tables(_tables(_paths(results), task, student))
    if problems:
        raise ValueError("\n".join(problems))
    return as_frame([row for row in rows if track in {None, row["track"]} and row["division"] in {*divisions, NONE}])


def _paths(folders: Folders) -> list[Path]:
    return [Path(folders)] if isinstance(folders, str | Path) else [Path(folder) for folder in folders]


def _tables(roots: list[Path], task: str | None, student: str | None, replayed: bool = False) -> list[list[Evaluated]]:
    """The valid records of each table, including the records of its reference `full`. replayed: and those of protocol sdd."""
    from vddbench.leaderboard.evidence import load
    from vddbench.leaderboard.table_records import tables_of
    from vddbench.system.progress import say

    loaded = load(roots)
    for reason in loaded.refused:
        say(f"left out: {reason}")
    return tables_of([*loaded.evaluated, *(loaded.replayed if replayed else ())], task, student)


def _table(paths: Sequence[Path]) -> pd.DataFrame:
    import pandas as pd

    from vddbench.records.files import read_record

    rows = [{"path": str(path), **read_record(path)[0].model_dump(mode="json")} for path in paths]
    return pd.json_normalize(rows, sep="_") if rows else pd.DataFrame()
