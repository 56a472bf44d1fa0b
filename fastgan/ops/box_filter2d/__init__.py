"""box_filter2d: schemas, fake kernels, autograd formulas, table of backends.

With Box the sum over 2×2 neighbourhoods at stride 1, of the image with `padding` rows and columns of zeros on each
side, the op is y = scale · Box(act(x)). Its backward is act'(x) · scale · Box(g) with padding 1 - padding. Where a gate
z is given the op is the adjoint of that: y = scale · Box(x · act'(z)). The two are each other's derivatives, to any
order.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastgan.ops import checks
from fastgan.ops.define import define_autocast, define_autograd, define_op
from fastgan.ops.layout import image_format
from fastgan.ops.piecewise_linear import ACTIVATIONS, gate_of
from fastgan.ops.registry import OpTable

__all__ = ["box_filter2d"]

table = OpTable("box_filter2d", ("cpu", "triton", "reference"))

_PARAMETERS = "str act, float alpha, int padding, float scale, str? backend"


def _check(name: str, images: dict[str, Tensor], act: str, padding: int) -> None:
    first, input = next(iter(images.items()))
    checks.check_floating(name, first, input)
    checks.check_images(name, first, input)
    checks.check_choice(name, "act", act, ACTIVATIONS)
    if padding not in (0, 1):
        raise ValueError(f"{name}: padding must be 0 or 1, got {padding}")
    smallest = 2 - padding
    if min(input.shape[2:]) < smallest:
        raise ValueError(
            f"{name}: {first} must have at least {smallest} rows and columns for padding={padding}, "
            f"got {list(input.shape)}"
        )


def _check_forward(
    name: str, input: Tensor, gate: Tensor | None, act: str, alpha: float, padding: int, *_: Any
) -> None:
    _check(name, {"input": input}, act, padding)
    if gate is not None:
        checks.check_alike(name, input=input, gate=gate)


def _check_backward(
    name: str, grad: Tensor, gate: Tensor | None, act: str, alpha: float, padding: int, *_: Any
) -> None:
    _check(name, {"grad_output": grad}, act, 1 - padding)
    if gate is None:
        if act != "linear":
            raise ValueError(f"{name}: gate must be the input of the forward for act={act!r}, got None")
        return
    expected = _resized(grad, 1 - 2 * padding)
    if gate.shape != expected.shape or gate.dtype != grad.dtype or gate.device != grad.device:
        raise ValueError(
            f"{name}: gate must be {grad.dtype} {list(expected.shape)} on {grad.device} to match grad_output "
            f"{list(grad.shape)}, got {gate.dtype} {list(gate.shape)} on {gate.device}"
        )


def _resized(x: Tensor, by: int) -> Tensor:
    n, c, h, w = x.shape
    return torch.empty((n, c, h + by, w + by), dtype=x.dtype, device=x.device, memory_format=image_format(x))


def _fake_forward(input: Tensor, gate: Any, act: str, alpha: float, padding: int, *_: Any) -> Tensor:
    return _resized(input, 2 * padding - 1)


def _fake_backward(grad_output: Tensor, gate: Any, act: str, alpha: float, padding: int, *_: Any) -> Tensor:
    return _resized(grad_output, 1 - 2 * padding)


box_filter2d = define_op(
    table, f"box_filter2d(Tensor input, Tensor? gate, {_PARAMETERS}) -> Tensor", _fake_forward, _check_forward
)
box_filter2d_backward = define_op(
    table,
    f"box_filter2d_backward(Tensor grad_output, Tensor? gate, {_PARAMETERS}) -> Tensor",
    _fake_backward,
    _check_backward,
)


def _setup_forward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    input, gate, act, *_ = inputs
    ctx.save_for_backward(gate_of(input, gate, act))
    ctx.arguments = inputs[2:]


def _backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
    (gate,) = ctx.saved_tensors
    # The slope does not depend on where in its half it is taken: the gate's own derivative is undefined, not zero.
    return box_filter2d_backward.run(grad_output, gate, *ctx.arguments), *(None,) * 6


def _setup_backward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[1])
    ctx.arguments = inputs[2:]


def _double_backward(ctx: Any, grad_grad_input: Tensor) -> tuple[Tensor | None, ...]:
    (gate,) = ctx.saved_tensors
    return box_filter2d.run(grad_grad_input, gate, *ctx.arguments), *(None,) * 6


define_autograd(box_filter2d, _setup_forward, _backward)
define_autograd(box_filter2d_backward, _setup_backward, _double_backward)
# It runs in its input's dtype.
define_autocast(box_filter2d, lambda *args: args)
