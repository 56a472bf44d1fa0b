"""The ways to compute a convolution that 2×2 average pooling follows, and where each applies.

`quarter`: pooling is a 2×2 box filter and then every second pixel, and the filter commutes with the convolution, so
that avg_pool(conv(x, w)) = conv(Box(x) / 4, w, stride 2): 9 products per pixel of the output and pair of channels for a
3×3 kernel, instead of 36. Exact at the borders too: with padding the filter also sees one row of zeros. An activation
of the input is applied as the filter reads it.
`commuted`: a 1×1 kernel without padding is applied after the pooling.
`stock`: convolve, then pool.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor

from fastgan.ops.piecewise_linear import activated, gate_of, sloped
from fastgan.ops.resampling import convolution_backward

__all__ = ["Box", "backward", "choose", "forward", "output_size"]

#: A backend's ``box(x, padding, scale, act, alpha, input_gate=None, output_gate=None)``.
Box = Callable[..., Tensor]


def choose(input: Tensor, weight: Tensor, padding: list[int], groups: int) -> str:
    """The name of the form for such arguments."""
    if list(weight.shape[2:]) == [1, 1] and padding == [0, 0]:
        return "commuted"
    if min(padding) == 0 and max(padding) > 0:
        return "stock"
    return "quarter"


def output_size(input: Tensor, weight: Tensor, padding: list[int]) -> list[int]:
    """The output's shape."""
    n, _, *size = input.shape
    return [
        n,
        weight.shape[0],
        *((s + 2 * p - k + 1) // 2 for s, p, k in zip(size, padding, weight.shape[2:], strict=True)),
    ]


def _geometry(padding: list[int]) -> tuple[int, list[int]]:
    """The paddings of the filter and of the convolution after it."""
    filtered = min(1, *padding)
    return filtered, [p - filtered for p in padding]


def forward(
    form: str,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    gate: Tensor | None,
    act: str,
    alpha: float,
    padding: list[int],
    groups: int,
    box: Box | None = None,
) -> Tensor:
    """The output; `box` is for the quarter form."""
    if form == "quarter":
        assert box is not None
        filtered, rest = _geometry(padding)
        means = box(input, filtered, 0.25, act, alpha, input_gate=gate)
        return F.conv2d(means, weight, bias, stride=2, padding=rest, groups=groups)
    input = activated(input, gate, act, alpha)
    if form == "commuted":
        return F.conv2d(F.avg_pool2d(input, 2), weight, bias, groups=groups)
    return F.avg_pool2d(F.conv2d(input, weight, bias, padding=padding, groups=groups), 2)


def backward(
    form: str,
    grad: Tensor,
    input: Tensor,
    weight: Tensor,
    gate: Tensor | None,
    act: str,
    alpha: float,
    padding: list[int],
    groups: int,
    wanted: list[bool],
    box: Box | None = None,
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of input and weight where `wanted`; `box` is for the quarter form."""
    slopes_at = gate_of(input, gate, act)
    if form == "quarter":
        assert box is not None
        filtered, rest = _geometry(padding)
        means = box(input, filtered, 0.25, act, alpha, input_gate=gate)
        of_means, of_weight = convolution_backward(grad, means, weight, 2, rest, groups, wanted)
        if of_means is None:
            return None, of_weight
        return box(of_means, 1 - filtered, 0.25, act, alpha, output_gate=slopes_at), of_weight
    input = activated(input, gate, act, alpha)
    if form == "commuted":
        means = F.avg_pool2d(input, 2)
        of_means, of_weight = convolution_backward(grad, means, weight, 1, padding, groups, wanted)
        of_input = None if of_means is None else _spread(of_means, input.shape[2:])
    else:
        size = [s + 2 * p - k + 1 for s, p, k in zip(input.shape[2:], padding, weight.shape[2:], strict=True)]
        of_output = _spread(grad, size)
        of_input, of_weight = convolution_backward(of_output, input, weight, 1, padding, groups, wanted)
    return None if of_input is None else sloped(of_input, slopes_at, act, alpha), of_weight


def _spread(grad: Tensor, size: Sequence[int]) -> Tensor:
    """The adjoint of 2×2 average pooling of images of such a size."""
    spread = F.interpolate(grad * 0.25, scale_factor=2)
    beyond = [s - t for s, t in zip(size, spread.shape[2:], strict=True)]
    return F.pad(spread, (0, beyond[1], 0, beyond[0])) if any(beyond) else spread
