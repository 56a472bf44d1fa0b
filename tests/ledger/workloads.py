"""The named workloads: our call, the stock PyTorch call it replaces, and the bytes either must move."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.parametrizations import _SpectralNorm

import fastgan
from fastgan import functional


@dataclass(frozen=True)
class Case:
    """One workload at one batch size.

    Parameters
    ----------
    ours, stock : callable
        The same computation by fastgan and by stock PyTorch, on CPU tensors, derivatives included.
    must_move : int
        Bytes of every tensor that has to be read or written, once for each pass that has to touch it.
    """

    ours: Callable[[], object]
    stock: Callable[[], object]
    must_move: int


@dataclass(frozen=True)
class Workload:
    """A case at its real batch size, and a smaller one at which bytes are counted again by the tests.

    Of the weights of a network the batch size is the width.
    """

    name: str
    make: Callable[[int], Case]
    batch: int
    small_batch: int


def nbytes(tensors: Iterable[Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


def _bias_act(shape: tuple[int, ...], dtype: torch.dtype, layout: torch.memory_format) -> Callable[[int], Case]:
    def make(batch: int) -> Case:
        x = torch.randn(batch, *shape).to(dtype).contiguous(memory_format=layout).requires_grad_()
        bias = torch.randn(shape[0]).to(dtype).requires_grad_()
        grad = torch.randn_like(x)
        gain = 2**0.5

        def ours() -> object:
            with fastgan.use_backend("triton"):
                y = functional.bias_act(x, bias, act="lrelu", alpha=0.2, gain=gain)
            return torch.autograd.grad(y, (x, bias), grad)

        def stock() -> object:
            y = F.leaky_relu(x + bias.view(-1, 1, 1), 0.2) * gain
            return torch.autograd.grad(y, (x, bias), grad)

        # Forward: x, bias in, y out. Backward: y and grad in, grad x and grad bias out.
        return Case(ours, stock, nbytes([x, bias, x, x, x, x, bias]))

    return make


def _block_weights(width: int, channels: int, shortcut: bool) -> list[tuple[int, ...]]:
    """Weights of a residual block."""
    return [(channels, width, 3, 3), (channels, channels, 3, 3), *([(channels, width, 1, 1)] if shortcut else [])]


def _sngan_weights(width: int) -> list[tuple[int, ...]]:
    first = [*_block_weights(3, width, True), *_block_weights(width, width, True)]
    return [*first, *(_block_weights(width, width, False) * 2), (1, width)]


def _biggan_weights(width: int) -> list[tuple[int, ...]]:
    widths = [3, *(factor * width for factor in (1, 2, 4, 8, 16, 16))]
    blocks = [_block_weights(a, b, a != b) for a, b in itertools.pairwise(widths)]
    thin, half = max(1, width // 8), max(1, width // 2)
    attention: list[tuple[int, ...]] = [*[(thin, width, 1, 1)] * 2, (half, width, 1, 1), (width, half, 1, 1)]
    top = [(1, widths[-1]), (1000, widths[-1])]
    return [*blocks[0], *attention, *(shape for block in blocks[1:] for shape in block), *top]


def _spectral_norm(shapes: Callable[[int], list[tuple[int, ...]]]) -> Callable[[int], Case]:
    def make(width: int) -> Case:
        weights = [torch.randn(shape).requires_grad_() for shape in shapes(width)]
        grads = [torch.randn_like(w) for w in weights]
        # With vectors that its constructor has iterated already.
        norms = [_SpectralNorm(w.detach()) for w in weights]
        us, vs = [norm._u for norm in norms], [norm._v for norm in norms]

        def ours() -> object:
            with fastgan.use_backend("triton"):
                normalized, *_ = functional.spectral_norm_group(weights, us, vs)
            return torch.autograd.grad(normalized, weights, grads)

        def stock() -> object:
            normalized = [norm(w) for norm, w in zip(norms, weights, strict=True)]
            return torch.autograd.grad(normalized, weights, grads)

        # Forward: each weight in for u, for v and for the division, and out once. Backward: weight and grad in for the
        # product, grad in and the weight's grad out.
        return Case(ours, stock, 8 * nbytes(weights))

    return make


WORKLOADS = [
    Workload(
        "bias_act lrelu 16x128x64x64 float32, forward + backward",
        _bias_act((128, 64, 64), torch.float32, torch.contiguous_format),
        batch=16,
        small_batch=1,
    ),
    Workload(
        "bias_act lrelu 16x128x64x64 bfloat16, forward + backward",
        _bias_act((128, 64, 64), torch.bfloat16, torch.contiguous_format),
        batch=16,
        small_batch=1,
    ),
    Workload(
        "bias_act lrelu 64x256x32x32 bfloat16 channels_last, forward + backward",
        _bias_act((256, 32, 32), torch.bfloat16, torch.channels_last),
        batch=64,
        small_batch=4,
    ),
    Workload(
        "spectral norm of the SNGAN-32 discriminator float32, forward + backward",
        _spectral_norm(_sngan_weights),
        batch=128,
        small_batch=16,
    ),
    Workload(
        "spectral norm of the BigGAN-128 discriminator float32, forward + backward",
        _spectral_norm(_biggan_weights),
        batch=96,
        small_batch=8,
    ),
]
