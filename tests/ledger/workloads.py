"""The named workloads: our call, the stock PyTorch call it replaces, and the bytes either must move."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.parametrizations import _SpectralNorm

import fastgan
from fastgan import functional
from fastgan.ops import tuned

from .case import Case, Workload, nbytes
from .penalised import PENALISED

__all__ = ["WORKLOADS"]


def _bias_act(images: int, shape: tuple[int, ...], dtype: torch.dtype, layout: torch.memory_format) -> Case:
    x = torch.randn(images, *shape).to(dtype).contiguous(memory_format=layout).requires_grad_()
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


def _spectral_norm(shapes: Callable[[int], list[tuple[int, ...]]], width: int) -> Case:
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


def _images(*shape: int) -> Tensor:
    """Nothing depends on their values."""
    return torch.zeros(shape, dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last)


def _convolution(
    ours: Callable[[Tensor, Tensor], Tensor],
    stock: Callable[[Tensor, Tensor], Tensor],
    shape: tuple[int, int, int, int],
    c_out: int,
    size: int,
    form: str | None,
) -> Case:
    """Forward and backward of a 3×3 convolution whose output is `size`² pixels; `form` where it is not to be chosen."""
    c_in = shape[1]
    x = _images(*shape).requires_grad_()
    weight = _images(c_out, c_in, 3, 3).requires_grad_()
    grad = _images(shape[0], c_out, size, size)

    def differentiated(layer: Callable[[Tensor, Tensor], Tensor]) -> object:
        return torch.autograd.grad(layer(x, weight), (x, weight), grad)

    def on_triton() -> object:
        with fastgan.use_backend("triton"), contextlib.nullcontext() if form is None else tuned.forcing(form):
            return differentiated(ours)

    # Forward: x and weight in, y out. Backward: grad, x and weight in for the product, both gradients out.
    return Case(on_triton, lambda: differentiated(stock), nbytes([x, weight, grad, grad, x, weight, x, weight]))


def _upsample_conv2d(images: int, c_in: int, c_out: int, size: int, form: str | None = None) -> Case:
    def stock(x: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(F.interpolate(x, scale_factor=2), weight, padding=1)

    def ours(x: Tensor, weight: Tensor) -> Tensor:
        y = functional.upsample_conv2d(x, weight)
        assert isinstance(y, Tensor)  # no statistics
        return y

    return _convolution(ours, stock, (images, c_in, size, size), c_out, 2 * size, form)


def _conv2d_avg_pool2d(images: int, channels: int, size: int) -> Case:
    """The second convolution of a block, with the activation before it."""

    def ours(x: Tensor, weight: Tensor) -> Tensor:
        return functional.conv2d_avg_pool2d(x, weight, act="relu")

    def stock(x: Tensor, weight: Tensor) -> Tensor:
        return F.avg_pool2d(F.conv2d(F.relu(x), weight, padding=1), 2)

    return _convolution(ours, stock, (images, channels, size, size), channels, size // 2, None)


def _norm_act(images: int, channels: int, size: int) -> Case:
    """Class-conditional batch norm and ReLU while training, forward and backward."""
    x = _images(images, channels, size, size).requires_grad_()
    scale, shift = (torch.randn(images, channels).requires_grad_() for _ in range(2))
    grad = _images(images, channels, size, size)

    def ours() -> object:
        with fastgan.use_backend("triton"):
            y = functional.norm_act(x, None, None, scale, shift, training=True, act="relu")
        return torch.autograd.grad(y, (x, scale, shift), grad)

    def stock() -> object:
        y = F.batch_norm(x, None, None, training=True)
        y = F.relu(torch.addcmul(shift[:, :, None, None].bfloat16(), y, scale[:, :, None, None].bfloat16()))
        return torch.autograd.grad(y, (x, scale, shift), grad)

    # Forward: x in for the statistics and again, y out. Backward: x and grad in for the sums and again, x's out.
    return Case(ours, stock, 8 * nbytes([x]) + 3 * nbytes([scale, shift]))


def _upfirdn2d(images: int, channels: int, size: int, up: int) -> Case:
    """StyleGAN's resampling by 2 with the taps 1, 3, 3, 1, forward and backward; down, where not up."""
    x = _images(images, channels, size, size).requires_grad_()
    after = 2 * size if up == 2 else size // 2
    grad = _images(images, channels, after, after)
    taps = functional.setup_filter([1, 3, 3, 1])
    depthwise = (torch.outer(taps, taps) * up**2).expand(channels, 1, 4, 4).bfloat16()

    def ours() -> object:
        with fastgan.use_backend("triton"):
            y = functional.upsample2d(x, taps) if up == 2 else functional.downsample2d(x, taps)
        return torch.autograd.grad(y, x, grad)

    def stock() -> object:
        strided = F.conv_transpose2d if up == 2 else F.conv2d
        return torch.autograd.grad(strided(x, depthwise, stride=2, padding=1, groups=channels), x, grad)

    return Case(ours, stock, 2 * nbytes([x, grad]))


