"""What the columns of the published tables mean, and their units: for the card of the results repo.

A test compares these names with the columns of parquet.py, so a new column is described here or the test fails.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Column(NamedTuple):
    """The unit of a column, "" if it has none, and its meaning in one sentence."""

    unit: str
    meaning: str


SHARE, POINTS, BYTES, SECONDS = "share, 0 to 1", "difference of shares", "bytes", "seconds"
TABLE = {
    "task": Column("", "dataset and budget: `DATASET-ipcN` allows the bytes of N uncompressed clips per class"),
    "student": Column("", "the network that is trained on the distilled sets"),
    "track": Column("", "`hard`: one class per clip; `soft`: probabilities of all classes"),
    "division": Column("", "`ipc`: at most N clips per class; `open`: any number within the bytes; empty for `DATASET-full`"),
}
METHOD = {
    "method": Column("", "identifier of the method that made the sets"),
    "rank": Column("place", "rank, shared in a tie; empty if the entry is not ranked"),
    "rank_low": Column("place", "the entry is at least at this place ..."),
    "rank_high": Column("place", "... and at most at this one in 95 % of draws of other test videos and other students"),
    "may_be_best": Column("", "whether the entry is in the 95 % confidence set of the best one"),
    "flags": Column("", "remarks on the entry, e.g. fewer than 3 students"),
}
GAP = {
    "gap_closed": Column(SHARE, "how much of the gap from `random` to `full` is closed; may be below 0 or above 1"),
    "gap_low": Column(SHARE, "lower end of its 95 % interval"),
    "gap_high": Column(SHARE, "upper end of its 95 % interval"),
}
TITLE = Column("", "name of the method, if it has another one than the identifier")
LEADERBOARD = {
    **TABLE,
    **METHOD,
    "title": TITLE,
    "top1": Column(SHARE, "accuracy on the test videos: mean over the sets of the means over their students"),
    "low": Column(SHARE, "lower end of its 95 % interval, over test videos, students and sets"),
    "high": Column(SHARE, "upper end of its 95 % interval"),
    "gain": Column(POINTS, "`top1` minus that of `random` in the same table"),
    "gain_low": Column(POINTS, "lower end of its 95 % interval"),
    "gain_high": Column(POINTS, "upper end of its 95 % interval"),
    **GAP,
    "distillations": Column("count", "distilled sets of the method, one for each distillation seed"),
    "seeds": Column("count", "trained students, over all these sets"),
    "basis": Column("", "`claimed`: trained by the author; `verified`: by a maintainer on seeds that nobody could choose"),
    "std_students": Column(POINTS, "standard deviation over students of one set"),
    "std_distillations": Column(POINTS, "standard deviation over sets of the means of their students"),
    "lost_still": Column(POINTS, "`top1` minus that on test videos whose middle frame is repeated"),
    "lost_shuffled": Column(POINTS, "`top1` minus that on test videos with shuffled frames"),
    "lost_reversed": Column(POINTS, "`top1` minus that on test videos in reverse"),
    "corrected": Column(SHARE, "`top1` of the first entry, corrected for having been selected as the best"),
    "corrected_low": Column(SHARE, "lower end of its 95 % interval"),
    "corrected_high": Column(SHARE, "upper end of its 95 % interval"),
    "detectable": Column(POINTS, "smallest difference between two sets that this many students of each detect with 80 % power"),
    "pareto": Column("", "`open`: whether no other entry is as accurate with as few bytes"),
    "pareto_probability": Column(SHARE, "share of draws of other test videos and other students in which it is"),
    "over_codec": Column(POINTS, "`open`: `top1` minus the curve of real clips behind AV1 at the same bytes"),
    "over_codec_low": Column(POINTS, "lower end of its 95 % interval"),
    "over_codec_high": Column(POINTS, "upper end of its 95 % interval"),
    "payload_bytes": Column(BYTES, "size of all tensors of the largest of the sets"),
    "budget_share": Column(SHARE, "that size divided by the budget of the task"),
    "clips_per_class": Column("clips", "decoded clips per class"),
    "date": Column("UTC", "when the first of the records was made"),
    "sha256": Column("", "hashes of the sets' `data.safetensors`"),
    "dataset": Column("", "the dataset of the task"),
    "verified_by": Column("", "Hub names of maintainers who trained students of the entry again"),
    "reproductions": Column("count", "re-runs of its records by others"),
}
AGGREGATE = {
    "student": TABLE["student"],
    "track": TABLE["track"],
    "division": TABLE["division"],
    **METHOD,
    **GAP,
    "mean_rank": Column("place", "mean of the ranks in the tables"),
    "tables": Column("count", "tables in which the method is ranked"),
    "of_tables": Column("count", "tables that are combined"),
    "missing": Column("", "tasks in which the method is not ranked"),
}
RECORDS = {
    "path": Column("", "the record's file below `records/`"),
    "sha256": Column("", "hash of this file"),
    "counts": Column("", "whether the leaderboard counts the record"),
    "format": Column("", "version of the file format"),
    "protocol": Column("", "name of the protocol; scores of different protocols are never compared"),
    "protocol_hash": Column("", "hash of everything that the protocol fixes"),
    "task": TABLE["task"],
    "method": METHOD["method"],
    "distill_seed": Column("", "seed of the distillation"),
    "track": TABLE["track"],
    "external": Column("", "whether the method used data or weights besides the task's train split"),
    "submission_sha256": Column("", "hash of the set's `data.safetensors`"),
    "store_digest": Column("", "hash of the prepared dataset"),
    "store_fingerprint": Column("", "a digest of its content that hardly changes with the version of the video decoder"),
    "student": TABLE["student"],
    "seed": Column("", "seed of the student's training"),
    "top1": Column(SHARE, "share of test videos whose class gets the largest mean probability"),
    "top5": Column(SHARE, "share of test videos whose class is among the five most probable"),
    "centre_top1": Column(SHARE, "`top1` with the middle clip of each video alone"),
    "validation_top1": Column(SHARE, "`top1` on the validation videos, which belong to the train split"),
    "holdout": Column("", "whether the set was distilled without the validation videos"),
    "num_test": Column("videos", "number of test videos"),
    "num_missing": Column("videos", "videos that were missing or unreadable when the dataset was prepared"),
    "student_steps": Column("steps", "SGD steps of the training"),
    "num_classes": Column("classes", "number of classes"),
    "payload_bytes": Column(BYTES, "size of all tensors of the set"),
    "budget_bytes": Column(BYTES, "budget of the task; empty for `DATASET-full`"),
    "clips_per_class": Column("clips", "decoded clips per class"),
    "clip_steps": Column("clips", "SGD steps times clips in a batch"),
    "train_seconds": Column(SECONDS, "training time"),
    "test_seconds": Column(SECONDS, "time for test and validation videos"),
    "peak_memory_bytes": Column(BYTES, "peak memory, of the GPU or else of the process"),
    "predictions_sha256": Column("", "hash of the student's answers, the `.safetensors` file beside the record"),
    "date": Column("UTC", "when the record was made"),
    "by": Column("", "Hub name of whoever trained the student again; empty for the author's own record"),
    "title": TITLE,
    "drawn_from": Column("", "the commit of this repository from which the seed follows"),
    "fit_top1": Column(SHARE, "share of the set's own clips that the trained student gets right"),
    "fit_loss": Column("nats", "the student's mean cross-entropy on the set's own clips"),
    "suspect_clips": Column("clips", "clips of the set that look like test videos ..."),
    "compared_clips": Column("clips", "... of so many that were compared"),
    "shuffled_top1": Column(SHARE, "`top1` on test videos with shuffled frames"),
    "reversed_top1": Column(SHARE, "`top1` on test videos in reverse"),
    "still_top1": Column(SHARE, "`top1` on test videos whose middle frame is repeated"),
    "trained_on": Column("", "`frozen` or `shuffled` if the frames of the set were changed before the training"),
    "epochs": Column("passes", "of protocol sdd only, whose records are not published"),
    "student_lr": Column("", "learning rate, of protocol sdd only"),
    "environment_vddbench": Column("", "version of vddbench"),
    "environment_git_commit": Column("", "its commit, if it ran in a clone"),
    "environment_python": Column("", "version of Python"),
    "environment_torch": Column("", "version of PyTorch"),
    "environment_cuda": Column("", "version of CUDA; empty on a CPU"),
    "environment_device": Column("", "name of the GPU or CPU"),
    "environment_num_threads": Column("count", "threads of the CPU"),
    "environment_precision": Column("", "`fp32` or `bf16`, of the training"),
    "environment_micro_batch": Column("clips", "clips in one forward pass"),
    "finite": Column("", "whether all outputs of the student were finite"),
}
REPORTED = {
    "method": Column("", "the method, under the identifier that it has here"),
    "dataset": Column("", "the dataset"),
    "ipc": Column("clips", "clips per class; empty for all training videos"),
    "top1": Column(SHARE, "accuracy as the source reports it"),
    "top1_std": Column(POINTS, "its standard deviation as the source reports it"),
    "storage_mb": Column("MB", "size of the set as the source reports it"),
    "source": Column("", "where the number is printed"),
    "url": Column("", "address of the source"),
    "year": Column("", "year of the source"),
    "student": Column("", "network, if the source states it"),
    "selection": Column("", "how the number was chosen among several, if the source states it"),
    "caveat": Column("", "what makes it differ from numbers of this benchmark"),
}
COLUMNS: Mapping[str, Mapping[str, Column]] = {
    "leaderboard.parquet": LEADERBOARD,
    "aggregate.parquet": AGGREGATE,
    "records.parquet": RECORDS,
    "reported.parquet": REPORTED,
}


def described(names: Sequence[str]) -> str:
    """The columns of these tables as Markdown, each table in a part that can be opened."""
    return "\n\n".join(_part(name.removesuffix(".parquet"), COLUMNS[name]) for name in names)


def _part(table: str, columns: Mapping[str, Column]) -> str:
    rows = [f"| `{name}` | {column.unit} | {column.meaning} |" for name, column in columns.items()]
    summary = f"<details><summary>Columns of <code>{table}</code></summary>"
    return "\n".join([summary, "", "| column | unit | meaning |", "|---|---|---|", *rows, "", "</details>"])
