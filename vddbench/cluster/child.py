"""`python -m vddbench.cluster.child`: runs one cell in its own process, so a crash differs from running out of memory.

The process ignores signals. It stops when its standard input ends, which also happens when its parent is killed. The exit code
is the outcome.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vddbench.cluster.plan import Cell, Run

INTERRUPTED, OUT_OF_MEMORY, BAD, DISK, NODE = 75, 71, 65, 74, 69  # sysexits.h: TEMPFAIL, OSERR, DATAERR, IOERR, UNAVAILABLE
REFUSED = 64  # sysexits.h: USAGE
IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)
STOP_SECONDS = 45.0  # time to finish the current step and save, before the process ends itself
MEMORY = ("out of memory", "can't allocate memory", "ALLOC_FAILED")  # in errors of PyTorch, CUDA and cuBLAS
GPU = ("CUDA error", "CUDA driver", "cuDNN error", "CUDNN_STATUS", "CUBLAS_STATUS", "no CUDA-capable", "No CUDA GPUs")
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EROFS, errno.ENOTCONN, errno.ETIMEDOUT, errno.ENOENT}


def main(folder: str, cell: str, halvings: str, needs_gpu: str) -> int:
    """Runs a cell (JSON) of the run in `folder`. Returns the exit code."""
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=stop_at_end_of_input, daemon=True).start()
    import torch

    from vddbench.cluster.plan import Cell, Run
    from vddbench.system.device import why_no_cuda

    if needs_gpu == "1" and not torch.cuda.is_available():
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        seen = f"PyTorch {torch.__version__} sees none (CUDA_VISIBLE_DEVICES={visible!r}): {why_no_cuda()}"
        print(f"a GPU was asked for, {seen}", file=sys.stderr)
        return NODE  # the CPU would take hours and compute with another arithmetic
    try:
        run_cell(Run.open(Path(folder)), Cell.model_validate_json(cell), int(halvings))
    except KeyboardInterrupt:
        return INTERRUPTED
    except (KeyError, IndexError):  # a bug of this program
        raise
    except (MemoryError, OSError, ValueError, LookupError, RuntimeError) as error:
        if (code := exit_code_of(error)) is None:
            raise
        print(f"error: {error}", file=sys.stderr)
        return code
    return 0


def exit_code_of(error: Exception) -> int | None:
    """The exit code for an error of a cell; None for a bug of this program."""
    from vddbench.distillation.contract import CannotServe

    if isinstance(error, CannotServe):
        return REFUSED
    text = f"{error} {error.__cause__ or ''}"
    if any(isinstance(one, MemoryError) for one in (error, error.__cause__)) or getattr(error, "errno", None) == errno.ENOMEM:
        return OUT_OF_MEMORY
    if isinstance(error, OSError):
        return DISK if error.errno in DISK_ERRORS or isinstance(error, FileNotFoundError) else BAD
    if isinstance(error, RuntimeError) or isinstance(error.__cause__, RuntimeError):
        if any(words in text for words in MEMORY):
            return OUT_OF_MEMORY
        if any(words in text for words in GPU):
            return NODE
    return None if isinstance(error, RuntimeError) else BAD


def run_cell(run: Run, cell: Cell, halvings: int) -> None:
    """Raises what `evaluate` and `distill` raise, and ValueError if the submission is not the one that was planned."""
    if cell.kind == "evaluate":
        evaluate(run, cell, halvings)
    elif not run.made(cell).exists():
        from vddbench.cluster.plan import SUBMISSIONS
        from vddbench.distillation.run import distill

        distill(cell.method, cell.task, cell.seed, run.path / SUBMISSIONS, preset=cell.preset)


def evaluate(run: Run, cell: Cell, halvings: int) -> None:
    from vddbench.cluster.plan import RESULTS, wait_for
    from vddbench.evaluation.evaluate import evaluate_cell
    from vddbench.evaluation.ready import decoded, open_with_store
    from vddbench.protocol import PROTOCOL, protocol_named
    from vddbench.records.files import cell_path
    from vddbench.submissions.manifest import MANIFEST
    from vddbench.system.device import chosen_device

    assert cell.student is not None
    folder, results = run.path / cell.submission, run.path / RESULTS
    wait_for(folder / MANIFEST)
    protocol = protocol_named(cell.protocol or PROTOCOL.name, cell.epochs)
    scored = replace(decoded(open_with_store(folder), protocol), is_probed=bool(cell.probes))
    manifest = scored.submission.manifest
    expected = cell_path(results, manifest.cell, cell.student, cell.seed, protocol.name)
    if expected != run.made(cell):
        raise ValueError(
            f"{folder} was changed since it was planned: it would make {expected}, planned is {run.made(cell)}; "
            "plan a run in another folder"
        )
    evaluate_cell(scored, cell.student, cell.seed, results, False, chosen_device(), halvings)


def stop_at_end_of_input() -> None:
    """Waits for the end of standard input; then lets the current step finish and save, within STOP_SECONDS."""
    from vddbench.system.interrupt import ask_to_stop

    while os.read(0, 1024):
        pass
    until = time.monotonic() + STOP_SECONDS
    if ask_to_stop():
        while time.monotonic() < until:
            time.sleep(0.2)
    os._exit(INTERRUPTED)  # no step is running, or it is too slow: the last saved state remains


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
