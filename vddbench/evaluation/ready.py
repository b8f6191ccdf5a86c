"""Opens and checks a submission with the store that scores it, and decodes its clips: everything before training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from vddbench.data.pinned import check_pinned
from vddbench.data.store import Store
from vddbench.evaluation.probes import changed_clips, renamed
from vddbench.evaluation.referee import Referee
from vddbench.evaluation.sdd import Replay, learned_lr, pairs_per_slot
from vddbench.lookup import load
from vddbench.protocol import PROTOCOL, Protocol, Sdd
from vddbench.records.record import MOST_TEST_VIDEOS, Change
from vddbench.spec import ClipSet, Submission, Task
from vddbench.submissions.leaks import Scan, scan_once
from vddbench.submissions.submission import OpenedSubmission, open_submission, task_of
from vddbench.system.progress import say


@dataclass(frozen=True, kw_only=True)
class ReadySubmission:
    """A submission that passed every check, with its decoded clips and the store whose test videos score it."""

    task: Task
    store: Store
    submission: Submission
    clipset: ClipSet
    is_probed: bool = False  # its students are also tested on test videos without motion
    trained_on: Change | None = None  # how the frames of its clips were changed; None: they are as submitted
    protocol: Protocol | Sdd = PROTOCOL

    @cached_property
    def leaks(self) -> Scan | None:
        """The comparison of its clips with the test videos; prints what is suspect when it is made."""
        compared = scan_once(self.clipset, self.submission.manifest, self.store)
        for line in compared.warnings if compared else []:
            say(f"warning: {self.submission.path.name}: {line}", style="yellow")
        return compared

    def referee(self, student: str) -> Referee:
        """How its students are trained and tested. Raises ValueError if the protocol cannot use the submission."""
        spec, module = self.store.spec, load("student", student)
        if not isinstance(self.protocol, Sdd):
            return Referee(task=self.task, spec=spec, clipset=self.clipset, student=module)
        return Replay(
            task=self.task,
            spec=spec,
            clipset=self.clipset,
            student=module,
            protocol=self.protocol,
            pairs=pairs_per_slot(self.submission),
            learned_lr=learned_lr(self.submission.manifest),
        )


def open_ready(path: Path) -> ReadySubmission:
    """Opens, checks and decodes a submission. Raises as `open_with_store` and `decoded` do."""
    return decoded(open_with_store(path))


def open_with_store(path: Path) -> OpenedSubmission:
    """Opens a submission and makes every check but decoding; `decoded` reports the failed checks.

    Raises FileNotFoundError if there is no such folder, LookupError or ValueError if its dataset is not prepared here.
    """
    store = Store.open(task_of(path).dataset)
    check_normalisation(store)
    check_length(store)
    check_pinned(store)
    return open_submission(path, store=store)


def decoded(opened: OpenedSubmission, protocol: Protocol | Sdd = PROTOCOL) -> ReadySubmission:
    """Decodes a submission. Raises ValueError with every reason for which it is refused, OSError if a file cannot be read."""
    clipset = opened.decode()
    accepted = opened.accepted()
    assert clipset is not None and opened.task is not None and opened.store is not None
    if isinstance(protocol, Sdd):
        learned_lr(accepted.manifest)  # refuses the submission
    return ReadySubmission(task=opened.task, store=opened.store, submission=accepted, clipset=clipset, protocol=protocol)


def without_motion(scored: ReadySubmission, change: Change) -> ReadySubmission:
    """The submission with changed frames, named METHOD_frozen or METHOD_shuffled. Raises ValueError if that is too long."""
    submission = replace(scored.submission, manifest=renamed(scored.submission.manifest, change))
    return replace(scored, submission=submission, clipset=changed_clips(scored.clipset, change), trained_on=change)


def check_length(store: Store) -> None:
    """Raises ValueError if the store has more test videos than a record may have."""
    if (count := len(store.test)) > MOST_TEST_VIDEOS:
        raise ValueError(
            f"store {store.path} has {count:,} test videos; a record has at most {MOST_TEST_VIDEOS:,}: prepare fewer"
        )


def check_normalisation(store: Store) -> None:
    """Raises ValueError unless the store's spec.json has the normalisation of the protocol."""
    if (store.spec.mean, store.spec.std) != (PROTOCOL.normalisation_mean, PROTOCOL.normalisation_std):
        raise ValueError(
            f"store {store.path} normalises with {store.spec.mean}, {store.spec.std}; protocol {PROTOCOL.name} fixes "
            f"{PROTOCOL.normalisation_mean}, {PROTOCOL.normalisation_std}: prepare it again"
        )
