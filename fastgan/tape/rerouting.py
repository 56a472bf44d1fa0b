"""Convolutions and smooth activations for what is left to autograd: torch's own are differentiated twice the long way.

Of a convolution's input gradient, torch finds the derivative by the weight as a convolution with a kernel as large as
the image, and for each group by itself. It is the weight gradient of an ordinary backward pass, for which there are
kernels. An activation's second derivative is a sequence of operations where one pass does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.ops.bias_act import bias_act
from fastgan.ops.checks import FLOATING
from fastgan.ops.define import will_run
from fastgan.ops.registry import current_backend

__all__ = ["Geometry", "geometry_of", "rerouted"]

#: Stride, padding, dilation, whether it is transposed, output padding and groups.
Geometry = tuple[list[int], list[int], list[int], bool, list[int], int]


def geometry_of(
    weight: Tensor, transposed: bool, stride: Any, padding: Any, dilation: Any, extra: Any, groups: int
) -> Geometry | None:
    """What ``aten.convolution_backward`` takes; None for a padding that is a word."""
    if isinstance(padding, str):
        return None
    spatial = weight.dim() - 2

    def each(given: Any) -> list[int]:
        return [given] * spatial if isinstance(given, int) else list(given) * (spatial if len(given) == 1 else 1)

    return (each(stride), each(padding), each(dilation), transposed, each(extra), groups)


def _plain(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> tuple[Tensor, Tensor, Tensor | None, Geometry | None]:
    return input, weight, bias, geometry_of(weight, False, stride, padding, dilation, 0, groups)


def _transposed(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> tuple[Tensor, Tensor, Tensor | None, Geometry | None]:
    return input, weight, bias, geometry_of(weight, True, stride, padding, dilation, output_padding, groups)


_FORMS: dict[Any, Callable[..., tuple[Tensor, Tensor, Tensor | None, Geometry | None]]] = {
    **dict.fromkeys((F.conv1d, F.conv2d, F.conv3d), _plain),
    **dict.fromkeys((F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d), _transposed),
}


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, geometry: Geometry, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.geometry = geometry
        ctx.save_for_backward(x, weight)
        return torch.ops.aten.convolution(x, weight, bias, *geometry)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, ...]:
        if grad is None:
            return None, None, None, None
        wanted = [
            needed and will_run(node)
            for needed, (node, _) in zip(ctx.needs_input_grad[1:], ctx.next_functions, strict=False)
        ]
        of_bias = grad.sum([0, *range(2, grad.dim())]) if len(wanted) == 3 and wanted[2] else None
        x, weight = ctx.saved_tensors
        return None, *_differentiated(ctx.geometry, grad, x, weight, wanted[:2]), of_bias


class _Differentiate(torch.autograd.Function):
    """(gradient of the output, input, weight) → gradients of input and weight, linear in each of the three."""

    @staticmethod
    def forward(
        ctx: Any, geometry: Geometry, wanted: list[bool], grad: Tensor, x: Tensor, weight: Tensor
    ) -> tuple[Tensor | None, ...]:
        ctx.set_materialize_grads(False)
        ctx.geometry = geometry
        ctx.save_for_backward(grad, x, weight)
        return _backward(geometry, grad, x, weight, wanted)

    @staticmethod
    def backward(ctx: Any, for_x: Tensor | None, for_weight: Tensor | None) -> tuple[Tensor | None, ...]:
        grad, x, weight = ctx.saved_tensors
        wanted = [
            needed and will_run(node)
            for needed, (node, _) in zip(ctx.needs_input_grad[2:], ctx.next_functions, strict=True)
        ]
        of_grad = of_x = of_weight = None
        if wanted[0]:
            pairs = ((for_x, weight), (x, for_weight))
            terms = [_Convolve.apply(ctx.geometry, a, b, None) for a, b in pairs if a is not None and b is not None]
            of_grad = sum(terms[1:], start=terms[0]) if terms else None
        if wanted[1] and for_weight is not None:
            of_x = _differentiated(ctx.geometry, grad, x, for_weight, [True, False])[0]
        if wanted[2] and for_x is not None:
            of_weight = _differentiated(ctx.geometry, grad, for_x, weight, [False, True])[1]
        return None, None, of_grad, of_x, of_weight


def _backward(
    geometry: Geometry, grad: Tensor, x: Tensor, weight: Tensor, wanted: list[bool]
) -> tuple[Tensor | None, ...]:
    found = torch.ops.aten.convolution_backward(grad, x, weight, None, *geometry, output_mask=[*wanted, False])
    return tuple(each if want else None for each, want in zip(found, wanted, strict=False))


def _differentiated(
    geometry: Geometry, grad: Tensor, x: Tensor, weight: Tensor, wanted: list[bool]
) -> tuple[Tensor | None, ...]:
    """The gradients of input and weight, of which `wanted` says which; on autograd's graph where there is one."""
    if not any(wanted):
        return None, None
    if torch.is_grad_enabled():
        of_x, of_weight = wanted  # either depends on the other of the two alone
        return _Differentiate.apply(
            geometry, wanted, grad, x if of_weight else x.detach(), weight if of_x else weight.detach()
        )
    return _backward(geometry, grad, x, weight, wanted)


def _cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    return x.to(dtype) if x.is_floating_point() and x.dtype is not torch.float64 else x


def _made(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    device = x.device.type
    if not torch.is_autocast_enabled(device):
        return _Convolve.apply(geometry, x, weight, bias)
    dtype = torch.get_autocast_dtype(device)
    cast = [None if each is None else _cast(each, dtype) for each in (x, weight, bias)]
    with torch.autocast(device, enabled=False):  # which would cast behind autograd's back
        return _Convolve.apply(geometry, *cast)


#: By the name that bias_act has for them.
_SMOOTH = {F.silu: "swish", F.elu: "elu", torch.tanh: "tanh", Tensor.tanh: "tanh"}


def _smooth(name: str, input: Tensor, *rest: Any, **kwargs: Any) -> Callable[[], Tensor] | None:
    """For the activation's usual form."""
    usual = rest in ((), (1.0,)) and kwargs.get("alpha", 1.0) == 1.0 and not kwargs.get("inplace")
    if not usual or type(input) is not Tensor or input.dtype not in FLOATING:
        return None
    return partial(bias_act, input, None, name, 0.0, 1.0, None, 0, current_backend())


def rerouted(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[], Tensor] | None:
    """What makes a call of a convolution or a smooth activation with derivatives of ours; None for what is neither.

    Torch's own serve without a batch, with a padding that is a word, in place, and for subclasses of tensors.

    Parameters
    ----------
    function : callable
        As ``__torch_function__`` gets it.
    args : tuple
    kwargs : dict
    """
    if function in _SMOOTH:
        return _smooth(_SMOOTH[function], *args, **kwargs)
    form = _FORMS.get(function)
    if form is None:
        return None
    x, weight, bias, geometry = form(*args, **kwargs)
    ordinary = all(type(each) in (Tensor, torch.nn.Parameter, type(None)) for each in (x, weight, bias))
    if geometry is None or not ordinary or x.dim() != weight.dim():
        return None
    return partial(_made, x, weight, bias, geometry)
