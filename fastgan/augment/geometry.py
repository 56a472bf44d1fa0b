"""Images moved by an affine map of each sample."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.augment.batch import each
from fastgan.augment.draws import Draws, homogeneous, rotation
from fastgan.functional import upfirdn2d

__all__ = ["SYM6", "blitted", "random_blits", "random_places", "warped"]

#: Daubechies' least asymmetric wavelet of six vanishing moments, its lowpass filter. Even shifts of it are orthogonal,
#: so that upsampling and downsampling again by the mirrored filter changes nothing.
SYM6: Sequence[float] = (
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633, 0.4910559419267466,
    0.787641141030194, 0.3379294217276218, -0.07263752278646252, -0.021060292512300564, 0.04472490177066578,
    0.0017677118642428036, -0.007800708325034148,
)  # fmt: skip
#: By how many pixels of the image the filter, which is not symmetric, moves what is smooth; mirrored, the other way.
_DELAY = (5.5 - sum(i * tap for i, tap in enumerate(SYM6)) / sum(SYM6)) / 2
_MARGIN = 3  # pixels that upsampling sees beyond the border
_OUTER = 5  # pixels of the upsampled image that downsampling sees beyond it


def random_blits(draws: Draws, height: int, width: int) -> Tensor:
    """Maps [N, 3, 3] from places in the result to places in the image, in pixels from the middle, as (x, y, 1).

    These take pixels to pixels: the image is mirrored, turned by quarters, moved by whole pixels.
    """
    flip = draws.integer(2)
    mirrored = torch.diag_embed(torch.stack([1 - 2 * flip, torch.ones_like(flip)], 1))
    quarters = rotation(draws.integer(4) * (-math.pi / 2)).round()
    offset = torch.stack([draws.uniform(0.125), draws.uniform(0.125)], 1) * flip.new_tensor([width, height])
    still = torch.zeros_like(offset)
    eye = torch.eye(2, dtype=flip.dtype, device=flip.device).expand(len(flip), 2, 2)
    return homogeneous(mirrored, still) @ homogeneous(quarters, still) @ homogeneous(eye, -offset.round())


def random_places(draws: Draws, p: Tensor, height: int, width: int) -> Tensor:
    """Maps as of `random_blits`: the image is scaled, turned, scaled along one axis, turned, moved."""
    scale, stretch = draws.normal(0.2), draws.normal(0.2)
    either = 1 - (1 - p).sqrt()  # each of two turns, so that there is any with probability p
    first, second = draws.uniform(math.pi, either), draws.uniform(math.pi, either)
    offset = torch.stack([draws.normal(0.125), draws.normal(0.125)], 1) * scale.new_tensor([width, height])
    stretched = torch.diag_embed(torch.stack([torch.exp2(-scale - stretch), torch.exp2(-scale + stretch)], 1))
    eye = torch.eye(2, dtype=scale.dtype, device=scale.device).expand(len(scale), 2, 2)
    linear = rotation(-first) @ stretched @ rotation(-second)
    return homogeneous(linear, torch.zeros_like(offset)) @ homogeneous(eye, -offset)


def blitted(input: Tensor, place: Tensor) -> Tensor:
    """Take each pixel from its place by `random_blits`; beyond its borders an image goes on as its mirror image."""
    grid = _grid(place, input.shape, 0, 1)
    return F.grid_sample(input, grid, mode="nearest", padding_mode="reflection", align_corners=False)


def warped(input: Tensor, place: Tensor, filter: Tensor) -> Tensor:
    """Take each image [C, H, W] at the places of `random_places`; images that these leave in place come back untouched.

    Beyond its borders an image goes on as its mirror image. It is read, bilinearly, at twice its resolution, and what
    is read is at twice the resolution too: `filter` is SYM6, normalised.
    """
    height, width = input.shape[2:]
    fine = F.pad(input, (_MARGIN,) * 4, mode="reflect")
    fine = upfirdn2d(fine, filter, up=2, padding=(0, -1, 0, -1), gain=4)
    eye = torch.eye(3, dtype=place.dtype, device=place.device)
    delay = eye.clone()
    delay[:2, 2] = _DELAY
    grid = _grid(place @ delay, input.shape, _OUTER, 2)
    # Mirrored here, not by grid_sample, as the delay is not.
    grid = 1 - ((grid + 1).remainder(4) - 2).abs() - grid.new_tensor([2 * _DELAY / width, 2 * _DELAY / height])
    fine = F.grid_sample(fine, grid, padding_mode="reflection", align_corners=False)
    moved = upfirdn2d(fine, filter, down=2, flip_filter=True)
    stays = (place == eye).flatten(1).all(1)
    return torch.where(each(stays), input, moved)


def _grid(place: Tensor, shape: torch.Size, more: int, resolution: int) -> Tensor:
    """Where in an image, from -1 to 1, a result `more` pixels larger, at some times its resolution, is taken from."""
    height, width = shape[2:]
    outer = place.new_tensor([width + more, height + more, 2]).diag() / 2
    inner = place.new_tensor([2 / width, 2 / height, 1]).diag()
    size = [shape[0], 1, resolution * (height + more), resolution * (width + more)]
    return F.affine_grid((inner @ place @ outer)[:, :2], size, align_corners=False)
