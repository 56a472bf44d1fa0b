"""Kinks kept as bits: which side of zero a pre-activation was on, for derivatives that need nothing else of it."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.ops import checks
from fastgan.ops.gate_by_bits import gate_by_bits as _gate_by_bits
from fastgan.ops.gate_by_bits import sign_bits as _sign_bits
from fastgan.ops.registry import current_backend

__all__ = ["gate_by_bits", "sign_bits"]


def _channels_last(function: str, input: Tensor, memory_format: torch.memory_format) -> bool:
    checks.check_floating(function, "input", input)
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(input.dim())
    if memory_format not in (torch.contiguous_format, last):
        expected = "torch.contiguous_format" + ("" if last is None else f" or {last}")
        raise ValueError(
            f"{function}: memory_format must be {expected} for input {list(input.shape)}, got {memory_format}"
        )
    return memory_format != torch.contiguous_format


def sign_bits(input: Tensor, *, memory_format: torch.memory_format = torch.contiguous_format) -> Tensor:
    """Keep of each element whether it is above zero, in one bit.

    Parameters
    ----------
    input : Tensor
        Any shape; float32, float64, float16 or bfloat16; any memory layout.
    memory_format : torch.memory_format, default torch.contiguous_format
        The order in which elements have their bits; torch.channels_last or torch.channels_last_3d for images that
        lie in memory so. Input of another layout is copied first.

    Returns
    -------
    Tensor
        ``[ceil(input.numel() / 8)]`` of torch.uint8: bit i % 8 of byte i // 8, counted from the lowest, is that of
        element i. Bits beyond the last element are 0. Without a derivative.

    Raises
    ------
    TypeError
        For a dtype that is not floating point.
    ValueError
        For a memory format that input's dimensions cannot have.

    Notes
    -----
    Neither zero nor NaN is above zero, as for torch's relu and leaky_relu.
    """
    return _sign_bits(input, _channels_last("sign_bits", input, memory_format), current_backend())


def gate_by_bits(
    input: Tensor,
    bits: Tensor,
    alpha: float = 0.0,
    gain: float = 1.0,
    *,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Tensor:
    """Multiply by the slope of relu or leaky_relu at the points whose bits are given: gain, gain alpha where not set.

    With the :func:`sign_bits` of a pre-activation this is the activation's derivative, of which autograd would keep the
    whole tensor.

    Parameters
    ----------
    input : Tensor
        Any shape; float32, float64, float16 or bfloat16; any memory layout.
    bits : Tensor
        ``[ceil(input.numel() / 8)]`` of torch.uint8, as from :func:`sign_bits` with the same memory format.
    alpha : float, default 0
        The slope where the bit is not set, as a share of that elsewhere. Where it is 0 so is the result, also where
        input is infinite or NaN.
    gain : float, default 1
        What all is multiplied by besides.
    memory_format : torch.memory_format, default torch.contiguous_format
        The order of the bits, and the layout of the result. Input of another layout is copied first.

    Returns
    -------
    Tensor
        Of input's shape and dtype, in `memory_format`.

    Raises
    ------
    TypeError
        For a dtype that is not floating point, bits of another dtype than torch.uint8, or alpha or gain that is no
        number.
    ValueError
        For bits of another length or device, and a memory format that input's dimensions cannot have.
    NotImplementedError
        For forward-mode and ``torch.func`` derivatives.

    Notes
    -----
    Linear in input, and differentiable with respect to it to any order.
    """
    checks.check_number("gate_by_bits", "alpha", alpha)
    checks.check_number("gate_by_bits", "gain", gain)
    channels_last = _channels_last("gate_by_bits", input, memory_format)
    return _gate_by_bits(input, bits, alpha, gain, channels_last, current_backend())
