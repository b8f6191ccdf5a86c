"""A grid distills the sets of a published table, then evaluates them: one run, in which no evaluation starts before its set."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from tests.builders.cells import StandIn, attempt, give
from tests.builders.commands import call
from tests.builders.published import claimed
from tests.builders.students import use_linear_student
from tests.builders.submissions import edit_manifest, written
from vddbench.baselines import dm, sre2l
from vddbench.cluster import follow
from vddbench.cluster.cells import distillations, evaluations_of
from vddbench.cluster.child import BAD, REFUSED
from vddbench.cluster.durations import basis_of, recorded, with_durations, work_of
from vddbench.cluster.grid import GRIDS, Grid, checked, plan, refused, reported_methods, show
from vddbench.cluster.jobs import read_jobs
from vddbench.cluster.measured_durations import measured
from vddbench.cluster.plan import SUBMISSIONS, Cell, Run, write_plan
from vddbench.cluster.planning import distill_plan
from vddbench.cluster.resources import Resources
from vddbench.cluster.status import status
from vddbench.cluster.submit import Where, bundles, retry, submit
from vddbench.cluster.worker import Stop, Worker
from vddbench.data.store import Store, store_path
from vddbench.distillation.run import distill
from vddbench.evaluation.evaluate import evaluate
from vddbench.evaluation.speed import Speed
from vddbench.leaderboard.evidence import load
from vddbench.protocol import PROTOCOL, SDD, Sdd
from vddbench.records.files import cell_path
from vddbench.spec import FULL, Task
from vddbench.submissions.manifest import read_manifest

TINY = Task(dataset="tiny", ipc=1)
LOCAL = Where("local")
SMALL = Grid(datasets=("tiny",), ipcs=(1,), methods=("random", "mean"), distill_seeds=1, seeds=2, protocols=(PROTOCOL, SDD))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Two distillations, each with two evaluations of its set: cells 0, 1-2 and 3, 4-5."""
    cells: list[Cell] = []
    for cell in distillations(["random", "mean"], TINY, [0], None):
        cells += [cell, *evaluations_of(cell, ["convnet3d"], range(2))]
    return write_plan(tmp_path / "run", cells, tmp_path).run


def work(run: Run, job: int = 1) -> list[str]:
    """Runs the tasks of a job one after the other."""
    worker = Worker(run, job, Stop(), {})
    return [outcome for task in read_jobs(run)[job - 1].tasks for outcome in worker.work([run.cells[i] for i in task])]


def test_a_distillation_and_the_evaluations_of_its_set_are_one_task_in_this_order(run: Run) -> None:
    assert bundles(run.cells, 1) == bundles(run.cells, None) == [[0, 1, 2], [3, 4, 5]]
    assert bundles([run.cells[i] for i in (2, 1, 0)], 1) == [[0, 2, 1]]
    assert bundles(run.cells[1:3], 1) == [[1], [2]]  # its set exists by now: any task can evaluate it
    (job,) = submit(run, Resources(), LOCAL)
    assert job.tasks == ((0, 1, 2), (3, 4, 5)) and submit(run, Resources(), LOCAL) == []


def test_the_path_of_a_record_is_known_once_its_set_exists(run: Run) -> None:
    cell = run.cells[1]
    assert run.makes(cell) == cell.makes == "results/tiny-ipc1/random@*/convnet3d/seed0.json"
    set_folder = written(run.path / SUBMISSIONS, method="random")
    assert str(set_folder) == str(run.path / cell.set_folder)
    address = read_manifest(set_folder).cell
    assert run.made(cell) == cell_path(run.path / "results", address, "convnet3d", 0)
    (sdd, *_) = evaluations_of(run.cells[0], ["convnet3d"], [4], Sdd(epochs=7))
    assert run.made(sdd) == cell_path(run.path / "results", address, "convnet3d", 4, "sdd") and sdd.epochs == 7


