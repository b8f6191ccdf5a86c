"""Every student is the network that its docstring describes, and maps clips to logits at every registered clip shape."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it
from torchvision.models import video

from vddbench.evaluation.students import convnet3d, convnet_gru, convnet_mean, r2plus1d_18, r3d_18, swin3d_t
from vddbench.evaluation.students._per_frame import Recurrent
from vddbench.lookup import load, names

PUBLISHED = (16, 112, 112, 3)
SHAPES = ((8, 64, 64, 3), (16, 112, 112, 3))  # movingshapes, k400, ssv2; miniucf, ucf101, hmdb51
HUGE = {"convnet_lstm"}  # 2 GB of weights
Part = Callable[[torch.Tensor], torch.Tensor]  # the linear part of a recurrent step


@pytest.mark.parametrize("name", names("student"))
def test_a_docstring_names_source_clips_and_number_of_parameters(name: str) -> None:
    module = importlib.import_module(f"vddbench.evaluation.students.{name}")
    with torch.device("meta"):  # counts without computing initial weights
        parameters = sum(p.numel() for p in module.build(PUBLISHED, 50).parameters())
    assert "Source: " in module.__doc__ and "Clips: " in module.__doc__
    assert f"Parameters: {parameters:,} for 50 classes." in module.__doc__


@pytest.mark.parametrize(("num_classes", "parameters"), [(50, 3_647_666), (400, 3_692_816)])
def test_minic3d_has_the_published_number_of_parameters(num_classes: int, parameters: int) -> None:
    assert sum(p.numel() for p in convnet3d.build(PUBLISHED, num_classes).parameters()) == parameters


@pytest.mark.parametrize(("shape", "features"), [(PUBLISHED, 2048), ((8, 64, 64, 3), 256)])
def test_minic3d_embeds_to_the_published_width(shape: tuple[int, int, int, int], features: int) -> None:
    frames, height, width, channels = shape
    with torch.no_grad():
        embedded = convnet3d.build(shape, 50).embed(torch.zeros(1, channels, frames, height, width))
    assert embedded.shape == (1, features)


def test_convnet_gru_has_8192_features_per_frame_and_an_eighth_as_many_hidden_units() -> None:
    model = convnet_gru.build(PUBLISHED, 50)
    assert (model.recurrence.input_size, model.recurrence.hidden_size) == (8192, 1024)


def per_frame(x: torch.Tensor, weights: dict[str, torch.Tensor]) -> torch.Tensor:
    """The released definition of the 2-D ConvNet, frame by frame: [1, 3, T, 64, 64] -> [1, T, 8192]."""
    x = (x - x.mean()) / x.std(correction=0)
    frames = []
    for image in x[0].transpose(0, 1):
        out = image[None]
        for i in (0, 4, 8):
            out = F.conv2d(out, weights[f"frame.{i}.weight"], weights[f"frame.{i}.bias"], padding=1)
            out = F.instance_norm(out, weight=weights[f"frame.{i + 1}.weight"], bias=weights[f"frame.{i + 1}.bias"])
            out = F.avg_pool2d(out.relu(), 2)
        frames.append(out.flatten(1))
    return torch.stack(frames, 1)


FRAMES = torch.randn(1, 3, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_convnet_mean_agrees_with_the_released_definition() -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        mean = convnet_mean.build(PUBLISHED, 5)
        weights = dict(mean.named_parameters())
        logits = per_frame(FRAMES, weights).mean(1) @ weights["head.weight"].T + weights["head.bias"]
        torch.testing.assert_close(mean(FRAMES), logits, rtol=1e-4, atol=1e-5)


def lstm_states(features: torch.Tensor, of_input: Part, of_state: Part) -> list[torch.Tensor]:
    h, c, states = torch.zeros(1, 16), torch.zeros(1, 16), []
    for f in features:
        keep_in, forget, new, out = (of_input(f) + of_state(h)).chunk(4, -1)
        c = forget.sigmoid() * c + keep_in.sigmoid() * new.tanh()
        h = out.sigmoid() * c.tanh()
        states.append(h)
    return states


def gru_states(features: torch.Tensor, of_input: Part, of_state: Part) -> list[torch.Tensor]:
    h, states = torch.zeros(1, 16), []
    for f in features:
        (reset, keep, new), (h_reset, h_keep, h_new) = of_input(f).chunk(3, -1), of_state(h).chunk(3, -1)
        kept = (keep + h_keep).sigmoid()
        h = kept * h + (1 - kept) * (new + (reset + h_reset).sigmoid() * h_new).tanh()
        states.append(h)
    return states


@pytest.mark.parametrize(("kind", "states_of"), [(nn.LSTM, lstm_states), (nn.GRU, gru_states)])
def test_recurrent_students_agree_with_the_released_definition(
    kind: type[nn.LSTM] | type[nn.GRU], states_of: Callable[[torch.Tensor, Part, Part], list[torch.Tensor]]
) -> None:
    """With 16 hidden units in place of the 8,192 of convnet_lstm and the 1,024 of convnet_gru."""
    torch.manual_seed(0)
    with torch.no_grad():
        model = Recurrent(kind, 16, 5)
        weights = dict(model.named_parameters())

        def of_input(f: torch.Tensor) -> torch.Tensor:
            return f @ weights["recurrence.weight_ih_l0"].T + weights["recurrence.bias_ih_l0"]

        def of_state(h: torch.Tensor) -> torch.Tensor:
            return h @ weights["recurrence.weight_hh_l0"].T + weights["recurrence.bias_hh_l0"]

        states = states_of(per_frame(FRAMES, weights)[0], of_input, of_state)
        logits = torch.stack(states).mean(0) @ weights["head.weight"].T + weights["head.bias"]
        torch.testing.assert_close(model(FRAMES), logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("side", "pool"), [(43, (2, 1, 1)), (107, (2, 2, 2))])
def test_minic3d_agrees_with_the_released_definition(side: int, pool: tuple[int, int, int]) -> None:
    x = torch.randn(1, 3, 8, side, side, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    with torch.no_grad():
        model = convnet3d.build((8, side, side, 3), 5).eval()
        weights, out = dict(model.named_parameters()), (x - x.mean()) / x.std(correction=0)
        for i, window in ((0, (1, 2, 2)), (3, (2, 2, 2)), (6, (2, 2, 2))):
            kernel, bias = weights[f"features.{i}.weight"], weights[f"features.{i}.bias"]
            out = F.max_pool3d(F.conv3d(out, kernel, bias, stride=(1, 2, 2), padding=(1, 3, 3)).relu(), window)
        logits = F.conv3d(F.avg_pool3d(out, pool, stride=1), weights["head.weight"], weights["head.bias"])
        torch.testing.assert_close(model(x), logits.squeeze(4).squeeze(3).amax(2), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("student", "reference"),
    [(r3d_18, video.r3d_18), (r2plus1d_18, video.r2plus1d_18), (swin3d_t, video.swin3d_t)],
)
def test_torchvision_students_are_its_networks_on_standardised_clips(student: Any, reference: Any) -> None:
    x = torch.randn(1, 3, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        model = student.build((4, 32, 32, 3), 5).eval()
        with torch.device("meta"):  # the weights are those of the student
            plain = reference(weights=None, num_classes=5).eval()
        plain.load_state_dict({name.removeprefix("1."): value for name, value in model.state_dict().items()}, assign=True)
        logits = plain((x - x.mean()) / x.std(correction=0))
        assert logits.std() > 0.01  # else any network would agree
        torch.testing.assert_close(model(2 * x + 1), logits, rtol=1e-4, atol=1e-4)


def test_the_mean_over_time_does_not_see_the_order_of_frames() -> None:
    x = torch.randn(1, 3, 4, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        model = convnet_mean.build(PUBLISHED, 5)
        torch.testing.assert_close(model(x), model(x.flip(2)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        pytest.param(
            name, shape, marks=() if name == "convnet3d" or (shape == SHAPES[0] and name not in HUGE) else pytest.mark.long
        )
        for name in names("student")
        for shape in SHAPES
    ],
)
def test_students_map_clips_to_logits_at_every_registered_shape(name: str, shape: tuple[int, int, int, int]) -> None:
    frames, height, width, channels = shape
    model = load("student", name).build(shape, 7).eval()
    with torch.no_grad():
        assert model(torch.zeros(2, channels, frames, height, width)).shape == (2, 7)


@pytest.mark.parametrize(
    ("frames", "side", "fits"), [(8, 43, True), (8, 42, False), (7, 64, False), (8, 65, False), (8, 107, True)]
)
def test_minic3d_refuses_clips_that_it_would_shrink_to_nothing(frames: int, side: int, fits: bool) -> None:
    x = torch.zeros(1, 3, frames, side, side)
    if fits:
        with torch.no_grad():
            assert convnet3d.build((frames, side, side, 3), 4)(x).shape == (1, 4)
    else:
        with pytest.raises(ValueError, match=f"not {frames}x{side}x{side}; prepare the data with another"):
            convnet3d.build((frames, side, side, 3), 4)
        with pytest.raises(RuntimeError), torch.no_grad():  # the network itself cannot take them
            convnet3d.ConvNet3D((frames, side, side, 3), 4)(x)
