"""The benchmark counts what it says it counts. Times are never asserted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vddbench.data.datasets import miniucf, movingshapes
from vddbench.evaluation import speed
from vddbench.evaluation.students import convnet3d
from vddbench.leaderboard.studies.bench import costs, gpu, layers, released
from vddbench.leaderboard.studies.bench import students as bench


def macs(frames: int, side: int, num_classes: int) -> dict[str, float]:
    """MiniC3D's multiply-adds a clip for each convolution, by hand."""
    t, s, found, channels = frames, side, {}, 3
    for i, (wide, pool) in enumerate(((64, 1), (128, 2), (128, 2))):
        s = (s - 1) // 2 + 1
        found[f"conv{i}"] = t * s * s * wide * channels * 3 * 7 * 7
        t, s, channels = t // pool, s // 2, wide
    found["head"] = (t - 1) * 1 * 1 * channels * num_classes
    return found


def test_flops_are_two_a_multiply_add_forward_and_backward(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "ROUNDS", 1)
    monkeypatch.setattr(speed, "ROUND_SECONDS", 0.0)
    monkeypatch.setattr(speed, "MIN_STEPS", 1)
    measured = speed.measure(convnet3d, movingshapes.SPEC, 1, torch.device("cpu"))
    by_hand = macs(8, 64, 8)
    # every convolution: forward, gradient of weights, gradient of input - which the first doesn't need
    expected = 2 * (3 * sum(by_hand.values()) - by_hand["conv0"]) / 1e9
    assert measured.gflop == pytest.approx(expected, rel=1e-6)


def test_the_layers_are_the_three_convolutions_with_the_operations_counted_by_hand() -> None:
    found = layers.convolutions(movingshapes.SPEC, 2)
    done = [layers.gflop(layer, layers.passes(layer, x)[0]) for layer, x in found]
    by_hand = macs(8, 64, 8)
    assert done == pytest.approx([2 * 2 * by_hand[f"conv{i}"] / 1e9 for i in range(3)])


def test_a_miniucf_evaluation_is_500_steps_of_50_clips_and_three_views_of_1861_and_1017_videos() -> None:
    seconds = speed.Speed(train=2.0, bare_train=1, test=1.0, bare_test=1, gflop=1)
    assert bench.miniucf_seconds(seconds) == 500 * 50 * 2.0 + (1861 + 1017) * 3 * 1.0


def test_a_row_of_another_process_has_its_projection_and_small_figures_digits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seconds = speed.Speed(train=20.0, bare_train=20.0, test=1.0, bare_test=1, gflop=1)
    monkeypatch.setattr(bench, "measure", lambda *_: seconds)
    row = bench.row("convnet3d", miniucf.SPEC.model_copy(), 1)
    assert row[3] == "0.05" and row[-1] == f"{bench.miniucf_seconds(seconds) / 60:.0f} min"


def test_recurrent_layers_are_counted() -> None:
    layer = torch.nn.LSTM(3, 5, batch_first=True)
    with speed.counting(layer) as counter:
        layer(torch.zeros(2, 7, 3))
    assert counter.get_total_flops() == 2 * (2 * 7) * 4 * (3 * 5 + 5 * 5)  # 4 gates; one multiply-add is 2 operations


def test_the_registered_shapes_are_the_datasets_shapes() -> None:
    from vddbench.lookup import load, names

    assert {spec.clip_shape for spec in bench.SHAPES} == {load("dataset", n).SPEC.clip_shape for n in names("dataset")}
    assert miniucf.SPEC.clip_shape == (16, 112, 112, 3)


@pytest.mark.long
def test_every_section_of_the_gpu_benchmark_runs_at_toy_sizes() -> None:
    rows = list(gpu.measured(gpu.TOY, torch.device("cpu"), seconds=float("inf")))  # however busy the machine is
    assert [name.split()[0] for name, _ in rows] == [
        "one",
        "one",
        "weights",
        "weights",
        "training",
        "testing",
        "student",
        "dm,",
        "mtt,",
    ]
    assert not [result for _, result in rows if "FAILED" in result or "left out" in result]


def test_a_section_that_fails_or_begins_too_late_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: gpu.Bench) -> None:
        raise RuntimeError("CUDA error: out of luck\nmore")

    for section in ("agreement", "training", "testing", "student", "distillers"):
        monkeypatch.setattr(gpu.Bench, section, fails)
    rows = list(gpu.measured(gpu.TOY, torch.device("cpu")))
    assert len(rows) == 5 and all(result == "FAILED: RuntimeError: CUDA error: out of luck" for _, result in rows)
    assert all("left out" in result for _, result in gpu.measured(gpu.TOY, torch.device("cpu"), seconds=-1.0))


@pytest.mark.long
def test_the_operations_of_recurrent_layers_are_counted() -> None:
    """A GRU of 1,024 units reads 8,192 features of 8 frames, forward and twice backward; the heads differ by 7,168 inputs."""
    spec = miniucf.SPEC.model_copy(update={"frames": 8, "size": 64})
    parameters, with_gru, _ = costs.step("convnet_gru", spec)
    _, without, held = costs.step("convnet_mean", spec)
    assert parameters == 28_668_466 and held > 4 * 8 * 128 * 64 * 64  # one layer's output at least
    assert with_gru - without == pytest.approx(3 * 2 * (3 * 1024 * (8192 + 1024) * 8 - 7168 * 50), rel=0.01)


def test_the_gain_over_the_released_loops_is_the_median_of_the_ratios_of_rounds() -> None:
    ours, theirs = np.array([[0.1, 0.01], [0.2, 0.01], [0.4, 0.01]]), np.array([[0.3, 0.01], [0.2, 0.02], [0.8, 0.03]])
    training, testing = released.rows_of(movingshapes.SPEC, ours, theirs)
    assert training[0] == "8x64x64" and training[2:] == ["200.0", "300.0", "2.00", "1.00 to 3.00"]
    assert testing[1:] == ["testing in fp32", "10.0", "20.0", "2.00", "1.00 to 3.00"]


def test_the_released_network_gets_its_clips_scaled() -> None:
    """Its first layer does not standardise them again."""
    x = torch.randn(2, 3, 4, 5, 5) * 7 + 3
    assert torch.equal(released.network(movingshapes.SPEC, torch.device("cpu")).standardise(x), x)
    assert released.scaled(x).mean().abs() < 1e-5 and (released.scaled(x).std() - 1).abs() < 1e-5
