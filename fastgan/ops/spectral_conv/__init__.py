"""spectral_conv: a convolution or linear layer with the weight W / σ, which is never written.

σ = uᵀ W v is taken to depend on W in the derivatives, with u and v constant, whoever computed it. Where the gradient is
itself differentiated, W / σ is written out and the derivatives are those of torch's convolution and of spectral_norm.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor

from fastgan.ops.define import define_autocast, define_autograd, define_op, will_run
from fastgan.ops.registry import OpTable
from fastgan.ops.spectral_conv.arguments import check_backward, check_forward
from fastgan.ops.spectral_conv.layer import Geometry, layer, layer_backward
from fastgan.ops.spectral_norm import spectral_norm, spectral_norm_backward

__all__ = ["spectral_conv"]

table = OpTable("spectral_conv", ("cpu", "reference"))

_GEOMETRY = (
    "int[] stride, int[] padding, int[] dilation, bool transposed, int[] output_padding, int groups, str algorithm"
)


def _fake_forward(
    input: Tensor, weight: Tensor, bias: Tensor | None, sigma: Tensor, u: Tensor, v: Tensor, dim: int, *rest: Any
) -> Tensor:
    return layer(input, weight, bias, Geometry(*rest[:-2]))


def _fake_backward(
    grad_output: Tensor, input: Tensor, weight: Tensor, sigma: Tensor, u: Tensor, v: Tensor, dim: int, *rest: Any
) -> tuple[Tensor, ...]:
    *geometry, _algorithm, wanted, _backend = rest
    grads = layer_backward(grad_output, input, weight, Geometry(*geometry), wanted)
    return tuple(weight.new_empty(0) if grad is None else grad for grad in grads)


spectral_conv = define_op(
    table,
    "spectral_conv(Tensor input, Tensor weight, Tensor? bias, Tensor sigma, Tensor u, Tensor v, int dim,"
    f" {_GEOMETRY}, str? backend) -> Tensor",
    _fake_forward,
    check_forward,
)
spectral_conv_backward = define_op(
    table,
    "spectral_conv_backward(Tensor grad_output, Tensor input, Tensor weight, Tensor sigma, Tensor u, Tensor v, int dim,"
    f" {_GEOMETRY}, bool[] wanted, str? backend) -> (Tensor grad_input, Tensor grad_weight, Tensor grad_bias)",
    _fake_backward,
    check_backward,
)


def _setup_forward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    input, weight, _, sigma, u, v, ctx.dim, *ctx.geometry, ctx.algorithm, ctx.backend = inputs
    # The saved sigma carries no history: its derivative is part of weight's.
    ctx.save_for_backward(input, weight, sigma.detach(), u, v)


def _backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
    input, weight, sigma, u, v = ctx.saved_tensors
    needed = ctx.needs_input_grad[1:4]
    # One entry for each tensor: there may be no bias.
    nodes = [node for node, _ in ctx.next_functions[: 2 + needed[2]]]
    wanted = [need and will_run(node) for need, node in zip_longest(needed, nodes)]
    if torch.is_grad_enabled():
        grads = _differentiable_backward(ctx, grad_output, input, weight, sigma, u, v, wanted)
    else:
        grads = spectral_conv_backward.run(
            grad_output, input, weight, sigma, u, v, ctx.dim, *ctx.geometry, ctx.algorithm, wanted, ctx.backend
        )
    return (*(grad if w else None for grad, w in zip(grads, wanted, strict=True)), *(None,) * 12)


def _differentiable_backward(
    ctx: Any,
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor,
    sigma: Tensor,
    u: Tensor,
    v: Tensor,
    wanted: list[bool],
) -> tuple[Tensor | None, ...]:
    normalized = spectral_norm([weight], [u], [v], [ctx.dim], [True], 0, 1e-12, False, ctx.backend)[0][0]
    grad_input, grad, grad_bias = layer_backward(grad_output, input, normalized, Geometry(*ctx.geometry), wanted)
    if grad is not None:
        grad = spectral_norm_backward([grad], [weight], [sigma], [u], [v], [ctx.dim], ctx.backend)[0]
    return grad_input, grad, grad_bias


def _second(ctx: Any, *_: Any) -> tuple[Tensor | None, ...]:
    raise NotImplementedError(
        "spectral_conv_backward: has no derivative of its own; differentiate spectral_conv with create_graph=True"
    )


define_autograd(spectral_conv, _setup_forward, _backward)
define_autograd(spectral_conv_backward, lambda ctx, inputs, output: None, _second)


def _autocast(input: Tensor, weight: Tensor, bias: Tensor | None, *rest: Any) -> tuple[Any, ...]:
    # The weight is not written, so it cannot be cast: the layer runs in its dtype.
    return (input.to(weight.dtype), weight, None if bias is None else bias.to(weight.dtype), *rest)


define_autocast(spectral_conv, _autocast)
