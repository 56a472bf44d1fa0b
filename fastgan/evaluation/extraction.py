"""Features of many images, computed by all processes together."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, distributed

from fastgan.features import FeatureNetwork

from .sources import ImageSource

if TYPE_CHECKING:
    from lightning.fabric import Fabric

__all__ = ["extract"]


@torch.no_grad()
def extract(
    source: ImageSource,
    indices: Tensor,
    network: FeatureNetwork,
    fabric: Fabric,
    batch_size: int,
    advance: Callable[[int], None],
) -> Tensor:
    """Compute the features of the images at ``indices``.

    Parameters
    ----------
    source : ImageSource
        The images.
    indices : Tensor
        int64 [N], ascending.
    network : FeatureNetwork
        On the device of ``fabric``.
    fabric : Fabric
        Its processes share the work.
    batch_size : int
        Images that a process handles at once.
    advance : callable
        Called with the number of images done since the last time.

    Returns
    -------
    Tensor
        [N, dim] on the CPU, in the order of ``indices``, the same in every process.

    Raises
    ------
    ValueError
        If the features of an image are not finite.
    """
    features = []
    for together in indices.split(batch_size * fabric.world_size):
        share = -(-len(together) // fabric.world_size)
        # Shares are padded to one size, with images that are thrown away, for they are gathered as one tensor.
        padded = together[torch.arange(share * fabric.world_size).clamp_max(len(together) - 1)]
        mine = padded[fabric.global_rank * share : (fabric.global_rank + 1) * share]
        rows = torch.cat([network(batch.to(fabric.device)) for batch in source.images(mine)])
        everywhere = [rows]
        if fabric.world_size > 1:
            everywhere = [torch.empty_like(rows) for _ in range(fabric.world_size)]
            distributed.all_gather(everywhere, rows)
        gathered = torch.cat(everywhere)[: len(together)].cpu()
        if not gathered.isfinite().all():
            raise ValueError(f"{network.title}: features of images in {source.name} are not finite")
        features.append(gathered)
        advance(len(together))
    return torch.cat(features)
