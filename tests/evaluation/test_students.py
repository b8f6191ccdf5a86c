"""Every student is the network that its docstring describes, and maps clips to logits at every registered clip shape."""

from __future__ import annotations

import importlib

import pytest
import torch

from vddbench.evaluation.students import convnet3d, convnet_gru
from vddbench.lookup import load, names

PUBLISHED = (16, 112, 112, 3)
SHAPES = ((8, 64, 64, 3), (16, 112, 112, 3))  # movingshapes, k400, ssv2; miniucf, ucf101, hmdb51


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
    assert (model.gru.input_size, model.gru.hidden_size) == (8192, 1024)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", names("student"))
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
