"""Resizing against Pillow itself and against the formulas of the others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from fastgan.features.resize import RESIZERS, resize

SIZES = [(32, 32), (299, 299), (300, 200), (1, 5), (640, 333)]


def _images(height: int, width: int) -> Tensor:
    return torch.randint(0, 256, (2, 3, height, width)).float()


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("size", [299, 64])
def test_clean_is_pillows(shape: tuple[int, int], size: int) -> None:
    """Pillow rounds to float32 after the rows and after the columns; half a unit of 255 is 7.6e-6."""
    pixels = _images(*shape)
    channels = [
        np.asarray(Image.fromarray(channel.numpy()).resize((size, size), Image.Resampling.BICUBIC))
        for channel in pixels.flatten(0, 1)
    ]
    expected = torch.from_numpy(np.stack(channels)).view(2, 3, size, size).clamp(0, 255)
    result = resize(pixels, size, "clean")
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, expected, rtol=0, atol=4e-5)


def _bilinear(pixels: Tensor, size: int, source: str) -> Tensor:
    """Four neighbours of each target pixel, one pixel at a time, in float64."""
    x = pixels.double().numpy()
    height, width = x.shape[-2:]
    result = np.empty((*x.shape[:2], size, size))

    def neighbours(i: int, length: int) -> tuple[int, int, float]:
        # float32, as TensorFlow has it
        centre = (i + 0.5) * length / size - 0.5
        position = max(centre, 0.0) if source == "centre" else float(np.float32(i) * np.float32(length / size))
        low = int(position)
        return low, min(low + 1, length - 1), position - low

    for i in range(size):
        y0, y1, fy = neighbours(i, height)
        for j in range(size):
            x0, x1, fx = neighbours(j, width)
            top = x[..., y0, x0] * (1 - fx) + x[..., y0, x1] * fx
            bottom = x[..., y1, x0] * (1 - fx) + x[..., y1, x1] * fx
            result[..., i, j] = top * (1 - fy) + bottom * fy
    return torch.from_numpy(result)


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize(("mode", "source"), [("legacy_pytorch", "centre"), ("legacy_tensorflow", "corner")])
def test_legacy_modes_are_their_formulas(shape: tuple[int, int], mode: str, source: str) -> None:
    """Positions up to 640 in float32 are off by 3e-5 of a pixel, whose neighbours differ by up to 255."""
    pixels = _images(*shape)
    torch.testing.assert_close(resize(pixels, 43, mode).double(), _bilinear(pixels, 43, source), rtol=0, atol=2e-2)
    pixels = pixels.double()
    tolerance = 1e-9 if mode == "legacy_pytorch" else 1e-4  # TensorFlow's positions are float32
    torch.testing.assert_close(resize(pixels, 43, mode), _bilinear(pixels, 43, source), rtol=0, atol=tolerance)


@pytest.mark.parametrize("mode", RESIZERS)
def test_every_mode_leaves_flat_images_and_is_differentiable(mode: str) -> None:
    flat = torch.full((1, 3, 20, 30), 200.0)
    torch.testing.assert_close(resize(flat, 64, mode), torch.full((1, 3, 64, 64), 200.0))
    pixels = (torch.rand(1, 1, 4, 5, dtype=torch.float64) * 200 + 20).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: resize(x, 3, mode), (pixels,))


def test_the_modes_differ() -> None:
    """A name that led to another's filter would go unnoticed on smooth images."""
    pixels = _images(100, 100)
    results = [resize(pixels, 37, mode) for mode in RESIZERS]
    assert all((a - b).abs().max() > 1 for i, a in enumerate(results) for b in results[:i])


def test_unknown_mode_lists_what_exists() -> None:
    with pytest.raises(ValueError, match="unknown mode 'cubic'; there are: clean, legacy_pytorch, legacy_tensorflow"):
        resize(_images(4, 4), 8, "cubic")
