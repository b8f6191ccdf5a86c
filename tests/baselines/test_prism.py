"""PRISM inserts the key-frames that its rule says, when its schedule says, and stores just those."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.baselines.test_dm import Small
from tests.builders.submissions import SPEC
from vddbench.baselines import dm, prism
from vddbench.baselines.prism import Config
from vddbench.data.datasets import miniucf
from vddbench.data.store import Split
from vddbench.distillation.key_frames import KeyFrames
from vddbench.spec import DatasetSpec, Task
from vddbench.submissions.decoders import ragged_keyframes

CPU = torch.device("cpu")
EIGHT = SPEC.model_copy(update={"frames": 8, "size": 8})
QUICK = Config(
    iterations=10, real_per_class=2, lr=1.0, threshold=0.03
)  # a threshold that inserts some frames in some iterations
RNG = np.random.default_rng()


def memory(spec: DatasetSpec = EIGHT, most: int = 100, smooth: float = 0.0) -> KeyFrames:
    clips = torch.rand((3, *spec.clip_shape), generator=torch.Generator().manual_seed(0)) * 255
    return KeyFrames(clips, torch.arange(3), most, spec, CPU, smooth)


def pull(mine: KeyFrames, directions: torch.Tensor) -> None:
    """A toy loss that is linear in the clips: its gradient is directions[n, t] at all pixels of frame t of clip n."""
    (mine.clips(RNG) * directions[:, None, :, None, None]).sum().backward()  # type: ignore[no-untyped-call]


def keys(mine: KeyFrames) -> list[list[int]]:
    return [row.nonzero()[:, 0].tolist() for row in mine.is_key]


@pytest.mark.parametrize("smooth", [0.0, 1.0])
def test_frames_that_turn_away_from_both_neighbouring_key_frames_are_inserted_at_their_interpolated_value(
    smooth: float,
) -> None:
    mine = memory(smooth=smooth)
    with torch.no_grad():
        mine.parameters["clips"].normal_(generator=torch.Generator().manual_seed(1))
    before = mine.exact().clips
    directions = torch.ones((3, 8))
    directions[0, [3, 5]] = -1.0  # against both key-frames, 0 and 7
    directions[1, [2, 7]] = -1.0  # every frame agrees with one of its neighbours
    pull(mine, directions)
    mine.insert(0.0)
    assert keys(mine) == [[0, 3, 5, 7], [0, 7], [0, 7]]
    torch.testing.assert_close(mine.exact().clips, before, atol=1e-3, rtol=0)
    pull(mine, torch.tensor([1.0, 1, -1, -1, 1, -1, 1, 1]).expand(3, 8))  # clip 0: now frame 4 differs from 3 and 5
    mine.insert(0.0)
    assert keys(mine) == [[0, 3, 4, 5, 7], [0, 2, 3, 5, 7], [0, 2, 3, 5, 7]]


def test_the_frames_between_key_frames_move_them_and_nothing_else() -> None:
    mine = memory()
    pull(mine, torch.ones((3, 8)))
    gradient = mine.parameters["clips"].grad
    assert gradient is not None
    expected = torch.tensor([4.0, 0, 0, 0, 0, 0, 0, 4])  # the sums of 1 - t/7 and of t/7
    torch.testing.assert_close(gradient, expected[:, None, None].expand_as(gradient))


@pytest.fixture
def small_nets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dm, "random_net", lambda spec, seed, device: Small(spec, seed, torch.nn.Tanh()))


@pytest.mark.usefixtures("small_nets")
def test_no_frame_is_inserted_in_the_first_and_last_fifth_of_the_iterations(
    split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = prism.learner(split, Task(dataset="made", ipc=1), QUICK, 0, CPU)
    calls: list[int] = []
    monkeypatch.setattr(learner.memory, "insert", lambda threshold: calls.append(iteration))
    for iteration in range(10):
        learner.step(iteration)
    assert calls == [2, 3, 4, 5, 6, 7]


def test_the_payload_holds_the_key_frames_alone_and_decodes_to_what_was_learned() -> None:
    mine = memory()
    directions = torch.ones((3, 8))
    directions[0, [3, 5]] = directions[2, 4] = -1.0
    pull(mine, directions)
    mine.insert(0.0)
    tensors = mine.tensors()
    assert tensors["counts"].tolist() == [4, 2, 3] and tensors["times"].tolist() == [0, 3, 5, 7, 0, 7, 0, 4, 7]
    assert sum(t.numel() * t.element_size() for t in tensors.values()) == 9 * (8 * 8 * 3 + 1) + 3 * (1 + 1)
    decoded = ragged_keyframes.decode(tensors, EIGHT)
    assert (decoded.clips.float() - mine.exact().clips).abs().max() <= 1  # rounded when stored and when interpolated


def test_when_the_budget_is_full_the_frames_that_turn_away_most_are_inserted_and_the_others_counted() -> None:
    mine = memory(most=8)
    decoded = mine.clips(RNG)
    decoded.grad = torch.zeros_like(decoded)
    decoded.grad[:, 0, :] = 1.0
    decoded.grad[0, 1, 2] = decoded.grad[1, 1, 3] = decoded.grad[2, 1, 4] = 1.0
    decoded.grad[0, 0, 2], decoded.grad[1, 0, 3], decoded.grad[2, 0, 4] = -0.1, -1.0, -9.0
    mine.insert(0.0)
    assert keys(mine) == [[0, 7], [0, 3, 7], [0, 4, 7]]
    assert mine.left_out == 1


def test_a_budget_holds_nearly_all_frames_and_a_clip_of_one_frame_is_refused() -> None:
    task = Task(dataset="made", ipc=1)
    assert prism.most_keyframes(task, miniucf.SPEC) == 50 * 16 - 1
    spec = EIGHT.model_copy(update={"frames": 16})
    most, budget = prism.most_keyframes(task, spec), task.budget_bytes(spec)
    full = memory(spec, most)
    full.is_key[:] = True
    full.is_key.view(-1)[1 : 1 + full.is_key.numel() - most] = False
    with torch.no_grad():
        full.parameters["clips"][0, 0, 0, 0] = 99.0  # so that a scale and an offset are stored
    tensors = full.tensors()
    assert "scale" in tensors and most < 3 * 16
    stored = sum(t.numel() * t.element_size() for t in tensors.values())
    assert budget is not None and budget - 193 < stored <= budget
    with pytest.raises(
        ValueError, match=r"2 key-frames of 193 bytes for each of 3 clips; the 600 bytes .* prepare the data with more --frames"
    ):
        prism.most_keyframes(task, EIGHT.model_copy(update={"frames": 1}))


def test_the_start_is_gaussian_noise_or_the_ends_of_mean_clips(split: Split) -> None:
    noise = prism.learner(split, Task(dataset="made", ipc=10), Config(), 0, CPU).memory  # more clips than videos of a class
    first = noise.parameters["clips"].detach()[:, :, 0]
    assert abs(float(first.mean())) < 0.02 and abs(float(first.std()) - 1) < 0.02
    means = prism.learner(split, Task(dataset="made", ipc=1), replace(QUICK, start_mean_of=4), 0, CPU).memory
    assert means.exact().clips[0, ..., 0].mean() > means.exact().clips[0, ..., 1].mean() + 40  # class 0 is red
    with pytest.raises(ValueError, match="class 'ant' of made has 4 train videos, 10 are needed"):
        prism.learner(split, Task(dataset="made", ipc=10), replace(QUICK, start_mean_of=4), 0, CPU)