def _box_filter(batch: int) -> Case:
    x = _images(batch, 96, 64, 64)

    def ours() -> object:
        with fastgan.use_backend("triton"):
            return functional.box_filter2d(x, padding=1, scale=0.25, act="relu")

    # x in, y out, which has one row and one column more.
    return Case(ours, lambda: F.avg_pool2d(F.relu(x), 2, 1, 1), nbytes([x]) + nbytes([x]) * 65 * 65 // 64**2)


def _upsample_add(batch: int) -> Case:
    x, low = _images(batch, 96, 64, 64), _images(batch, 96, 32, 32)

    def ours() -> object:
        with fastgan.use_backend("triton"):
            return functional.upsample_add(x, low)

    return Case(ours, lambda: x + F.interpolate(low, scale_factor=2), nbytes([x, low, x]))


def _interpolate_samples(batch: int) -> Case:
    """Points between real and fake images, without the random numbers."""
    x, y, eps = torch.zeros(batch, 3, 128, 128), torch.zeros(batch, 3, 128, 128), torch.zeros(batch)

    def ours() -> object:
        with fastgan.use_backend("triton"):
            return functional.interpolate_samples(x, y, eps)

    def stock() -> object:
        weight = eps.view(-1, 1, 1, 1)
        return weight * x + (1 - weight) * y

    return Case(ours, stock, nbytes([x, y, eps, x]))


def _gradient_norm_penalty(batch: int) -> Case:
    """WGAN-GP's, and its derivative with respect to the discriminator's gradient."""
    gradient = torch.zeros(batch, 3, 128, 128, requires_grad=True)

    def ours() -> object:
        with fastgan.use_backend("triton"):
            penalty = functional.gradient_norm_penalty(gradient, weight=10 / batch, center=1.0)
        return torch.autograd.grad(penalty, gradient)

    def stock() -> object:
        penalty = 10 * (gradient.flatten(1).norm(2, dim=1) - 1).square().mean()
        return torch.autograd.grad(penalty, gradient)

    # Forward: the gradient in. Backward: the gradient in, and its own out.
    return Case(ours, stock, 3 * nbytes([gradient]))


def _gate_by_bits(batch: int) -> Case:
    """A derivative of leaky ReLU, whose bits are there."""
    grad, x = _images(batch, 128, 64, 64), _images(batch, 128, 64, 64)
    bits = torch.zeros(x.numel() // 8, dtype=torch.uint8)

    def ours() -> object:
        with fastgan.use_backend("triton"):
            return functional.gate_by_bits(grad, bits, 0.2, memory_format=torch.channels_last)

    return Case(ours, lambda: torch.ops.aten.leaky_relu_backward(grad, x, 0.2, False), nbytes([grad, bits, grad]))


def _trace_sqrtm_product(n: int, steps: int) -> Case:
    """Trace of (Σ₁Σ₂)^½ of covariances, from their factors; the stock way is torchmetrics', in its float64."""
    sigma, dtype = torch.eye(n), torch.float64

    def ours() -> object:
        left, right = (torch.linalg.cholesky_ex(sigma)[0] for _ in range(2))
        with fastgan.use_backend("triton"):
            return functional.polar_factor(left.mT @ right, steps=steps)

    def stock() -> object:
        return torch.linalg.eigvals(sigma.to(dtype) @ sigma.to(dtype)).sqrt().real.sum(-1)

    # Both factors in and out, and their product; in each step X and G twice, G and P, and X, P and the new X.
    return Case(ours, stock, (7 + 7 * steps) * nbytes([sigma]))


def _nuclear_norms(batch: int, n: int, steps: int) -> Case:
    """The Fréchet distances of classes with n samples each, from the products of their features; with the gradient."""
    matrix = torch.eye(n).repeat(batch, 1, 1).requires_grad_()
    grad = torch.zeros(batch)

    def ours() -> object:
        with fastgan.use_backend("triton"):
            nuclear_norm = functional.polar_factor(matrix, steps=steps).nuclear_norm
        return torch.autograd.grad(nuclear_norm, matrix, grad)

    def stock() -> object:
        return torch.autograd.grad(torch.linalg.svdvals(matrix).sum(-1), matrix, grad)

    # As above; the gradient is the factor, multiplied by a number.
    return Case(ours, stock, (3 + 7 * steps) * nbytes([matrix]))


# BigGAN-128, with 96 channels, and the 32 images that are a GPU's share of a batch of 256 on eight: the generator's
# convolutions after its upsamplings, smallest image first, and its norms; the discriminator's before its poolings.
_UP = [(1536, 1536, 4), (1536, 768, 8), (768, 384, 16), (384, 192, 32), (192, 96, 64)]
_NORMS = [(1536, 4), (1536, 8), (768, 16), (384, 32), (192, 64), (96, 128)]
_DOWN = [(96, 128), (192, 64), (384, 32), (768, 16), (1536, 8)]


def _up(c_in: int, c_out: int, size: int, form: str) -> Workload:
    """The small case has few channels, of which the form would be another."""
    return Workload(
        f"upsample_conv2d 32x{c_in}→{c_out} at {size}² bfloat16 channels_last, {form}, forward + backward",
        partial(_upsample_conv2d, 32, c_in, c_out, size, form),
        partial(_upsample_conv2d, 2, c_in // 16, c_out // 16, size // 2 + 1, form),
    )


WORKLOADS = [
    Workload(
        "bias_act lrelu 16x128x64x64 float32, forward + backward",
        partial(_bias_act, 16, (128, 64, 64), torch.float32, torch.contiguous_format),
        partial(_bias_act, 1, (128, 64, 64), torch.float32, torch.contiguous_format),
    ),
    Workload(
        "bias_act lrelu 16x128x64x64 bfloat16, forward + backward",
        partial(_bias_act, 16, (128, 64, 64), torch.bfloat16, torch.contiguous_format),
        partial(_bias_act, 1, (128, 64, 64), torch.bfloat16, torch.contiguous_format),
    ),
    Workload(
        "bias_act lrelu 64x256x32x32 bfloat16 channels_last, forward + backward",
        partial(_bias_act, 64, (256, 32, 32), torch.bfloat16, torch.channels_last),
        partial(_bias_act, 4, (256, 32, 32), torch.bfloat16, torch.channels_last),
    ),
    Workload(
        "spectral norm of the SNGAN-32 discriminator float32, forward + backward",
        partial(_spectral_norm, _sngan_weights, 128),
        partial(_spectral_norm, _sngan_weights, 16),
    ),
    Workload(
        "spectral norm of the BigGAN-128 discriminator float32, forward + backward",
        partial(_spectral_norm, _biggan_weights, 96),
        partial(_spectral_norm, _biggan_weights, 8),
    ),
    *(_up(c_in, c_out, size, "quarter") for c_in, c_out, size in _UP),
    _up(*_UP[-1], "fused"),
    *(
        Workload(
            f"conv2d_avg_pool2d relu 32x{channels} at {size}² bfloat16 channels_last, forward + backward",
            partial(_conv2d_avg_pool2d, 32, channels, size),
            partial(_conv2d_avg_pool2d, 2, channels // 16, size // 2 + 2),
        )
        for channels, size in _DOWN
    ),
    *(
        Workload(
            f"norm_act conditional relu training 32x{channels} at {size}² bfloat16 channels_last, forward + backward",
            partial(_norm_act, 32, channels, size),
            partial(_norm_act, 2, channels // 16, size // 2 + 1),
        )
        for channels, size in _NORMS
    ),
    Workload(
        "upfirdn2d up 2 [1, 3, 3, 1] 32x128 at 64² bfloat16 channels_last, forward + backward",
        partial(_upfirdn2d, 32, 128, 64, 2),
        partial(_upfirdn2d, 2, 24, 9, 2),
    ),
    Workload(
        "upfirdn2d down 2 [1, 3, 3, 1] 32x128 at 128² bfloat16 channels_last, forward + backward",
        partial(_upfirdn2d, 32, 128, 128, 1),
        partial(_upfirdn2d, 2, 24, 18, 1),
    ),
    Workload(
        "box_filter2d relu 16x96x64x64 bfloat16 channels_last, forward",
        partial(_box_filter, 16),
        partial(_box_filter, 1),
    ),
    Workload(
        "upsample_add 16x96x64x64 bfloat16 channels_last, forward",
        partial(_upsample_add, 16),
        partial(_upsample_add, 1),
    ),
    Workload(
        "interpolate_samples 64x3x128x128 float32, forward",
        partial(_interpolate_samples, 64),
        partial(_interpolate_samples, 1),
    ),
    Workload(
        "gradient_norm_penalty WGAN-GP 64x3x128x128 float32, forward + backward",
        partial(_gradient_norm_penalty, 64),
        partial(_gradient_norm_penalty, 3),
    ),
    Workload(
        "gate_by_bits lrelu 32x128x64x64 bfloat16 channels_last, forward",
        partial(_gate_by_bits, 32),
        partial(_gate_by_bits, 1),
    ),
    *PENALISED,
    Workload(
        "polar_factor trace of the root of a product 2048² float32, 10 steps, forward",
        partial(_trace_sqrtm_product, 2048, 10),
        partial(_trace_sqrtm_product, 70, 10),
    ),
    Workload(
        "polar_factor nuclear norms 1000x50² float32, 10 steps, forward + backward",
        partial(_nuclear_norms, 1000, 50, 10),
        partial(_nuclear_norms, 2, 50, 10),
    ),
    Workload(
        "polar_factor nuclear norms 1000x32² float32, 10 steps, forward + backward",
        partial(_nuclear_norms, 1000, 32, 10),
        partial(_nuclear_norms, 2, 20, 10),
    ),
]
