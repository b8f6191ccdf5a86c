"""A user's mistake gets one clear message and an exit code, never a traceback; nothing half-written stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
import typer
from typer.testing import CliRunner

from tests.builders.commands import call
from vddbench.commands.main import app
from vddbench.commands.options import friendly
from vddbench.commands.settings import remembered
from vddbench.data.store import Store, store_path
from vddbench.system.locks import locked


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        (["distill", "randum", "--task", "tiny-ipc1"], 2, "no baseline named 'randum'; did you mean random"),
        (["distill", "random", "--task", "tyny-ipc1"], 2, "no dataset named 'tyny'; did you mean tiny?"),
        (["distill", "random", "--task", "tiny-ipc0"], 2, "ipc 0 is not a budget of this benchmark; use tiny-ipc1"),
        (["distill", "random", "--task", "tiny-ipc-3"], 2, "ipc -3 is not a budget"),
        (["distill", "random", "--task", "tiny-ipc999999999"], 2, "is not a budget"),
        (["distill", "random", "--task", "tiny"], 2, "is not DATASET-ipcN"),
        (["prepare", "minucf"], 2, "did you mean miniucf"),
        (["prepare", "miniucf"], 1, "needs --raw DIR"),
        (["prepare", "Bad-Name", "--folder", "."], 1, "small letters"),
        (["prepare", "mine", "--folder", ".", "--stride", "-1"], 2, "or even"),
        (["prepare", "movingshapes", "--frames-dir", "."], 1, "is generated; leave out --frames-dir"),
        (["prepare", "hmdb51", "--raw", "."], 1, "does not hold HMDB51"),
        (["datasets", "verify", "tyny"], 2, "did you mean tiny"),
        (["datasets", "show", "tyny"], 2, "did you mean tiny"),
        (["check", "nowhere/at/all"], 1, "no submission at"),
        (["rank", "--results", "nowhere"], 1, "vddbench evaluate"),
        (["rank", "--format", "xlsx"], 2, "allowed: table, md, csv, json"),
        (["evaluate", "x", "--seeds", "0"], 2, "--seeds"),
        (["methods", "kipp"], 2, "no method named 'kipp'; did you mean kip?"),
        (["methods", "dm_fats"], 2, "did you mean dm_fast"),
        (["methods", "--format", "xlsx"], 2, "allowed: table, md, json"),
        (["methods", "--task", "movingshapes-ipc2"], 2, "no record of a baseline on movingshapes-ipc2; tasks with records: "),
    ],
)
def test_mistakes(command: list[str], code: int, says: str, tiny: Store, capfd: pytest.CaptureFixture[str]) -> None:
    exit_code, output = call(*command)
    out, err = capfd.readouterr()
    assert exit_code == code
    assert says in " ".join((output + out + err).split())


def test_check_exits_0_for_a_good_submission_and_1_for_a_spoilt_one(tiny_random: Path, tmp_path: Path) -> None:
    code, output = call("check", tiny_random)
    assert code == 0 and output.endswith(f"accepted next: vddbench evaluate {tiny_random}")
    spoilt = tmp_path / "tiny-ipc1" / "random"
    spoilt.mkdir(parents=True)
    for file in tiny_random.iterdir():
        (spoilt / file.name).write_bytes(file.read_bytes())
    (spoilt / "data.safetensors").write_bytes((spoilt / "data.safetensors").read_bytes()[:-1])
    code, output = call("check", spoilt)
    assert code == 1 and "refused" in output.lower()

    refused = json.loads(CliRunner().invoke(app, ["check", str(spoilt), "--json"]).stdout)
    assert not refused["accepted"] and refused["reasons"]


def test_lists_of_tasks_and_students_are_tables_and_json(tiny: Store) -> None:
    tasks = {row["task"]: row for row in json.loads(call("tasks", "--json")[1])}
    assert tasks["tiny-ipc1"]["data"] == "prepared" and tasks["tiny-full"]["budget_bytes"] is None
    assert tasks["miniucf-ipc1"]["budget_bytes"] == 50 * (16 * 112 * 112 * 3 + 8)
    students = json.loads(call("students", "--json")[1])
    assert [row["student"] for row in students if row["role"] != "transfer"] == ["convnet3d"]
    for command, name in (("tasks", "tiny-ipc5"), ("students", "swin3d_t")):
        assert name in call(command)[1]


def test_the_classes_of_a_dataset_are_listed_in_the_order_of_their_labels(tiny: Store) -> None:
    rows = json.loads(call("tasks", "tiny", "--json")[1])
    assert len(rows) == 4 and all(tuple(row["class_names"]) == tiny.spec.class_names for row in rows)
    assert call("tasks", "tiny")[1].split()[-2:] == [str(tiny.spec.num_classes - 1), tiny.spec.class_names[-1]]
    code, output = call("tasks", "tinny")
    assert code == 2 and "no dataset named 'tinny'; did you mean tiny? (known: " in output


def test_help_names_types_as_people_do() -> None:
    text = call("evaluate", "--help")[1]
    assert "SUBMISSION <path>" in text and "--seeds <int>" in text and "list[" not in text


def test_a_repository_that_was_given_once_is_remembered(home: Path) -> None:
    with pytest.raises(LookupError, match=r"--results-repo is missing: give it once, e\.g\. --results-repo ORG/"):
        remembered("results_repo", None)
    with pytest.raises(LookupError, match="OWNER/NAME"):
        remembered("results_repo", "no/such/name")
    assert remembered("results_repo", "lab/results") == remembered("results_repo", None) == "lab/results"
    assert remembered("space", "lab/board") == "lab/board"
    assert json.loads((home / "settings.json").read_text()) == {"results_repo": "lab/results", "space": "lab/board"}
    for text, says in (("[1]", "must be like"), ("[" * 5000, "nested too deeply"), (" " * 20_000, "more than 10,000 bytes")):
        (home / "settings.json").write_text(text)
        with pytest.raises(ValueError, match=rf"settings\.json .*{says}.*: mend or delete it"):
            remembered("space", None)


def test_two_commands_that_remember_repositories_at_once_lose_none(home: Path) -> None:
    second = Thread(target=remembered, args=("space", "lab/board"))
    with locked(home / "settings.lock"):  # as the first command, which writes now
        second.start()
        second.join(0.5)
        (home / "settings.json").write_text('{"results_repo": "lab/results"}')
    second.join()
    assert json.loads((home / "settings.json").read_text()) == {"results_repo": "lab/results", "space": "lab/board"}


def test_an_incomplete_store_is_refused(
    tiny: Store, tiny_random: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    done = store_path("tiny") / "done.json"
    away = done.with_name("away")
    done.rename(away)
    try:
        code, output = call("evaluate", tiny_random, "--results", tmp_path)
    finally:
        away.rename(done)
    assert code == 1 and "is incomplete" in " ".join((output + "".join(capfd.readouterr())).split())
    assert not any(tmp_path.iterdir())


@pytest.mark.long
def test_a_full_disk_during_evaluate_leaves_no_half_record(home: Path, tiny_random: Path, tmp_path: Path) -> None:
    """A file-size limit of 0.5 kB stands for the disk: predictions don't fit."""
    code = """import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
from vddbench.commands.main import main
main()"""
    done = subprocess.run(
        [sys.executable, "-c", code, "evaluate", str(tiny_random), "--seeds", "1", "--results", str(tmp_path)],
        env={**os.environ, "VDDBENCH_HOME": str(home)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and "error:" in done.stderr and "Traceback" not in done.stderr
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_the_schema_is_json_schema_and_refuses_other_fields(capsys: pytest.CaptureFixture[str]) -> None:
    code, output = call("schema")
    assert code == 0 and '"additionalProperties": false' in output and '"sha256"' in output


def run_main(*args: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    code = "from vddbench.commands.main import main; main()"
    return subprocess.run([sys.executable, "-c", code, *args], stderr=subprocess.PIPE, check=False, **options)


def test_a_terminal_without_unicode_gets_readable_help() -> None:
    done = run_main("rank", "--help", stdout=subprocess.PIPE, env={**os.environ, "PYTHONIOENCODING": "ascii:strict"})
    assert done.returncode == 0 and done.stdout.isascii() and b"--results" in done.stdout and not done.stderr


def test_a_reader_that_ends_early_causes_no_message() -> None:
    """As in `vddbench rank | head`."""
    read, write = os.pipe()
    os.close(read)
    done = run_main("--version", stdout=write)
    os.close(write)
    assert done.stderr == b""

    @friendly
    def rank() -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):  # click ends quietly
        rank()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
        MemoryError("Unable to allocate 2.00 GiB for an array"),
    ],
    ids=["gpu", "cpu", "numpy"],
)
def test_memory_that_runs_out_is_one_message(error: Exception, capfd: pytest.CaptureFixture[str]) -> None:
    @friendly
    def evaluate(error: Exception) -> None:
        raise error

    with pytest.raises(typer.Exit) as stop:
        evaluate(error)
    said = " ".join(capfd.readouterr().err.split())
    assert stop.value.exit_code == 1 and said.startswith(f"error: memory ran out: {error}; end other programs")
    with pytest.raises(RuntimeError, match="shapes differ"):
        evaluate(RuntimeError("shapes differ"))


def test_help_needs_no_module_that_windows_lacks() -> None:
    code = (
        "import sys\nfor name in ('fcntl', 'resource', 'termios', 'pwd', 'grp'): sys.modules[name] = None\n"
        "import vddbench.leaderboard.tables\nfrom vddbench.commands.main import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code, "rank", "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "--results" in done.stdout
