"""Orthogonal regularisation of weights."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["orthogonal_regularization"]


def orthogonal_regularization(weights: Iterable[Tensor]) -> Tensor:
    """Sum, over ``weights``, of the squared inner products of each two different filters.

    Filters may have any length: A. Brock, J. Donahue, K. Simonyan, "Large Scale GAN Training for High Fidelity Natural
    Image Synthesis", ICLR 2019, equation 3, ‖W Wᵀ ⊙ (1 − I)‖², without its factor β.

    Parameters
    ----------
    weights : iterable of Tensor
        At least one, each [filters, ...], of two dimensions or more.
    """
    terms = []
    for weight in weights:
        filters = weight.flatten(1)
        with torch.autocast(weight.device.type, enabled=False):
            # W Wᵀ and Wᵀ W have the same norm: the smaller one, less the diagonal of the first.
            gram = filters @ filters.mT if filters.shape[0] <= filters.shape[1] else filters.mT @ filters
            terms.append(gram.square().sum() - filters.square().sum(1).square().sum())
    return torch.stack(terms).sum()
