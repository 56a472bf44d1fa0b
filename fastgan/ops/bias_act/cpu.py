"""bias_act by the compiled CPU extension (csrc/cpu/bias_act.cpp)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from fastgan.ops import native
from fastgan.ops.bias_act.activations import kernel_code, saves_input
from fastgan.ops.layout import channel_extents, dense, match_layout

__all__ = ["bias_act", "bias_act_backward", "bias_act_double_backward", "unsupported_reason"]


def unsupported_reason(device_type: str, dtype: torch.dtype) -> str | None:
    if device_type != "cpu":
        return f"serves CPU tensors, not {device_type}"
    if dtype not in native.DTYPE_CODES:
        return f"does not serve {dtype}"
    return native.unavailable_reason()


def _call(x: Tensor, act: str, alpha: float, gain: float, clamp: float | None, dim: int) -> Any:
    return native.extension().BiasActCall(
        native.DTYPE_CODES[x.dtype],
        kernel_code(act, alpha),
        alpha,
        gain,
        math.nan if clamp is None else clamp,
        *channel_extents(x, dim),
        torch.get_num_threads(),
    )


def bias_act(
    input: Tensor, bias: Tensor | None, act: str, alpha: float, gain: float, clamp: float | None, dim: int
) -> Tensor:
    input = dense(input)
    bias = None if bias is None else bias.contiguous()
    output = torch.empty_like(input)
    call = _call(input, act, alpha, gain, clamp, dim)
    native.extension().bias_act(call, input.data_ptr(), 0 if bias is None else bias.data_ptr(), output.data_ptr())
    return output


def bias_act_backward(
    grad_output: Tensor,
    saved: Tensor,
    bias: Tensor | None,
    act: str,
    alpha: float,
    gain: float,
    clamp: float | None,
    dim: int,
    bias_grad: bool,
) -> tuple[Tensor, Tensor]:
    saved = dense(saved)
    grad_output = match_layout(grad_output, saved)
    # Only these activations read the bias again; for the others the kernel need not know it.
    bias = bias.contiguous() if bias is not None and saves_input(act, alpha) else None
    grad_input = torch.empty_like(saved)
    grad_bias = saved.new_empty(saved.shape[dim] if bias_grad else 0)
    native.extension().bias_act_backward(
        _call(saved, act, alpha, gain, clamp, dim),
        grad_output.data_ptr(),
        saved.data_ptr(),
        0 if bias is None else bias.data_ptr(),
        grad_input.data_ptr(),
        grad_bias.data_ptr() if bias_grad else 0,
    )
    return grad_input, grad_bias


def bias_act_double_backward(
    grad_grad_input: Tensor,
    grad_output: Tensor,
    saved: Tensor,
    bias: Tensor | None,
    act: str,
    alpha: float,
    gain: float,
    clamp: float | None,
    dim: int,
) -> tuple[Tensor, Tensor]:
    saved = dense(saved)
    grad_grad_input, grad_output = match_layout(grad_grad_input, saved), match_layout(grad_output, saved)
    bias = bias.contiguous() if bias is not None and saves_input(act, alpha) else None
    grad_grad_output, grad_saved = torch.empty_like(saved), torch.empty_like(saved)
    native.extension().bias_act_double_backward(
        _call(saved, act, alpha, gain, clamp, dim),
        grad_grad_input.data_ptr(),
        grad_output.data_ptr(),
        saved.data_ptr(),
        0 if bias is None else bias.data_ptr(),
        grad_grad_output.data_ptr(),
        grad_saved.data_ptr(),
    )
    return grad_grad_output, grad_saved
