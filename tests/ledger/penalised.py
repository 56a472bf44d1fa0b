"""Whole discriminators with R1: the update of the penalised batch, all convolutions included."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fastgan
from fastgan.models.layers import fast_layers, stock_layers
from fastgan.models.sngan import SNGANDiscriminator
from fastgan.nn import PenalizedDiscriminator
from fastgan.penalties import R1
from fastgan_bench.critics import DCGAN

from .case import Case, Workload, nbytes

__all__ = ["PENALISED"]

GAMMA, CLASSES = 10.0, 10


def _images(batch: int, size: int) -> Tensor:
    return torch.zeros(batch, 3, size, size).contiguous(memory_format=torch.channels_last)


def _four_passes(net: nn.Module, x: Tensor, conditions: tuple[Tensor, ...]) -> int:
    """Bytes that the layers with weights must move: forward, input gradient, tangent and weight gradient."""
    moved = 0

    def hook(layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal moved
        moved += 4 * nbytes([*given, *layer.parameters(), output])

    kept = [m.register_forward_hook(hook) for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    with torch.no_grad():
        net(x, *conditions)
    for each in kept:
        each.remove()
    return moved


def _update(
    make: Callable[[bool], nn.Module], x: Tensor, conditions: tuple[Tensor, ...], beside: Callable[[nn.Module], int]
) -> Case:
    """For torch's layers and fastgan's; `beside` are the bytes that must move for what is no layer."""
    net, fast = (make(each).to(memory_format=torch.channels_last) for each in (False, True))
    module = PenalizedDiscriminator(fast, R1(GAMMA))
    must_move = _four_passes(make(False).to("meta"), x.to("meta"), tuple(each.to("meta") for each in conditions))

    def gradients(out: Tensor, penalty: Tensor, of: nn.Module) -> tuple[Any, ...]:
        return torch.autograd.grad(F.softplus(-out).mean() + penalty, list(of.parameters()), allow_unused=True)

    def ours() -> object:
        with fastgan.use_backend("triton"):
            out, penalty = module(x, *conditions)
            return gradients(out, penalty, fast)

    def stock() -> object:
        leaf = x.clone().requires_grad_()
        out = net(leaf, *conditions)
        (g,) = torch.autograd.grad(out.sum(), leaf, create_graph=True)
        return gradients(out, GAMMA / 2 * g.square().flatten(1).sum(1).mean(), net)

    return Case(ours, stock, must_move + beside(net))


def _dcgan(batch: int, channels: int) -> Case:
    return _update(partial(DCGAN, channels), _images(batch, 64), (), lambda net: 0)


def _spectral_norm(net: nn.Module) -> int:
    """Each weight in for u, for v and for the division, and out; then weight and gradient in twice and one out."""
    return 8 * nbytes(p for name, p in net.named_parameters() if name.endswith("original"))


def _sngan(batch: int, channels: int) -> Case:
    def make(fast: bool) -> nn.Module:
        layers = fast_layers() if fast else stock_layers()
        return SNGANDiscriminator(channels, num_classes=CLASSES, layers=layers)

    return _update(make, _images(batch, 32), (torch.arange(batch) % CLASSES,), _spectral_norm)


PENALISED = [
    Workload(
        "R1 update of the DCGAN-64 discriminator, 64 images float32 channels_last",
        partial(_dcgan, 64, 64),
        partial(_dcgan, 2, 2),
    ),
    Workload(
        "R1 update of the SNGAN-32 projection discriminator, 64 images float32 channels_last",
        partial(_sngan, 64, 128),
        partial(_sngan, 2, 8),
    ),
]
