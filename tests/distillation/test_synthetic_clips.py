"""A memory's payload decodes to what was learned, and a checkpoint brings a memory and its optimiser back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vddbench.data.store import Store
from vddbench.distillation.coresets import disjoint_parts
from vddbench.distillation.optimiser import follow_cosine, make_optimiser, restore, saved
from vddbench.distillation.synthetic_clips import Pixels, blurred, narrow_labels, real_start, to_stored
from vddbench.evaluation.train import to_input
from vddbench.submissions.decoders import pixels

CPU = torch.device("cpu")


def start(tiny: Store, seed: int = 0) -> Pixels:
    clips, labels = real_start(tiny.train, 1, np.random.default_rng(seed))
    return Pixels(clips, labels, tiny.spec, CPU)


def test_to_stored_is_the_inverse_of_to_input(tiny: Store) -> None:
    clips, _ = real_start(tiny.train, 2, np.random.default_rng(0))
    back = to_stored(to_input(clips, tiny.spec, CPU), tiny.spec)
    assert back.shape == clips.shape and (back - clips).abs().max() < 1e-3
    stills = to_stored(to_input(clips, tiny.spec, CPU)[:, :, 0], tiny.spec)  # [N, C, H, W]
    assert torch.allclose(stills, back[:, 0])


def test_real_clips_that_nothing_moved_are_stored_as_they_were(tiny: Store) -> None:
    clips, labels = real_start(tiny.train, 1, np.random.default_rng(0))
    tensors = start(tiny).tensors()
    assert set(tensors) == {"clips", "labels"} and tensors["labels"].dtype == torch.uint8
    assert torch.equal(tensors["clips"], clips) and tensors["labels"].tolist() == labels.tolist()


@pytest.mark.parametrize("spread", [0.01, 3.0])
def test_the_payload_decodes_to_the_exact_clips_within_half_a_step(tiny: Store, spread: float) -> None:
    memory = start(tiny)
    with torch.no_grad():
        noise = torch.randn(memory.parameters["clips"].shape, generator=torch.Generator().manual_seed(0))
        memory.parameters["clips"] += spread * noise * torch.tensor([1.0, 2.0, 0.5])[:, None, None, None]
    exact, tensors = memory.exact(), memory.tensors()
    assert exact.clips.is_floating_point() and exact.clips.shape == (8, *tiny.spec.clip_shape)
    outside = exact.clips.min() < -0.5 or exact.clips.max() > 255.5
    assert ("scale" in tensors) == bool(outside)
    step = tensors.get("scale", torch.ones(3))
    error = (pixels.decode(tensors, tiny.spec).clips.float() - exact.clips).abs().amax((0, 1, 2, 3))
    assert (error <= step * 0.501).all() and (error > step * 0.3).all()


def test_labels_are_stored_in_the_fewest_bytes(tiny: Store) -> None:
    many = tiny.spec.model_copy(update={"class_names": tuple(f"{i:03d}" for i in range(300))})
    assert narrow_labels(torch.tensor([299]), many).dtype == torch.int16
    assert narrow_labels(torch.tensor([7]), tiny.spec).dtype == torch.uint8


def test_a_class_with_fewer_videos_than_clips_is_refused_by_name(tiny: Store) -> None:
    with pytest.raises(ValueError, match="class 'cross_down' of tiny has 8 train videos, 10 are needed; use a smaller ipc"):
        real_start(tiny.train, 10, np.random.default_rng(0))


@pytest.mark.parametrize(("kind", "momentum"), [("sgd", 0.5), ("sgd", 0.0), ("adam", 0.5)])
@pytest.mark.parametrize("done", [0, 2])
def test_a_restored_memory_goes_on_to_the_bit(tiny: Store, kind: str, momentum: float, done: int) -> None:
    def moved(memory: Pixels, optimiser: torch.optim.Optimizer, seed: int) -> None:
        value = memory.parameters["clips"]
        value.grad = torch.randn(value.shape, generator=torch.Generator().manual_seed(seed))
        optimiser.step()

    memory, other = start(tiny), start(tiny, 1)
    optimiser = make_optimiser(kind, memory.parameters, {"clips": 0.1}, momentum)
    for i in range(done):
        moved(memory, optimiser, i)
    kept = {
        name: value.clone(memory_format=torch.contiguous_format) for name, value in saved(memory.parameters, optimiser).items()
    }
    again = make_optimiser(kind, other.parameters, {"clips": 0.1}, momentum)
    restore(kept, other.parameters, again)
    for i in range(2, 4):
        moved(memory, optimiser, i)
        moved(other, again, i)
    assert torch.equal(memory.parameters["clips"], other.parameters["clips"])
    assert again.param_groups[0]["lr"] == 0.1


def test_a_blur_keeps_flat_planes_and_sums_and_spreads_a_point(tiny: Store) -> None:
    flat = torch.full((1, 3, 2, 16, 16), 7.0)
    assert torch.allclose(blurred(flat, 2.0), flat)
    point = torch.zeros(1, 1, 1, 33, 33)
    point[..., 16, 16] = 1
    spread = blurred(point, 2.0)[0, 0, 0]
    rows = torch.arange(33.0) - 16
    assert spread.sum() == pytest.approx(1, abs=1e-5)
    assert (spread.sum(1) * rows**2).sum() == pytest.approx(4, rel=0.05)  # the variance: deviation 2, cut at 3 of them
    assert torch.allclose(spread, spread.T) and not torch.allclose(blurred(flat * torch.rand(16), 2.0), flat)


def test_smooth_learning_starts_where_plain_learning_does_and_moves_along_smooth_changes(tiny: Store) -> None:
    clips, labels = real_start(tiny.train, 1, np.random.default_rng(0))
    plain = Pixels(clips, labels, tiny.spec, torch.device("cpu"))
    smooth = Pixels(clips, labels, tiny.spec, torch.device("cpu"), smooth=2.0)
    assert torch.allclose(plain.exact().clips, smooth.exact().clips)
    noise = torch.randn(plain.parameters["clips"].shape, generator=torch.Generator().manual_seed(0))
    (smooth.clips(np.random.default_rng()) * noise).sum().backward()
    gradient = smooth.parameters["clips"].grad
    assert gradient is not None
    neighbours = (gradient[..., 1:] * gradient[..., :-1]).mean() / gradient.square().mean()
    assert neighbours > 0.9  # of white noise it is 0


def test_a_mean_start_is_the_mean_of_that_many_clips_of_the_class(tiny: Store) -> None:
    means, labels = real_start(tiny.train, 1, np.random.default_rng(0), mean_of=6)
    assert labels.tolist() == list(range(8))
    rows = np.random.default_rng(0).permutation(np.flatnonzero(tiny.train.labels == 0))
    assert len(rows) >= 6 and means.dtype == torch.float32
    spread = means.flatten(1).std(1)
    single, _ = real_start(tiny.train, 1, np.random.default_rng(0))
    assert (spread < single.float().flatten(1).std(1)).all()  # averaging loses contrast


def test_means_of_one_class_share_no_video(tiny: Store) -> None:
    chosen = disjoint_parts(tiny.train, 2, 16, np.random.default_rng(0))
    assert len(chosen) == 16 and all(len(rows) == 4 for rows in chosen)  # 8 videos a class: two parts of 4
    assert len(np.concatenate(chosen)) == len(set(np.concatenate(chosen).tolist()))
    assert [tiny.train.labels[rows].tolist() for rows in chosen] == [[label] * 4 for label in range(8) for _ in range(2)]


def test_so_few_clips_that_no_scale_fits_the_budget_stay_in_8_bits(tiny: Store) -> None:
    """Three clips of three classes have 21 bytes to spare: their labels are uint8, the budget's int64."""
    clips, labels = start(tiny).exact().clips[:3], torch.arange(3)
    spec = tiny.spec.model_copy(update={"class_names": ("a", "b", "c")})
    memory = Pixels(clips * 2, labels, spec, CPU)
    tensors = memory.tensors()
    assert set(tensors) == {"clips", "labels"}
    assert sum(t.numel() * t.element_size() for t in tensors.values()) <= 3 * (spec.clip_bytes + 8)


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_a_parameter_may_have_a_momentum_and_an_end_of_the_cosine_of_its_own(kind: str) -> None:
    parameters = {name: torch.zeros(2, requires_grad=True) for name in ("clips", "lr")}
    rates = {"clips": 1.0, "lr": 0.5}
    optimiser = make_optimiser(kind, parameters, rates, 0.95, {"lr": 0.9})
    kept = [group["momentum"] if kind == "sgd" else group["betas"][0] for group in optimiser.param_groups]
    assert kept == [0.95, 0.9]
    follow_cosine(optimiser, rates, 10, 10, {"clips": 0.1, "lr": 0.0})
    assert [group["lr"] for group in optimiser.param_groups] == pytest.approx([0.1, 0.0])


def test_a_restored_optimiser_keeps_its_averages_in_the_memory_layout_of_the_weights() -> None:
    weight = torch.randn(4, 3, 2, 5, 5).contiguous(memory_format=torch.channels_last_3d).requires_grad_()
    first, again = (make_optimiser("adam", {"weight": weight}, {"weight": 0.1}, 0.9) for _ in range(2))
    weight.square().sum().backward()
    first.step()
    kept = {name: value.contiguous() for name, value in saved({"weight": weight}, first).items()}  # as a file holds them
    restore(kept, {"weight": weight}, again)
    for name, average in first.state[weight].items():
        assert torch.equal(again.state[weight][name], average)
        assert again.state[weight][name].stride() == average.stride()