def test_without_its_set_an_evaluation_does_not_start_and_is_repeated_with_the_distillation(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = f"if cell == 0: print('error: random needs more'); sys.exit({REFUSED})\nif cell == 3: sys.exit({BAD})"
    StandIn(monkeypatch, failing)
    submit(run, Resources(), LOCAL)
    assert work(run) == ["refused", "no_set", "no_set", "bad", "no_set", "no_set"]
    now = status(run)
    assert now.failed == {"refused": 1, "bad": 1, "no_set": 4} and [now.cells[i].attempts for i in (0, 1, 2)] == [1, 0, 0]
    assert not any(run.log(run.cells[i]).exists() for i in (1, 2))
    assert refused(run, now.failures) == {  # not the one that failed for another reason
        "submissions/tiny-ipc1/random": "tiny-ipc1 random seed 0 is left out: random needs more"
    }
    assert retry(run, LOCAL) == []  # the distillation would be refused again
    (job,) = retry(run, LOCAL, failed=True)
    assert job.tasks == ((0, 1, 2), (3, 4, 5))
    StandIn(monkeypatch, "made.write_text('x')")
    assert work(run, 2) == ["done"] * 6


def test_once_the_set_exists_a_retry_needs_only_the_evaluations(run: Run) -> None:
    job = give(run, "local", cells=[0, 1, 2])
    attempt(run, job, 0, "crash")
    for cell in (1, 2):
        attempt(run, job, cell, "no_set")
    written(run.path / SUBMISSIONS, method="random")
    (again,) = retry(run, LOCAL)
    assert again.tasks == ((1,), (2,))


def test_a_distillation_that_ran_out_of_memory_and_its_evaluations_stay_one_task_on_slurm(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vddbench.cluster.slurm.submit", lambda run, job: "7")
    monkeypatch.setattr("vddbench.cluster.slurm.queue", lambda jobs: {})
    monkeypatch.setattr("vddbench.cluster.slurm.max_array", lambda: 1000)
    job = give(run, "slurm", cells=[0, 1, 2])
    attempt(run, job, 0, "oom")
    for cell in (1, 2):
        attempt(run, job, cell, "no_set")
    (again,) = retry(run, Where("slurm"))
    assert again.tasks == ((0, 1, 2),) and again.resources.mem == 2 * job.resources.mem


def test_a_grid_is_methods_times_tasks_times_seeds_times_protocols(tiny: Store, tmp_path: Path) -> None:
    wanted = replace(SMALL, methods=("random", "dm", FULL), ipcs=(1, 5), distill_seeds=2, preset="smoke")
    run = plan(wanted, tmp_path / "results", tmp_path / "submissions", tmp_path / "run").run
    distilled = [cell for cell in run.cells if cell.kind == "distill"]
    named = ("random", None), ("dm", "smoke")
    assert [(str(cell.task), cell.method, cell.seed, cell.preset) for cell in distilled] == [
        ("tiny-full", "full", 0, None),
        *[(f"tiny-ipc{i}", method, seed, preset) for i in (1, 5) for method, preset in named for seed in (0, 1)],
    ]
    assert len(run.cells) == 9 * (1 + 2 * 2)
    assert {cell.work for cell in run.cells if cell.kind == "evaluate"} == {"convnet3d", "convnet3d-sdd"}


def test_the_paper_grid_holds_the_methods_that_papers_report() -> None:
    methods = reported_methods(GRIDS["paper"].datasets)
    assert {"random", "herding", "k_center", "dm", "mtt", "frepo", "static_dc", "dm_sdd", FULL} <= set(methods)
    assert "dm_factor" not in methods  # no paper reports it
    with pytest.raises(LookupError, match="name methods with --methods"):
        reported_methods(["movingshapes"])


def test_planning_a_grid_again_adds_nothing_even_when_its_sets_were_collected(tiny: Store, tmp_path: Path) -> None:
    folders = tmp_path / "results", tmp_path / "submissions", tmp_path / "run"
    first = plan(SMALL, *folders)
    assert first.new == 2 * (1 + 4)
    distilled = tiny_random_again(first.run)
    shutil.copytree(distilled, tmp_path / "submissions/tiny-ipc1/random")
    assert plan(SMALL, *folders).new == 0
    other = plan(SMALL, tmp_path / "results", tmp_path / "submissions", tmp_path / "other")
    of_random = [cell for cell in other.run.cells if cell.method == "random"]
    assert [cell.kind for cell in of_random] == ["evaluate"] * 4  # the set exists and is evaluated as it is
    claimed(tmp_path / "results", tmp_path / "submissions/tiny-ipc1/random", [10])
    assert plan(SMALL, tmp_path / "results", tmp_path / "submissions", tmp_path / "third").recorded == 1


def test_a_record_of_other_epochs_is_refused_before_anything_runs(
    tiny: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its file has the path of the planned record, but its row would not be in the table."""
    monkeypatch.chdir(tmp_path)
    use_linear_student(monkeypatch)
    evaluate(
        distill("random", TINY, 0, Path("submissions")),
        students="convnet3d",
        seeds=1,
        results="results",
        protocol=Sdd(epochs=2),
    )
    options = ["--dataset", "tiny", "--methods", "random,mean", "--seeds", "1", "--epochs", "1", "--dry-run"]
    code, output = call("grid", "tiny", *options)
    shown = " ".join((output + "".join(capfd.readouterr())).split())
    assert code == 1 and "convnet3d-sdd/seed0.json was made under other conditions: protocol_hash" in shown
    assert "epochs 2 (now 1); use another --results folder" in shown and not Path("runs").exists()


def tiny_random_again(run: Run) -> Path:
    return distill("random", TINY, 0, run.path / SUBMISSIONS)


def test_a_set_of_the_same_name_with_other_settings_is_refused(tiny: Store, tmp_path: Path) -> None:
    set_folder = written(tmp_path / "submissions", method="dm_smoke", spec=tiny.spec, tensors=random_clips(tiny))
    edit_manifest(set_folder, config={"iterations": 7})
    wanted = replace(SMALL, methods=("dm",), preset="smoke")
    with pytest.raises(ValueError, match=r"dm_smoke was made with other settings: iterations 7 \(the grid: 2\).*move it away"):
        plan(wanted, tmp_path / "results", tmp_path / "submissions", tmp_path / "run")
    edit_manifest(set_folder, config=asdict(dm.PRESETS["smoke"]), holdout=True)
    with pytest.raises(ValueError, match=r"other settings: holdout True \(the grid: False\);"):
        plan(wanted, tmp_path / "results", tmp_path / "submissions", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_mistakes_are_refused_before_anything_is_planned(tiny: Store) -> None:
    for wrong, says in [
        (replace(SMALL, methods=("randum",)), "did you mean random"),
        (replace(SMALL, methods=("dm", "tesla")), "tesla has no baseline of its own"),
        (replace(SMALL, preset="smok", methods=("dm",)), "did you mean smoke"),
        (replace(SMALL, ipcs=(2,)), "allowed are 1, 5, 10"),
        (replace(SMALL, students=("convnet",)), "did you mean convnet"),
        (replace(SMALL, datasets=("tyny",), methods=()), "no dataset named 'tyny'; did you mean tiny"),
        (replace(SMALL, datasets=("miniucf", "hmdb51", "tiny")), r"vddbench prepare miniucf[\s\S]*vddbench prepare hmdb51"),
    ]:
        with pytest.raises(LookupError, match=says):
            checked(wrong)
    assert checked(SMALL) == SMALL
    with pytest.raises(LookupError, match="tesla has no baseline of its own"):
        distill_plan(["tesla"], Task.parse("tiny-ipc1"), [0], None, Path("never"))


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("batch plan --distill dm,random --task tiny-ipc1 --preset smoke", "no preset of random named 'smoke'"),
        ("batch plan --distill dm --task tyny-ipc1", "no dataset named 'tyny'; did you mean tiny"),
        ("batch plan --distill dm --task tiny-ipc1 --measure --epochs 3", "--measure, --epochs: only without --distill"),
        ("batch plan SUB --task tiny-ipc1 --preset fast", "--task, --preset: only with --distill"),
        ("evaluate SUB --run runs/a", "--run needs --cluster"),
    ],
)
def test_what_can_never_run_or_would_be_ignored_is_not_planned(
    command: str, says: str, tiny: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, output = call(*command.split())
    assert code == 2 and says in " ".join((output + "".join(capfd.readouterr())).split())
    assert not (tmp_path / "runs").exists()


def test_durations_come_from_the_fastest_machine_and_the_plan_names_it(run: Run, tmp_path: Path) -> None:
    """Records of sdd with other epochs say nothing about a cell's duration."""
    folder = tmp_path / "results/tiny-ipc1/other@00000000"
    for device, seconds, student, epochs in [("a CPU", 100, "", None), ("a GPU", 4, "", None), ("a GPU", 9, "-sdd", 500)]:
        file = folder / f"convnet3d{student}" / f"seed{seconds}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        fields = {"train_seconds": seconds, "test_seconds": 1, "environment": {"device": device}, "epochs": epochs}
        file.write_text(json.dumps(fields))
    strangers = ("seed1", '{"train_seconds": 1, "test_seconds": 1, "epochs": []}'), ("seed2", "[1]")
    for name, text in strangers:
        (folder / "convnet3d" / f"{name}.json").write_text(text)
    written(tmp_path / "sets", method="random", distill_seconds=30.0, distill_hardware="a GPU")
    known = recorded([tmp_path / "results"], [tmp_path / "sets"])
    assert [cell.seconds for cell in with_durations(run.cells, known)] == [30.0, 5.0, 5.0, None, 5.0, 5.0]
    lines = "\n".join(basis_of(run.cells, known, is_measured=False))
    assert "4 cells: medians of records made on a GPU" in lines and "1 cells: medians of manifests made on a GPU" in lines
    assert "1 cells are unknown: mean" in lines and "Plan again with --measure" in lines
    (unknown,) = (line for line in basis_of(run.cells, known, is_measured=True) if "unknown" in line)
    assert "Plan again with --measure" not in unknown and "make a set in one call" in unknown
    (sdd,) = evaluations_of(run.cells[0], ["convnet3d"], [0], SDD)
    assert known[work_of(sdd)].seconds == 10.0
    assert work_of(sdd.model_copy(update={"epochs": 5})) not in known


def test_measuring_a_method_trains_its_teacher_for_one_step(tiny: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*args: Any, steps: int, **options: Any) -> None:
        raise ValueError(f"a teacher of {steps} steps")

    monkeypatch.setattr(sre2l, "teacher", stopped)
    with pytest.raises(ValueError, match="a teacher of 1 steps"):
        measured(distillations(["sre2l"], TINY, [0], "fast_hard"))


@pytest.mark.long
def test_durations_of_methods_and_of_the_replayed_protocol_are_measured_on_request(
    tiny: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    speed = Speed(train=10.0, bare_train=0.0, test=1.0, bare_test=0.0, gflop=0.0)
    monkeypatch.setattr("vddbench.evaluation.speed.measure", lambda *arguments: speed)
    dm, random = (cell for method in ("dm", "random") for cell in distillations([method], TINY, [0], "smoke"))
    (sdd,) = evaluations_of(dm, ["convnet3d"], [0], Sdd(epochs=3))
    (absent,) = evaluations_of(dm.model_copy(update={"task": Task.parse("hmdb51-ipc1")}), ["convnet3d"], [0], Sdd(epochs=3))
    known = measured([dm, random.model_copy(update={"preset": None}), sdd, absent])
    assert known[work_of(sdd)].seconds == (3 + 1) * 8 * 10.0 + (3 + 1) * (len(tiny.test) + len(tiny.validation))
    assert known[work_of(dm)].seconds > 0 and "without teachers" in known[work_of(dm)].basis
    assert known[work_of(absent)].seconds == (3 + 1) * 51 * 10.0 + (3 + 1) * (1530 + 3570 // 5)
    assert "with random clips, because hmdb51 is not prepared here" in known[work_of(absent)].basis
    assert len(known) == 3  # random makes its set in one call, which is not measured


def test_the_command_plans_and_starts_nothing_with_dry_run(
    tiny: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--dataset", "tiny", "--methods", "random,mean", "--seeds", "1", "--epochs", "3", "--dry-run"]
    code, output = call("grid", "tiny", *options)
    (folder,) = (tmp_path / "runs").iterdir()
    run = Run.open(folder)
    assert code == 0 and len(run.cells) == 2 * (1 + 2) and not (folder / "jobs").exists()
    assert {cell.epochs for cell in run.cells} == {None, 3}
    shown = " ".join((output + "".join(capfd.readouterr())).split())
    assert "6 cells, 6 of them new" in shown and "nothing was started" in shown and "next: vddbench batch submit" not in shown
    assert call("grid", "tiny", *options)[0] == 0 and list((tmp_path / "runs").iterdir()) == [folder]  # the same run
    for wrong in (["grid", "papr"], ["grid", "tiny", "--ipc", "one"], ["grid", "tiny", "--protocols", "v3", "--epochs", "3"]):
        assert call(*wrong)[0] == 2


def test_the_paper_table_is_planned_before_its_data_are_prepared_but_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, output = call("grid", "paper", "--dry-run")
    (folder,) = (tmp_path / "runs").iterdir()
    cells = Run.open(folder).cells
    assert code == 0 and {str(cell.task) for cell in cells} == {
        *("miniucf-ipc1", "miniucf-ipc5", "hmdb51-ipc1", "hmdb51-ipc5", "miniucf-full", "hmdb51-full")
    }
    shown = " ".join((output + "".join(capfd.readouterr())).split())
    assert f"{len(cells):,} cells" in shown
    assert all(f"run: vddbench prepare {dataset}" in shown for dataset in ("miniucf", "hmdb51"))
    assert call("grid", "paper")[0] == call("grid", "paper", "--dry-run", "--dataset", "mine", "--methods", "random")[0] == 2
    assert list((tmp_path / "runs").iterdir()) == [folder] and not (folder / "jobs").exists()
    bundled = str(Path(__file__).parents[2] / "submissions")  # of movingshapes, which is not prepared here either
    code, output = call("grid", "tiny", "--methods", "random", "--submissions", bundled, "--dry-run")
    assert code == 0 and "1 sets exist in" in output


def test_csv_and_json_of_a_grid_are_one_table_of_both_protocols(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = replace(GRIDS["paper"], methods=("dm",))
    show(grid, tmp_path, "json")
    numbers = json.loads(capsys.readouterr().out)
    assert len(numbers) == len({(one["method"], one["task"]) for one in numbers})  # each reported number once
    show(grid, tmp_path, "md", tmp_path / "table.tex")
    assert capsys.readouterr().out.count("| dm ") == 2  # a table for each protocol
    show(grid, tmp_path, "latex")
    text = capsys.readouterr().out
    assert text.count("\ndm & ") == 2 and (tmp_path / "table.tex").read_text() == text


def test_cells_lost_in_an_earlier_call_get_the_resources_that_this_call_asks_for(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vddbench.cluster.slurm.submit", lambda run, job: "7")
    monkeypatch.setattr("vddbench.cluster.slurm.queue", lambda jobs: {})
    monkeypatch.setattr("vddbench.cluster.slurm.max_array", lambda: 1000)
    monkeypatch.setattr(follow, "watch", status)
    attempt(run, give(run, "slurm", cells=[0, 1, 2]), 0, "interrupted")  # by the time limit
    follow.finish(run, {"time": 240}, "slurm", tmp_path / "results", tmp_path / "submissions")
    assert [(job.tasks, job.resources.time) for job in read_jobs(run)[1:]] == [(((3, 4, 5),), 240), (((0, 1, 2),), 240)]


@pytest.mark.slow
def test_a_grid_ends_in_tables_and_the_same_command_resumes_it(
    tiny: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Real cells: random and dm are distilled and evaluated under both protocols. A damaged record is made again."""
    monkeypatch.chdir(tmp_path)
    options = ["--dataset", "tiny", "--methods", "random,dm", "--seeds", "1", "--epochs", "1", "--run", "run"]
    code, output = call("grid", "tiny", *options)
    assert code == 0, output
    assert "dm_smoke" in output
    assert "network convnet3d, protocol v3\n" in output and "network convnet3d, protocol sdd of" in output
    loaded = load([tmp_path / "results"])
    assert sorted(one.record.method for one in loaded.evaluated) == ["dm_smoke", "random"]
    assert {one.record.epochs for one in loaded.replayed} == {1} and len(loaded.replayed) == 2
    assert {path.name for path in (tmp_path / "submissions/tiny-ipc1").iterdir()} == {"dm_smoke", "random"}
    assert (tmp_path / "run/table.tex").read_text().count(r"\begin{tabular}") == 2
    shown = " ".join((output + capsys.readouterr().err).split())
    (site,) = re.findall(r"as a web page: vddbench (site build .+ --out site)", shown)
    assert call(*site.split())[0] == 0 and "dm_smoke" in (tmp_path / "site/index.html").read_text()
    jobs = len(read_jobs(Run.open(tmp_path / "run")))
    code, latex = call("grid", "tiny", *options, "--format", "latex")
    assert code == 0 and r"\begin{tabular}" in latex and len(read_jobs(Run.open(tmp_path / "run"))) == jobs


@pytest.mark.long
def test_a_grid_leaves_out_what_a_method_refuses_and_fails_for_a_damaged_store(
    tiny: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Real cells. dm_sdd needs more videos than a class has; then the store is cut after the plan was made."""
    monkeypatch.chdir(tmp_path)
    options = ["--dataset", "tiny", "--seeds", "1", "--protocols", "v3"]
    code, output = call("grid", "tiny", *options, "--methods", "random,dm_sdd", "--ipc", "5")
    shown = " ".join((output + "".join(capfd.readouterr())).split())
    assert code == 0, shown
    assert "tiny-ipc5 dm_sdd seed 0 is left out: dm_sdd needs 5 slots of 2 stills per class" in shown
    frames = store_path("tiny") / "frames.bin"
    whole = frames.read_bytes()

    def finish_with_a_cut_store(*arguments: Any) -> int:
        frames.write_bytes(whole[:-1])
        return finish(*arguments)

    finish = follow.finish
    monkeypatch.setattr(follow, "finish", finish_with_a_cut_store)
    try:
        code, output = call("grid", "tiny", *options, "--methods", "random", "--ipc", "1")
    finally:
        frames.write_bytes(whole)
    shown = " ".join((output + "".join(capfd.readouterr())).split())
    assert code != 0 and "is left out" not in shown
    assert "error: tiny-ipc1 random distill seed 0: store" in shown and "is damaged (frames.bin has" in shown


@pytest.mark.slow
def test_the_tiny_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a user runs it, with its own methods and seeds."""
    monkeypatch.chdir(tmp_path)
    assert call("prepare", "movingshapes")[0] == 0
    code, output = call("grid", "tiny")
    assert code == 0 and "mtt_smoke" in output and len(load([tmp_path / "results"]).evaluated) == 3 * GRIDS["tiny"].seeds


def random_clips(store: Store) -> dict[str, object]:
    from vddbench.evaluation.speed import random_clips as clips_of

    clipset = clips_of(store.spec, store.spec.num_classes)
    return {"clips": clipset.clips, "labels": clipset.labels}
