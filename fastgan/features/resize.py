"""Resizing as the published Fréchet distances do it: each way gives distances of its own.

G. Parmar, R. Zhang, J.-Y. Zhu, "On Aliased Resizing and Surprising Subtleties in GAN Evaluation", CVPR 2022.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["RESIZERS", "resize"]


def _clean(pixels: Tensor, size: int) -> Tensor:
    # In float64, as Pillow computes: float32 differs from it by more than its rounding. Apple's GPUs have none.
    x = pixels if pixels.device.type == "mps" else pixels.double()
    x = F.interpolate(x, size=(size, size), mode="bicubic", antialias=True)
    return x.clamp(0, 255).to(pixels.dtype)


def _legacy_pytorch(pixels: Tensor, size: int) -> Tensor:
    return F.interpolate(pixels, size=(size, size), mode="bilinear", align_corners=False)


def _antialiased_bilinear(pixels: Tensor, size: int) -> Tensor:
    return F.interpolate(pixels, size=(size, size), mode="bilinear", align_corners=False, antialias=True)


def _legacy_tensorflow(pixels: Tensor, size: int) -> Tensor:
    x = pixels
    for dim in (3, 2):
        length = x.shape[dim]
        # In float32 like the original, whose rounding decides between neighbours.
        position = torch.arange(size, dtype=torch.float32, device=x.device) * torch.tensor(length / size)
        low = position.long()
        fraction = (position - low).to(x.dtype).reshape([-1 if d == dim else 1 for d in range(4)])
        left, right = (x.index_select(dim, index) for index in (low, (low + 1).clamp_max(length - 1)))
        x = left + (right - left) * fraction
    return x


RESIZERS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "clean": _clean,
    "legacy_pytorch": _legacy_pytorch,
    "legacy_tensorflow": _legacy_tensorflow,
    "antialiased_bilinear": _antialiased_bilinear,
}


def resize(pixels: Tensor, size: int, mode: str = "clean") -> Tensor:
    """Resize images to ``size`` × ``size`` pixels.

    Parameters
    ----------
    pixels : Tensor
        Floating point [N, C, H, W] in 0..255.
    size : int
        Height and width of the result.
    mode : str, default: "clean"
        ``"clean"``: Pillow's antialiased bicubic filter on floats, cut to 0..255 and not rounded, as clean-fid does.
        ``"legacy_pytorch"``: bilinear between pixel centres, not antialiased, as pytorch-fid does.
        ``"legacy_tensorflow"``: TensorFlow 1's bilinear, whose pixels sit at their corners, as the original code of the
        Fréchet Inception distance and torch-fidelity do.
        ``"antialiased_bilinear"``: torch's, the default of torchmetrics.

    Returns
    -------
    Tensor
        [N, C, size, size], of the dtype of ``pixels``; differentiable.

    Raises
    ------
    ValueError
        For an unknown mode (the message lists them).
    """
    if mode not in RESIZERS:
        raise ValueError(f"resize: unknown mode {mode!r}; there are: {', '.join(RESIZERS)}")
    return RESIZERS[mode](pixels, size)
