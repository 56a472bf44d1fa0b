"""A normalisation with its activation, and the convolution that reads what it gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fastgan.functional.convolution import allowed_algorithm, conv2d
from fastgan.functional.normalization import move_running, normalisation
from fastgan.functional.resampling import check_residual, convolution_padding, upsample_conv2d
from fastgan.ops.conv2d.choice import normalises_itself
from fastgan.ops.norm_act import norm_act as _norm_act
from fastgan.ops.norm_act_conv2d import norm_act_conv2d as _norm_act_conv2d
from fastgan.ops.norm_act_upsample_conv2d import norm_act_upsample_conv2d as _norm_act_upsample_conv2d
from fastgan.ops.precision import convolution_algorithm
from fastgan.ops.registry import current_backend
from fastgan.ops.resampling import check_convolution, check_size
from fastgan.ops.resampling_choice import prefers_stock

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

__all__ = ["norm_act_conv2d", "norm_act_upsample_conv2d"]


def _autocast_changes(dtype: torch.dtype, device_type: str) -> bool:
    """Whether the convolution runs in another dtype than the normalisation."""
    if dtype == torch.float64 or not torch.is_autocast_enabled(device_type):
        return False
    return dtype != torch.get_autocast_dtype(device_type)


def norm_act_conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    act: str = "linear",
    alpha: float | None = None,
    gain: float = 1.0,
    statistics: Tensor | None = None,
    process_group: ProcessGroup | None = None,
    padding: str | int | Sequence[int] = 1,
    algorithm: str = "auto",
    residual: Tensor | None = None,
    return_statistics: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    r"""Batch norm, activation and convolution: on CPUs Winograd's algorithm normalises what it reads.

    Equal to ``conv2d(norm_act(input, ..., scale, shift), weight, bias, ...)``. Where Winograd's algorithm serves, the
    normalised input is never written, in the backward neither.

    Parameters
    ----------
    input, weight, bias
        As for :func:`conv2d`.
    scale, shift : Tensor, optional
        `weight` and `bias` of :func:`norm_act`: ``[C_in]``, or ``[N, C_in]``.
    running_mean, running_var, training, momentum, eps, act, alpha, gain, statistics, process_group
        As for :func:`norm_act` with ``norm="batch"``.
    padding, algorithm, residual, return_statistics
        As for :func:`conv2d`.

    Returns
    -------
    output : Tensor
        As of :func:`conv2d`.
    statistics : Tensor
        ``[2, C_out]``, if `return_statistics`: those of the output.

    Raises
    ------
    TypeError, ValueError, NotImplementedError
        As the two functions.

    Notes
    -----
    Differentiable twice, with respect to input, weight, bias, scale, shift and residual.
    """
    name = "norm_act_conv2d"
    check_convolution(name, input, weight, bias, 1)
    check_residual(name, residual, input)
    sides = convolution_padding(name, padding, weight)
    if sides is not None:
        check_size(name, input, weight, sides, 1, 1)
    allowed = allowed_algorithm(name, weight, sides, algorithm)
    done = normalisation(
        name, input, running_mean, running_var, {"scale": scale, "shift": shift}, training, momentum, eps, "batch",
        act, alpha, gain, statistics, process_group,
    )  # fmt: skip
    backend = current_backend()
    if (
        sides is None
        or allowed is None
        or _autocast_changes(input.dtype, input.device.type)
        or (backend is None and allowed != "winograd" and not normalises_itself(allowed, input, weight, sides))
    ):
        activation, mean, _, unbiased = _norm_act(input, *done, backend)
        result = conv2d(
            activation, weight, bias, padding=padding, algorithm=algorithm, residual=residual,
            return_statistics=return_statistics,
        )  # fmt: skip
    else:
        output, gathered, _, mean, _, unbiased = _norm_act_conv2d(
            input, *done, weight, bias, residual, sides, allowed, return_statistics, backend
        )
        result = (output, gathered) if return_statistics else output
    # Last, so that a call that is refused moves nothing.
    move_running(done, input, running_mean, running_var, mean, unbiased, momentum)
    return result


def norm_act_upsample_conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    act: str = "linear",
    alpha: float | None = None,
    gain: float = 1.0,
    statistics: Tensor | None = None,
    process_group: ProcessGroup | None = None,
    scale_factor: int = 2,
    mode: str = "nearest",
    padding: str | int | Sequence[int] = "same",
    groups: int = 1,
    residual: Tensor | None = None,
    return_statistics: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    r"""Batch norm, activation, nearest upsampling and convolution: on GPUs one kernel for few channels in a half type.

    Equal to ``upsample_conv2d(norm_act(input, ..., scale, shift), weight, bias, ...)``. Where one kernel does both, the
    normalised input is never written: the convolution normalises what it reads.

    Parameters
    ----------
    input, weight, bias
        As for :func:`upsample_conv2d`.
    scale, shift : Tensor, optional
        `weight` and `bias` of :func:`norm_act`: ``[C_in]``, or ``[N, C_in]``.
    running_mean, running_var, training, momentum, eps, act, alpha, gain, statistics, process_group
        As for :func:`norm_act` with ``norm="batch"``.
    scale_factor, mode, padding, groups, residual, return_statistics
        As for :func:`upsample_conv2d`; ``mode="fir"`` takes its default filter.

    Returns
    -------
    output : Tensor
        As of :func:`upsample_conv2d`.
    statistics : Tensor
        ``[2, C_out]``, if `return_statistics`: those of the output.

    Raises
    ------
    TypeError, ValueError, NotImplementedError
        As the two functions.

    Notes
    -----
    Differentiable twice, with respect to input, weight, bias, scale, shift and residual. Where the normalised input was
    not written the backward makes it again, in one pass, if it is asked for weight's gradient.
    """
    name = "norm_act_upsample_conv2d"
    check_convolution(name, input, weight, bias, groups)
    check_residual(name, residual, input)
    sides = convolution_padding(name, padding, weight)
    backend = current_backend()
    if sides is not None:
        check_size(name, input, weight, sides, 2, 1)
    done = normalisation(
        name, input, running_mean, running_var, {"scale": scale, "shift": shift}, training, momentum, eps, "batch",
        act, alpha, gain, statistics, process_group,
    )  # fmt: skip
    if (
        scale_factor != 2
        or mode != "nearest"
        or sides is None
        or _autocast_changes(input.dtype, input.device.type)
        or (backend is None and prefers_stock(input, weight, 4))
    ):
        activation, mean, _, unbiased = _norm_act(input, *done, backend)
        result = upsample_conv2d(
            activation, weight, bias, scale_factor=scale_factor, mode=mode, padding=padding, groups=groups,
            residual=residual, return_statistics=return_statistics,
        )  # fmt: skip
    else:
        output, gathered, _, mean, _, unbiased = _norm_act_upsample_conv2d(
            input, *done, weight, bias, sides, groups, residual, return_statistics, convolution_algorithm(), backend
        )
        result = (output, gathered) if return_statistics else output
    # Last, so that a call that is refused moves nothing.
    move_running(done, input, running_mean, running_var, mean, unbiased, momentum)
    return result
