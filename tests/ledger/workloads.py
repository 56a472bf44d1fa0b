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

    Of the weights of a network the batch size is the width; a resampling convolution has channels in proportion to it.
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


def _images(*shape: int) -> Tensor:
    return torch.randn(shape).bfloat16().contiguous(memory_format=torch.channels_last)


def _convolution(
    ours: Callable[[Tensor, Tensor], Tensor],
    stock: Callable[[Tensor, Tensor], Tensor],
    widths: tuple[int, int],
    size: int,
    scale: float,
) -> Callable[[int], Case]:
    """Forward and backward of a 3×3 convolution of images of `size`² pixels, whose resampling has the factor `scale`.

    There are 4 images, since torch's convolutions run for real. The channels shrink with the batch size instead, which
    is 64 in earnest: to turn a weight costs the same for any number of images.
    """

    def make(width: int) -> Case:
        batch, after = 4, int(scale * size)
        c_in, c_out = (max(1, full * width // 64) for full in widths)
        x = _images(batch, c_in, size, size).requires_grad_()
        weight = (_images(c_out, c_in, 3, 3) * (9 * c_in) ** -0.5).requires_grad_()
        grad = _images(batch, c_out, after, after)

        def differentiated(layer: Callable[[Tensor, Tensor], Tensor]) -> object:
            return torch.autograd.grad(layer(x, weight), (x, weight), grad)

        def on_triton() -> object:
            with fastgan.use_backend("triton"):
                return differentiated(ours)

        # Forward: x and weight in, y out. Backward: grad, x and weight in for the product, both gradients out.
        return Case(on_triton, lambda: differentiated(stock), nbytes([x, weight, grad, grad, x, weight, x, weight]))

    return make


def _upsample_conv2d(widths: tuple[int, int], size: int) -> Callable[[int], Case]:
    def stock(x: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(F.interpolate(x, scale_factor=2), weight, padding=1)

    return _convolution(lambda x, w: functional.upsample_conv2d(x, w), stock, widths, size, 2)


def _conv2d_avg_pool2d(widths: tuple[int, int], size: int) -> Callable[[int], Case]:
    """The second convolution of a block, with the activation before it."""

    def ours(x: Tensor, weight: Tensor) -> Tensor:
        return functional.conv2d_avg_pool2d(x, weight, act="relu")

    def stock(x: Tensor, weight: Tensor) -> Tensor:
        return F.avg_pool2d(F.conv2d(F.relu(x), weight, padding=1), 2)

    return _convolution(ours, stock, widths, size, 0.5)


def _norm_act(channels: int, size: int) -> Callable[[int], Case]:
    """Class-conditional batch norm and ReLU while training, forward and backward."""

    def make(batch: int) -> Case:
        x = _images(batch, channels, size, size).requires_grad_()
        scale, shift = (torch.randn(batch, channels).requires_grad_() for _ in range(2))
        grad = _images(batch, channels, size, size)

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

    return make


def _upfirdn2d(channels: int, size: int, up: int, down: int) -> Callable[[int], Case]:
    """StyleGAN's resampling with the taps 1, 3, 3, 1, forward and backward."""

    def make(batch: int) -> Case:
        x = _images(batch, channels, size, size).requires_grad_()
        after = size * up // down
        grad = _images(batch, channels, after, after)
        taps = functional.setup_filter([1, 3, 3, 1])
        square = torch.outer(taps, taps) if taps.dim() == 1 else taps
        depthwise = (square * up**2).expand(channels, 1, 4, 4).bfloat16()

        def ours() -> object:
            with fastgan.use_backend("triton"):
                y = functional.upsample2d(x, taps) if up == 2 else functional.downsample2d(x, taps)
            return torch.autograd.grad(y, x, grad)

        def stock() -> object:
            strided = F.conv_transpose2d if up == 2 else F.conv2d
            return torch.autograd.grad(strided(x, depthwise, stride=2, padding=1, groups=channels), x, grad)

        return Case(ours, stock, 2 * nbytes([x, grad]))

    return make


def _box_filter(batch: int) -> Case:
    x = torch.randn(batch, 96, 64, 64).bfloat16().contiguous(memory_format=torch.channels_last)

    def ours() -> object:
        with fastgan.use_backend("triton"):
            return functional.box_filter2d(x, padding=1, scale=0.25, act="relu")

    # x in, y out, which has one row and one column more.
    return Case(ours, lambda: F.avg_pool2d(F.relu(x), 2, 1, 1), nbytes([x]) + nbytes([x]) * 65 * 65 // 64**2)


def _upsample_add(batch: int) -> Case:
    shapes = (batch, 96, 64, 64), (batch, 96, 32, 32)
    x, low = (torch.randn(shape).bfloat16().contiguous(memory_format=torch.channels_last) for shape in shapes)

    def ours() -> object:
        with fastgan.use_backend("triton"):
            return functional.upsample_add(x, low)

    return Case(ours, lambda: x + F.interpolate(low, scale_factor=2), nbytes([x, low, x]))


# BigGAN-128, with 96 channels: the generator's blocks from the narrowest image on, and the discriminator's.
_UP = [(1536, 1536, 4), (1536, 768, 8), (768, 384, 16), (384, 192, 32), (192, 96, 64)]
_DOWN = [(96, 128), (192, 64), (384, 32), (768, 16), (1536, 8)]
_NORMS = [(1536, 4), (768, 16), (192, 64)]

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
    *(
        Workload(
            f"upsample_conv2d 4x{a}→{b} at {size}² bfloat16 channels_last, forward + backward",
            _upsample_conv2d((a, b), size),
            batch=64,
            small_batch=2,
        )
        for a, b, size in _UP
    ),
    *(
        Workload(
            f"conv2d_avg_pool2d relu 4x{a} at {size}² bfloat16 channels_last, forward + backward",
            _conv2d_avg_pool2d((a, a), size),
            batch=64,
            small_batch=2,
        )
        for a, size in _DOWN
    ),
    *(
        Workload(
            f"norm_act conditional relu training 4x{a} at {size}² bfloat16 channels_last, forward + backward",
            _norm_act(a, size),
            batch=4,
            small_batch=1,
        )
        for a, size in _NORMS
    ),
    Workload(
        "upfirdn2d up 2 [1, 3, 3, 1] 4x96 at 32² bfloat16 channels_last, forward + backward",
        _upfirdn2d(96, 32, 2, 1),
        batch=4,
        small_batch=1,
    ),
    Workload(
        "upfirdn2d down 2 [1, 3, 3, 1] 4x96 at 64² bfloat16 channels_last, forward + backward",
        _upfirdn2d(96, 64, 1, 2),
        batch=4,
        small_batch=1,
    ),
    Workload("box_filter2d relu 16x96x64x64 bfloat16 channels_last, forward", _box_filter, batch=16, small_batch=1),
    Workload("upsample_add 16x96x64x64 bfloat16 channels_last, forward", _upsample_add, batch=16, small_batch=1),
]
