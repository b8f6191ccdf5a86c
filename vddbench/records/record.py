"""The record: what one evaluation of one submission by one student and seed gave, as JSON beside its predictions."""

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

from vddbench.spec import Count, Fingerprint, Finite, Frozen, Name, Sha256, Short, TaskText, Whole, cell_of, folder_of


def _is_a_time(text: str) -> str:
    datetime.fromisoformat(text)  # ValueError for a 13th month
    return text


Time = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"),
    AfterValidator(_is_a_time),
]


UserName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$")]  # of the Hub


class Environment(Frozen):
    """Where a record was made."""

    vddbench: Short
    git_commit: Short
    python: Short
    torch: Short
    cuda: Short
    device: Short
    num_threads: Whole
    precision: Literal["fp32", "bf16"]
    micro_batch: Whole


Checks = Annotated[dict[Name, bool], Field(max_length=20)]


class Record(Frozen):
    """One evaluation of one submission by one student and seed. Its predictions are in the file beside it."""

    format: Literal[1] = 1
    protocol: Annotated[str, StringConstraints(max_length=20)]
    protocol_hash: Sha256
    task: TaskText
    method: Name
    distill_seed: Annotated[int, Field(ge=0, lt=2**31)]
    track: Literal["hard", "soft"]
    external: bool
    submission_sha256: Sha256
    store_digest: Sha256
    store_fingerprint: Fingerprint | None = None  # None: the store is of before there were any
    student: Name
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    top1: Annotated[float, Field(ge=0, le=1)]
    top5: Annotated[float, Field(ge=0, le=1)]
    centre_top1: Annotated[float, Field(ge=0, le=1)]
    validation_top1: Annotated[float, Field(ge=0, le=1)] | None  # None: the store has no validation videos
    holdout: bool  # False: the validation videos may be in the submission
    num_test: Count
    num_missing: Whole  # videos the store lacks because they were not there or could not be read
    student_steps: Count
    num_classes: Annotated[int, Field(ge=2, le=10_000)]  # as DatasetSpec
    payload_bytes: Count
    budget_bytes: Count | None
    clips_per_class: Finite
    clip_steps: Count  # student steps x batch size
    train_seconds: Finite
    test_seconds: Finite  # test and validation videos
    peak_memory_bytes: Whole  # on the GPU; on the CPU the process's largest so far
    predictions_sha256: Sha256
    environment: Environment
    checks: Checks  # "finite": the student's outputs; False is a result, never retried
    date: Time
    by: UserName | None = None  # who ran this evaluation again; None: the author's own record, the only kind that is ranked

    @model_serializer(mode="wrap")
    def _without_unused(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leaves `by` out of an author's own record, so that records written before this field existed keep their bytes."""
        fields: dict[str, Any] = serialize(self)
        if fields.get("by") is None:
            fields.pop("by", None)
        return fields

    @property
    def folder(self) -> str:
        """The folder name of its submission."""
        return folder_of(self.method, self.distill_seed)

    @property
    def cell(self) -> str:
        """TASK/METHOD[-sN]@SHA8, the address of its submission."""
        return cell_of(self.task, self.folder, self.submission_sha256)
