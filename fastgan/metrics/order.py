"""An order of samples that does not depend on how they came: random subsets are then the same in any case."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.functional.distances import tiles

__all__ = ["shuffled"]


def shuffled(features: Tensor, generator: torch.Generator) -> Tensor:
    """Indices of the samples [N, d] in random order, which is that of the samples, not of their places.

    Samples are sorted along one fixed direction before they are shuffled.
    """
    direction = torch.randn(features.shape[1], dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    direction = direction.to(features.device)
    places = torch.cat([features[rows].double() @ direction for rows in tiles(len(features))])
    return places.argsort()[torch.randperm(len(features), generator=generator).to(features.device)]
