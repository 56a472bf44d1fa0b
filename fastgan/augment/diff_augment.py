"""DiffAugment: brightness, saturation and contrast, translation, cutout."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastgan.augment.batch import each, working
from fastgan.ops import checks

__all__ = ["DiffAugment"]

_TRANSLATION = 1 / 8
_CUTOUT = 1 / 2


class DiffAugment(nn.Module):
    """Differentiable augmentation with random parameters for each image; in evaluation mode none.

    Real and generated images go through it, in the discriminator's step and in the generator's, by parameters of their
    own.

    Parameters
    ----------
    policy : str, default "color,translation,cutout"
        Which ones, in this order whatever their order here. "color": brightness moved by U(-1/2, 1/2), saturation
        scaled by U(0, 2) and contrast by U(1/2, 3/2); "translation": by whole pixels up to an eighth of the size, zeros
        move in; "cutout": a square of half the size becomes zero.

    Shape
    -----
    Input and output ``[N, C, H, W]``; float32, float64, float16 or bfloat16 (computed in float32).

    Raises
    ------
    TypeError
        For input that is not floating point.
    ValueError
        For an unknown policy, or input of other than four dimensions.

    Notes
    -----
    Affine in each sample; differentiable twice.

    Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training" (2020), section 4 and appendix.
    """

    def __init__(self, policy: str = "color,translation,cutout") -> None:
        super().__init__()
        chosen = policy.split(",")
        for name in chosen:
            if name not in _POLICIES:
                raise ValueError(
                    f"DiffAugment: policy must be some of {', '.join(_POLICIES)}, joined by commas, got {policy!r}"
                )
        self.policy = policy
        self._steps = [step for name, step in _POLICIES.items() if name in chosen]

    def forward(self, input: Tensor) -> Tensor:
        """Return the batch augmented."""
        checks.check_floating("DiffAugment", "input", input)
        checks.check_images("DiffAugment", "input", input)
        if not self.training:
            return input
        with torch.autocast(input.device.type, enabled=False):
            images = working(input)
            for step in self._steps:
                images = step(images)
            return images.to(input.dtype)

    def extra_repr(self) -> str:
        """The policy."""
        return f"policy={self.policy!r}"


def _uniform(x: Tensor, low: float, high: float) -> Tensor:
    return each(torch.rand(len(x), dtype=x.dtype, device=x.device) * (high - low) + low)


def _color(x: Tensor) -> Tensor:
    x = x + _uniform(x, -0.5, 0.5)
    grey = x.mean(1, keepdim=True)
    x = (x - grey) * _uniform(x, 0, 2) + grey
    mean = x.mean((1, 2, 3), keepdim=True)
    return (x - mean) * _uniform(x, 0.5, 1.5) + mean


def _translation(x: Tensor) -> Tensor:
    axes = []
    for size in x.shape[2:]:
        most = int(size * _TRANSLATION + 0.5)
        shift = torch.randint(-most, most + 1, (len(x), 1), device=x.device)
        from_pixel = torch.arange(size, device=x.device) + shift
        axes.append(((2 * from_pixel + 1) / size - 1).to(x.dtype))  # -1 and 1 are the outer edges
    y, x_axis = axes
    grid = torch.stack(
        torch.broadcast_tensors(x_axis[:, None, :], y[:, :, None]), dim=3
    )  # grid_sample's order is (x, y)
    return F.grid_sample(x, grid, mode="nearest", padding_mode="zeros", align_corners=False)


def _cutout(x: Tensor) -> Tensor:
    inside = []
    for size in x.shape[2:]:
        length = int(size * _CUTOUT + 0.5)
        first = torch.randint(0, size + 1 - length % 2, (len(x), 1), device=x.device) - length // 2
        pixel = torch.arange(size, device=x.device)
        inside.append((pixel >= first) & (pixel < first + length))
    return x * ~(inside[0][:, None, :, None] & inside[1][:, None, None, :])


_POLICIES = {"color": _color, "translation": _translation, "cutout": _cutout}
