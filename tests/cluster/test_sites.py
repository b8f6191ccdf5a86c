"""Sites differ in what their Slurm demands of a job, and a run's folder may lie where others can write.

A stand-in for sbatch refuses as a site's filter does, or keeps the script that submitit wrote.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.builders.cells import StandIn, give, planned
from vddbench.cluster import doctor
from vddbench.cluster.access import check_parents, private_folder
from vddbench.cluster.jobs import read_jobs
from vddbench.cluster.plan import Run
from vddbench.cluster.resources import Resources, overridden, resources, validated
from vddbench.cluster.submit import Where, submit
from vddbench.cluster.worker import Stop, Worker, search_path

REFUSES = """echo "sbatch: ----------" >&2
echo "sbatch: error: lua: Requesting memory by node is not supported." >&2
echo "sbatch: error: cli_filter plugin terminated with error" >&2
exit 1"""
ACCEPTS = """cp "$1" "$0.script"
echo "Submitted batch job 4711" """


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of Slurm's commands, which know no jobs; a test writes its `sbatch`."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("squeue", "scancel", "srun", "scontrol"):
        write(tools / name, f'echo {name} "$@" >> {tools}/called')
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tools


def write(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/bash\n{body}\n")
    path.chmod(0o755)


def script_of(site: Path, run: Run, asked: Resources) -> str:
    """The script that sbatch gets for a run's cells."""
    write(site / "sbatch", ACCEPTS)
    assert len(submit(run, asked, Where("slurm"))) == 1
    return (site / "sbatch.script").read_text()


def test_the_first_complaint_of_sbatch_is_shown_and_nothing_is_submitted(site: Path, tmp_path: Path) -> None:
    write(site / "sbatch", REFUSES)
    run = planned(tmp_path)
    with pytest.raises(ValueError, match=r"Slurm refused vddbench-\w+-1: lua: Requesting memory by node is not supported\."):
        submit(run, Resources(), Where("slurm"))
    assert read_jobs(run) == []


@pytest.mark.parametrize(
    ("sbatch", "reason"),
    [
        (None, "srun is not installed here.*--cluster local"),
        ("echo Welcome to our cluster", r"submitit could not submit .*Welcome to our cluster"),
    ],
)
def test_whatever_submitit_raises_is_a_sentence(sbatch: str | None, reason: str, site: Path, tmp_path: Path) -> None:
    write(site / "sbatch", sbatch or ACCEPTS)
    if sbatch is None:
        (site / "srun").unlink()
        os.environ["PATH"] = str(site)  # restored by the fixture
    run = planned(tmp_path)
    with pytest.raises(ValueError, match=reason):
        submit(run, Resources(), Where("slurm"))
    assert read_jobs(run) == []
    assert sbatch is None or "scancel --name vddbench" in (site / "called").read_text()  # it may have been accepted


def test_a_job_has_the_options_that_the_site_demands(site: Path, tmp_path: Path) -> None:
    (tmp_path / "vddbench").mkdir()
    (tmp_path / "vddbench" / "cluster.toml").write_text(
        'mem_per_cpu = 4\ngpu_type = "v100"\nexclude = "n[1-3]"\nreservation = "lab"\nsbatch = ["--exclusive", "--nice=5"]\n'
    )
    script = script_of(site, planned(tmp_path), resources())
    for option in ("mem-per-cpu=4096M", "gres=gpu:v100:1", "exclude='n[1-3]'", "reservation=lab", "exclusive", "nice=5"):
        assert f"#SBATCH --{option}\n" in script
    assert "--mem=" not in script and "gpus-per-node" not in script and "#SBATCH --time=60\n" in script


@pytest.mark.parametrize(
    ("settings", "asked"),
    [
        ({}, ["--mem=16384M", "--gpus-per-node=1"]),
        ({"mem": 0, "gpus": 0}, []),
        ({"sbatch": ["--mem-per-gpu=8G", "--gpus=2"]}, ["--mem-per-gpu=8G", "--gpus=2"]),
        ({"sbatch": ["--gres=gpu:a:1"], "mem_per_cpu": 2}, ["--mem-per-cpu=2048M", "--gres=gpu:a:1"]),
    ],
)
def test_memory_and_gpus_are_requested_in_one_form(settings: dict[str, object], asked: list[str]) -> None:
    assert doctor.options(validated(settings), without=["time", "cpus-per-task"]) == asked


def test_more_memory_is_requested_in_the_form_that_the_site_takes() -> None:
    assert doctor.options(Resources(mem_per_cpu=4).with_twice_the_memory())[2] == "--mem-per-cpu=8192M"
    assert doctor.options(Resources().with_twice_the_memory())[2] == "--mem=32768M"
    assert "--mem=5120M" in doctor.options(validated(overridden({"mem_per_cpu": 4}, {"mem": 5})))


@pytest.mark.parametrize("option", ["--array=0-9", "--wrap=rm", "-p gpu", "--nice=5\n#SBATCH --array=0-9", "nodes=1"])
def test_options_that_would_break_a_job_are_refused(option: str) -> None:
    with pytest.raises(ValueError, match=r"sbatch\.0: "):
        validated({"sbatch": [option]})


@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_the_folder_of_pickles_is_private_under_any_umask(umask: int, tmp_path: Path) -> None:
    run = planned(tmp_path)
    job, before = give(run), os.umask(umask)
    try:
        folder = private_folder(run, job).parent
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_anybody_could_exchange_is_refused(tmp_path: Path) -> None:
    run = planned(tmp_path)
    tmp_path.chmod(0o777)
    with pytest.raises(ValueError, match=r"anybody can write to .*chmod o-w"):
        submit(run, Resources(), Where("slurm"))
    tmp_path.chmod(0o1777)  # as /tmp
    check_parents(run.path)


def test_a_job_ends_before_it_unpickles_files_that_others_could_write(site: Path, tmp_path: Path) -> None:
    run = planned(tmp_path)
    script = script_of(site, run, Resources())
    assert " -P -u -m submitit.core._submit" in script.splitlines()[-1]
    for mode, code in ((0o700, 0), (0o777, 1)):
        run.path.chmod(mode)
        done = subprocess.run(["bash", site / "sbatch.script"], capture_output=True, text=True, check=False)
        assert done.returncode == code and ("chmod go-w" in done.stderr) == bool(code)
    assert (site / "called").read_text().count("srun") == 1


def test_cells_run_in_the_folder_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = planned(tmp_path)
    StandIn(monkeypatch, "made.write_text(os.getcwd())")
    assert Worker(run, give(run).number, Stop(), {}).work(run.cells) == ["done", "done"]
    assert run.made(run.cells[0]).read_text() == str(run.path)


def test_the_search_path_of_cells_has_no_entry_that_means_the_current_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", ":/lib:")
    assert search_path().split(":")[1:] == ["/lib"]
