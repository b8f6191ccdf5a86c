"""The record of one evaluation (a submission, a student, a seed): the JSON beside its predictions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
)

from vddbench.protocol import SDD
from vddbench.spec import (
    MOST,
    Fingerprint,
    Frozen,
    Name,
    Sha256,
    Short,
    TaskText,
    Title,
    Whole,
    cell_of,
    folder_of,
    without_none,
)


def _check_time(text: str) -> str:
    datetime.fromisoformat(text)  # ValueError for a 13th month
    return text


Time = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"),
    AfterValidator(_check_time),
]
Change = Literal["frozen", "shuffled"]  # of the frames of the clips that a student is trained on
Count = Annotated[int, Field(ge=1, le=MOST)]
# ranking draws 2,000 numbers of 4 bytes per test video: at most 400 MB; ssv2 has most of the bundled datasets, 24,777
MOST_TEST_VIDEOS = 50_000
TestVideos = Annotated[int, Field(ge=1, le=MOST_TEST_VIDEOS)]
Finite = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
Clips = Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
OPTIONAL = (  # fields that are left out of a record's JSON if they are None
    "by", "title", "drawn_from", "fit_top1", "fit_loss", "suspect_clips", "compared_clips", "shuffled_top1", "reversed_top1",
    "still_top1", "trained_on", "epochs", "student_lr",
)  # fmt: skip
FITTED = 0.95  # share of its own clips that a student that fits its set gets right
Checks = Annotated[dict[Name, bool], Field(max_length=20)]
UserName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$")]  # on the Hub
Commit = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]


class Environment(Frozen):
    """The software and the machine that made a record."""

    vddbench: Short
    git_commit: Short
    python: Short
    torch: Short
    cuda: Short
    device: Short
    num_threads: Whole
    precision: Literal["fp32", "bf16"]
    micro_batch: Whole


class Record(Frozen):
    """One evaluation of one submission by one student and seed. Its predictions are in the file beside it."""

    format: Literal[1] = 1
    protocol: Annotated[str, StringConstraints(max_length=20)]  # "v3" ranks; "sdd" replays released code: evaluation/sdd.py
    protocol_hash: Sha256
    task: TaskText
    method: Name
    distill_seed: Seed
    track: Literal["hard", "soft"]
    external: bool
    submission_sha256: Sha256
    store_digest: Sha256
    store_fingerprint: Fingerprint | None = None
    student: Name
    seed: Seed
    top1: Share
    top5: Share
    centre_top1: Share
    validation_top1: Share | None  # None: the store has no validation videos
    holdout: bool  # False: the validation videos may be in the submission
    num_test: TestVideos
    num_missing: Whole  # videos that the store lacks because they were missing or unreadable
    student_steps: Count
    num_classes: Annotated[int, Field(ge=2, le=10_000)]  # as DatasetSpec
    payload_bytes: Count
    budget_bytes: Count | None
    clips_per_class: Clips  # decoded; decides the division, so 0 is no value for "unknown"
    clip_steps: Count  # student steps x batch size
    train_seconds: Finite
    test_seconds: Finite  # test and validation videos
    peak_memory_bytes: Whole  # on the GPU; on the CPU, of the process so far
    predictions_sha256: Sha256
    environment: Environment
    checks: Checks  # "finite": of the student's outputs; False is a result and never retried
    date: Time
    by: UserName | None = None  # who ran this evaluation again; None: the author's own record
    title: Title | None = None  # of the method, from the manifest; shown beside its identifier
    drawn_from: Commit | None = None  # the commit that this student's seed follows from; see fresh_seeds.py
    fit_top1: Share | None = None  # share of the submission's own clips that the trained student gets right; evaluation/fit.py
    fit_loss: Finite | None = None  # its mean loss on them; None: not finite
    suspect_clips: Whole | None = None  # clips that look like test videos, of those compared; submissions/leaks.py
    compared_clips: Count | None = None
    shuffled_top1: Share | None = None  # on test videos with shuffled frames; evaluation/probes.py
    reversed_top1: Share | None = None  # with frames in reverse
    still_top1: Share | None = None  # with the middle frame repeated
    trained_on: Change | None = None  # None: the clips as they are; else METHOD_frozen, METHOD_shuffled
    epochs: Count | None = None  # of protocol sdd, which counts passes over the set
    student_lr: Finite | None = None  # learning rate under protocol sdd: the one that the submission learned, or the student's

    @model_serializer(mode="wrap")
    def _without_unused(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leaves out unused fields, so that a field that is added later does not change the bytes of records without it."""
        return without_none(serialize(self), *OPTIONAL)

    @property
    def is_replay(self) -> bool:
        """Whether it was made under protocol sdd, which replays released code: never ranked, submitted or published."""
        return self.protocol == SDD.name

    @property
    def fitted(self) -> bool | None:
        """Whether the student fits the set it was trained on. None: this was not measured."""
        return None if self.fit_top1 is None else self.fit_top1 >= FITTED

    @property
    def folder(self) -> str:
        """The folder name of its submission."""
        return folder_of(self.method, self.distill_seed)

    @property
    def cell(self) -> str:
        """TASK/METHOD[-sN]@SHA8, the address of its submission."""
        return cell_of(self.task, self.folder, self.submission_sha256)
