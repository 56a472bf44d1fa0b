"""Gradient penalties as PyTorch alone computes them: what fastgan.nn.PenalizedDiscriminator stands in for."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fastgan.nn import PenalizedDiscriminator
from fastgan.penalties import Penalty
from fastgan.tape import selected

__all__ = ["StockPenalizedDiscriminator"]


def _norm(gradients: Tensor) -> Tensor:
    """The penalties' own norm by another name, so that none of them takes the fused reduction."""
    return torch.linalg.vector_norm(gradients.flatten(1), dim=1)


class StockPenalizedDiscriminator(PenalizedDiscriminator):
    """Calls a discriminator and differentiates its input gradient, by ``create_graph=True``.

    Parameters and results are those of :class:`fastgan.nn.PenalizedDiscriminator`.
    """

    def __init__(self, discriminator: nn.Module, penalties: Sequence[Penalty], *, select: Any = None) -> None:
        penalties = [copy.copy(penalty) for penalty in penalties]
        for penalty in penalties:
            penalty.norm = _norm
        super().__init__(discriminator, penalties, select=select)

    def _call(self, points: str, samples: Tensor, conditions: Sequence[Any], penalised: bool) -> tuple[Any, Any]:
        if not penalised:
            return self.discriminator(samples, *conditions), None
        samples = samples.detach().requires_grad_()
        output = self.discriminator(samples, *conditions)
        chosen = selected("StockPenalizedDiscriminator", output, self.select)
        (gradient,) = torch.autograd.grad([part.sum() for part in chosen], samples, create_graph=True)
        return output, gradient
