"""How sharp a generator's images are beside real ones."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastgan.data import ImageData

from .images import to_uint8
from .recipe import Recipe

__all__ = ["laplacian_variance", "relative_sharpness"]

_CHUNK = 250


def laplacian_variance(images: Tensor) -> Tensor:
    """Variance over an image's pixels of its Laplacian: the more fine detail, or noise, the larger.

    Parameters
    ----------
    images : Tensor
        [N, C, H, W] in [-1, 1], or uint8; a side of at least 3. They are measured as files hold them, 256 levels, on a
        scale from 0 to 1.

    Returns
    -------
    Tensor
        float32 [N], the channels' mean.

    References
    ----------
    J. L. Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy: a comparative study", ICPR 2000.
    """
    levels = (images if images.dtype == torch.uint8 else to_uint8(images)).float() / 255
    kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]], device=images.device)
    laplacian = F.conv2d(levels.flatten(0, 1)[:, None], kernel[None, None]).flatten(1)
    return laplacian.var(1, correction=0).unflatten(0, images.shape[:2]).mean(1)


@torch.no_grad()
def relative_sharpness(
    recipe: Recipe, generator: nn.Module, data: ImageData, samples: int = 2000, seed: int = 1
) -> tuple[float, float]:
    """Mean of :func:`laplacian_variance` of generated images over that of real ones, and its standard error.

    Parameters
    ----------
    recipe : Recipe
        Makes the images; labels, where it wants them, in turn.
    generator : nn.Module
        In evaluation mode.
    data : ImageData
        Real images, of which ``samples`` are drawn.
    samples : int, default: 2000
        Images on each side.
    seed : int, default: 1
        Of the noise, and of which real images.
    """
    random = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(data), generator=random)[:samples]
    real = torch.cat([laplacian_variance(data.batch(chunk)[0]) for chunk in chosen.split(_CHUNK)])
    made = []
    for chunk in torch.arange(samples).split(_CHUNK):
        labels = None if recipe.num_classes is None else chunk % recipe.num_classes
        made.append(laplacian_variance(recipe.sample(generator, len(chunk), labels, random)).cpu())
    fake = torch.cat(made)
    ratio = fake.mean() / real.mean()
    relative = torch.stack([each.var() / len(each) / each.mean() ** 2 for each in (fake, real)])
    return ratio.item(), ratio.item() * math.sqrt(relative.sum().item())
