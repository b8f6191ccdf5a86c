"""Experts follow from split and settings, are made once, and a run that stops keeps those it finished."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from vddbench.data.store import Split, Store
from vddbench.distillation import experts
from vddbench.distillation.cached_work import Fresh
from vddbench.distillation.experts import Experts, flatten, trajectories, views
from vddbench.evaluation.students import convnet3d
from vddbench.evaluation.train import build

CPU = torch.device("cpu")
SMALL = Experts(num=1, epochs=2, batch=2)


@pytest.fixture
def few(tiny: Store) -> Split:
    """Three train videos: what is trained here is trained in a moment."""
    return tiny.train.only(np.isin(np.arange(len(tiny.train)), [0, 20, 40]))


@pytest.fixture
def fresh(tiny: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where experts are cached: nothing there yet."""
    monkeypatch.setenv("VDDBENCH_HOME", str(tmp_path))
    return tmp_path / "experts"


def test_weights_as_one_vector_are_the_same_network(tiny: Store) -> None:
    net = build(convnet3d, tiny.spec, 0, CPU).eval()
    x = torch.randn(2, 3, *tiny.spec.clip_shape[:3], generator=torch.Generator().manual_seed(0))
    vector = flatten(net)
    named = views(vector, net)
    assert all(torch.equal(named[name], p) for name, p in net.named_parameters())
    assert named["features.0.weight"].is_contiguous(memory_format=torch.channels_last_3d)
    other = build(convnet3d, tiny.spec, 1, CPU).eval()
    torch.testing.assert_close(torch.func.functional_call(other, named, (x,)), net(x))  # kernels differ by alignment


def test_an_expert_is_trained_once_and_read_epoch_by_epoch(
    tiny: Store, few: Split, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = trajectories(few, SMALL, CPU)
    (path,) = fresh.glob("*.safetensors")
    assert not list(fresh.glob(".*"))  # no lock or half-written file stays
    stored = load_file(path)["work"]
    assert torch.equal(stored[0], flatten(build(convnet3d, tiny.spec, 0, CPU)))
    assert (stored[1:] - stored[:-1]).norm(dim=1).min() > 0
    for got, epoch in zip(read.start_and_target(0, 0, 2, CPU), (0, 2), strict=True):
        assert torch.equal(got, stored[epoch])
    assert read.cost["expert_clips_read"] == 2 * len(few)
    monkeypatch.setattr(experts, "_make", None)  # would fail when called
    assert torch.equal(trajectories(few, SMALL, CPU).start_and_target(0, 1, 1, CPU)[0], stored[1])


def test_the_same_expert_again_is_the_same_to_the_bit(few: Split, fresh: Path) -> None:
    def made() -> torch.Tensor:
        return trajectories(few, replace(SMALL, epochs=1), CPU).start_and_target(0, 0, 1, CPU)[1]

    first = made()
    next(fresh.glob("*.safetensors")).unlink()
    assert torch.equal(made(), first)


def test_another_split_setting_or_number_is_another_file_and_more_experts_keep_those_there(tiny: Store) -> None:
    part = tiny.train.only(np.arange(len(tiny.train)) % 2 == 0)
    paths = [
        experts._path(tiny.train, SMALL, 0, CPU),
        experts._path(part, SMALL, 0, CPU),
        experts._path(tiny.train, SMALL, 1, CPU),
        *(experts._path(tiny.train, replace(SMALL, **{name: 3}), 0, CPU) for name in ("epochs", "batch", "lr", "momentum")),
        experts._path(tiny.train, replace(SMALL, weight_decay=1.0), 0, CPU),
    ]
    assert len(set(paths)) == len(paths)
    assert experts._path(tiny.train, replace(SMALL, num=9), 0, CPU) == paths[0]


def test_a_run_that_stops_between_experts_keeps_those_it_finished(
    few: Split, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, made = experts._make, []

    def stopped_at_the_second(split: object, settings: object, number: int, *rest: object) -> Fresh:
        if number == 1 and not made:
            made.append(number)
            raise KeyboardInterrupt
        made.append(number)
        return real(split, settings, number, *rest)  # type: ignore[arg-type]

    short = Experts(num=2, epochs=1, batch=3)
    trajectories(few, replace(short, num=1), CPU)
    monkeypatch.setattr(experts, "_make", stopped_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        trajectories(few, short, CPU)
    assert len(list(fresh.glob("*.safetensors"))) == 1
    assert len(trajectories(few, short, CPU)) == 2
    assert made == [1, 1]  # the first one was never made again


def test_an_expert_that_diverges_is_trained_again_at_half_the_lr_or_refused_and_not_cached(
    few: Split, fresh: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match=r"expert 0 on tiny diverged at lr 1\.25e\+29, too; lower expert_lr \(1e\+30\)"):
        trajectories(few, Experts(num=1, epochs=2, batch=3, lr=1e30), CPU)
    assert not list(fresh.glob("*.safetensors"))
    assert "diverged in epoch 2 at lr 1e+30" in capsys.readouterr().err
    tried, real = [], experts._weights_by_epoch

    def diverging_at_first(split: Split, settings: Experts, *rest: Any) -> Iterator[torch.Tensor]:
        tried.append(settings.lr)
        for weights in real(split, settings, *rest):
            yield weights * (1 if settings.lr < 0.02 else float("nan"))

    monkeypatch.setattr(experts, "_weights_by_epoch", diverging_at_first)
    made = trajectories(few, Experts(num=1, epochs=1, batch=3, lr=0.02), CPU)
    assert tried == [0.02, 0.01] and made.experts[0].tensor[:].isfinite().all()


def test_a_damaged_expert_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(ValueError, match=r"bad\.safetensors cannot be used .*delete the file"):
        experts.Trajectories([tmp_path / "bad.safetensors"])
