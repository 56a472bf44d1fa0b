"""What a feature network is."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

__all__ = ["FeatureNetwork", "to_pixels"]

_Self = TypeVar("_Self", bound="FeatureNetwork")


class FeatureNetwork(nn.Module):
    """Images in, one row of features an image out; always in evaluation mode: no feature depends on the batch.

    ``forward`` takes images [N, 1 or 3, H, W], uint8 in 0..255 or floating point in [-1, 1].
    """

    #: Features of an image.
    dim: int
    #: Which network, weights and resizing: printed beside every figure, which is comparable under the same title only.
    title: str

    def train(self: _Self, mode: bool = True) -> _Self:
        """Stay in evaluation mode."""
        return super().train(False)

    def logits(self, features: Tensor) -> Tensor:
        """Logits of the classes that the network tells apart, for the Inception score, from ``forward``'s features.

        Raises
        ------
        NotImplementedError
            If the network has no classes, or its features are not those that the last layer reads.
        """
        raise NotImplementedError(f"{self.title}: has no classes, which the Inception score needs")


def to_pixels(images: Tensor, name: str) -> Tensor:
    """Bring images to float32 [N, 3, H, W] in 0..255; grey ones are repeated, floats are not rounded.

    Parameters
    ----------
    images : Tensor
        [N, 1 or 3, H, W]: uint8 in 0..255, or floating point in [-1, 1].
    name : str
        The network's, for errors.

    Raises
    ------
    TypeError
        For another dtype.
    ValueError
        For another shape, or floats beyond [-1, 1], which are most often pixels in 0..255.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape[2:]:
        raise ValueError(f"{name}: images must be [N, 1 or 3, H, W], got {tuple(images.shape)}")
    if images.dtype == torch.uint8:
        return images.float().expand(-1, 3, -1, -1)
    if not images.is_floating_point():
        raise TypeError(f"{name}: images must be uint8 in 0..255 or floating point in [-1, 1], got {images.dtype}")
    if images.numel() and (largest := images.detach().abs().max()) > 1.001:  # generators overshoot by roundings
        raise ValueError(f"{name}: floating point images must be in [-1, 1], got {largest:.4g}")
    return ((images.float() + 1) * 127.5).expand(-1, 3, -1, -1)
