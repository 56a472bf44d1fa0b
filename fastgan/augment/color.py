"""Colours moved by an affine map of each sample."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fastgan.augment.draws import Draws, homogeneous

__all__ = ["random_colors", "recolored"]


def recolored(input: Tensor, matrix: Tensor) -> Tensor:
    """Apply maps of colours [N, 4, 4] to images [N, C, H, W]; grey ones (C = 1) become the mean of what comes out."""
    scale, offset = matrix[:, :3, :3, None, None], matrix[:, :3, 3, None, None]
    if input.shape[1] == 1:
        return input * scale.sum(2).mean(1, keepdim=True) + offset.mean(1, keepdim=True)
    # Not one matrix product: channels stay where they are in memory, and three channels are too few to gain by it.
    red, green, blue = (input[:, i : i + 1] * scale[:, :, i] for i in range(3))
    return red + green + blue + offset


def random_colors(draws: Draws) -> Tensor:
    """Maps [N, 4, 4]: brightness, contrast, luma flip, hue, saturation, one after the other."""
    brightness = draws.normal(0.2)
    nothing = brightness.new_zeros(len(brightness), 3)
    eye = torch.eye(3, dtype=brightness.dtype, device=brightness.device)
    grey = torch.full_like(eye, 1 / 3)  # the projection onto the axis of greys
    color = homogeneous(eye.expand(len(nothing), 3, 3), brightness[:, None].expand(-1, 3))
    for linear in (
        eye * _matrices(torch.exp2(draws.normal(0.5))),
        eye - 2 * grey * _matrices(draws.integer(2)),
        _about_grey(draws.uniform(math.pi)),
        grey + (eye - grey) * _matrices(torch.exp2(draws.normal(1.0))),
    ):
        color = homogeneous(linear, nothing) @ color
    return color


def _matrices(values: Tensor) -> Tensor:
    return values[:, None, None]


def _about_grey(angle: Tensor) -> Tensor:
    """Rotations [N, 3, 3] about the axis of greys, by Rodrigues' formula."""
    eye = torch.eye(3, dtype=angle.dtype, device=angle.device)
    cross = (eye.roll(1, 0) - eye.roll(-1, 0)) / math.sqrt(3)
    angle = _matrices(angle)
    return eye * angle.cos() + (1 - angle.cos()) / 3 + cross * angle.sin()
