"""Normalisation, affine map and activation in one pass."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from fastgan.ops import checks
from fastgan.ops.layout import accumulator
from fastgan.ops.norm_act import norm_act as _norm_act
from fastgan.ops.piecewise_linear import slope_below
from fastgan.ops.registry import current_backend

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

__all__ = ["Normalisation", "affine_act", "move_running", "norm_act", "normalisation"]

_NORMS = ("batch", "instance", "pixel")


def _check_input(function: str, input: Tensor) -> None:
    checks.check_floating(function, "input", input)
    if input.dim() < 2:
        raise ValueError(f"{function}: input must be [N, C, ...], got {list(input.shape)}")


def _check_parameter(function: str, argument: str, given: Tensor | None, input: Tensor) -> None:
    """A vector over channels, or one for each sample; in input's dtype, or in float32 beside half types."""
    if given is None:
        return
    checks.check_floating(function, argument, given)
    if given.dtype != accumulator(input.dtype):
        checks.check_same_dtype(function, argument, given, input)
    n, channels = input.shape[:2]
    # Sizes one by one: a traced one is no constant that a tuple could be looked for with.
    if given.dim() not in (1, 2) or given.shape[-1] != channels or (given.dim() == 2 and given.shape[0] != n):
        raise ValueError(
            f"{function}: {argument} must be [{channels}] or [{n}, {channels}] to match input {list(input.shape)}, "
            f"got {list(given.shape)}"
        )


def _check_running(
    function: str, running_mean: Tensor | None, running_var: Tensor | None, input: Tensor, training: bool
) -> None:
    """That there are both or none, and that both can be moved while `training`: one is not to be without the other."""
    if (running_mean is None) != (running_var is None):
        raise ValueError(f"{function}: running_mean and running_var must be given together")
    for argument, given in (("running_mean", running_mean), ("running_var", running_var)):
        if given is None:
            continue
        checks.check_floating(function, argument, given)
        checks.check_length(function, argument, given, input.shape[1], f"input {list(input.shape)}")
        checks.check_device(function, argument, given, input)
        if training and given.requires_grad:
            raise ValueError(f"{function}: {argument} must not require grad while training, which moves it in place")
        if training and given.shape[0] > 1 and given.stride(0) == 0:
            raise ValueError(
                f"{function}: {argument} must have an element of its own for each channel while training, which moves "
                "it in place, got an expanded tensor"
            )


def _check_group(function: str, norm: str, process_group: ProcessGroup | None) -> None:
    if process_group is None:
        return
    if norm != "batch":
        raise ValueError(
            f"{function}: process_group must be None for norm='{norm}', whose statistics are a sample's own"
        )
    if not isinstance(process_group, torch.distributed.ProcessGroup):
        raise TypeError(
            f"{function}: process_group must be a torch.distributed.ProcessGroup, got {type(process_group).__name__}"
        )


def _check_batch_statistics(function: str, input: Tensor, norm: str, statistics: Tensor | None, grouped: bool) -> None:
    """That statistics can be taken of the input, or that `statistics` can be they."""
    pixels = math.prod(input.shape[2:])
    if (input.shape[0] * pixels == 1 and not grouped) if norm == "batch" else pixels == 1:
        what = "value per channel" if norm == "batch" else "spatial element"
        raise ValueError(f"{function}: expected more than 1 {what} when training, got input {list(input.shape)}")
    if statistics is not None:
        checks.check_floating(function, "statistics", statistics)
        if statistics.dtype not in (accumulator(input.dtype), input.dtype):
            raise TypeError(f"{function}: statistics must be {accumulator(input.dtype)}, got {statistics.dtype}")
        checks.check_device(function, "statistics", statistics, input)
        shape = [2, *([input.shape[0]] if norm == "instance" else []), input.shape[1]]
        if list(statistics.shape) != shape:
            raise ValueError(
                f"{function}: statistics must be {shape} (means, sums of squared deviations) to match input "
                f"{list(input.shape)}, got {list(statistics.shape)}"
            )


class Normalisation(NamedTuple):
    """The arguments of the op norm_act between its input and its backend."""

    weight: Tensor | None
    bias: Tensor | None
    mean: Tensor | None
    variance: Tensor | None
    norm: str
    act: str
    alpha: float
    gain: float
    eps: float
    group: str | None


def normalisation(
    function: str,
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    affine: dict[str, Tensor | None],
    training: bool,
    momentum: float,
    eps: float,
    norm: str,
    act: str,
    alpha: float | None,
    gain: float,
    statistics: Tensor | None,
    process_group: ProcessGroup | None,
) -> Normalisation:
    """Check the arguments of :func:`norm_act`; `affine` has weight and bias by what the function calls them."""
    _check_input(function, input)
    checks.check_choice(function, "norm", norm, _NORMS)
    for argument, given in affine.items():
        _check_parameter(function, argument, given, input)
    checks.check_number(function, "momentum", momentum)
    checks.check_number(function, "eps", eps)
    if not eps >= 0:
        raise ValueError(f"{function}: eps must be at least 0, got {eps}")
    alpha = slope_below(function, act, alpha)
    checks.check_number(function, "gain", gain)
    _check_running(function, running_mean, running_var, input, training)
    if norm == "pixel" and (running_mean is not None or statistics is not None):
        raise ValueError(f"{function}: running statistics and statistics must be None for norm='pixel', which has none")
    _check_group(function, norm, process_group)
    mean = variance = group = None
    if norm != "pixel" and (training or running_mean is None):
        group = None if process_group is None or process_group.size() < 2 else process_group.group_name
        _check_batch_statistics(function, input, norm, statistics, group is not None)
        if statistics is not None:
            wide = accumulator(input.dtype)
            elements = math.prod(input.shape[2:]) * (input.shape[0] if norm == "batch" else 1)
            mean, variance = statistics[0].to(wide), statistics[1].to(wide) / max(elements, 1)
        kind = norm
    elif norm == "pixel":
        kind = norm
    else:
        assert running_mean is not None and running_var is not None
        wide = accumulator(input.dtype)
        kind, mean, variance = "given", running_mean.to(wide), running_var.to(wide)
    weight, bias = affine.values()
    return Normalisation(weight, bias, mean, variance, kind, act, alpha, gain, eps, group)


def move_running(
    done: Normalisation,
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    mean: Tensor,
    unbiased: Tensor,
    momentum: float,
) -> None:
    """Move the running statistics towards those of the input, where they are its own."""
    if running_mean is None or running_var is None or done.norm not in ("batch", "instance"):
        return
    if input.numel() == 0 and done.group is None:
        return
    if done.norm == "instance":
        mean, unbiased = mean.mean(0), unbiased.mean(0)
    for running, current in ((running_mean, mean), (running_var, unbiased)):
        running.lerp_(current.to(running.dtype), momentum)


def norm_act(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    norm: str = "batch",
    act: str = "linear",
    alpha: float | None = None,
    gain: float = 1.0,
    statistics: Tensor | None = None,
    process_group: ProcessGroup | None = None,
) -> Tensor:
    r"""Normalise, scale, shift and apply an activation: two reads of input and one write, one read where not training.

    .. math:: y = \text{gain} \cdot \operatorname{act}\left(w\, \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + b\right)

    Parameters
    ----------
    input : Tensor
        ``[N, C, ...]``; float32, float64, float16 or bfloat16; any memory layout, which the output keeps. Half types
        are computed in float32.
    running_mean, running_var : Tensor, optional
        ``[C]``. While training they are moved towards the statistics of the input, `running_var` towards the unbiased
        variance; otherwise they are the statistics. Not for pixel norm.
    weight, bias : Tensor, optional
        ``[C]``, or ``[N, C]`` for a scale and shift of each sample (class-conditional batch norm, adaptive instance
        norm). In input's dtype, or in float32 for half types.
    training : bool, default False
        Whether statistics are the input's. They are as well where there are no running ones, and for pixel norm.
    momentum : float, default 0.1
        How far the running statistics move.
    eps : float, default 1e-5
        Added to the variance.
    norm : str, default "batch"
        What shares a statistic: ``"batch"``, a channel; ``"instance"``, a channel of one sample; ``"pixel"``, the
        channels of one pixel, without a mean: ``x / sqrt(mean(x**2) + eps)``.
    act : str, default "linear"
        linear, relu or lrelu.
    alpha : float, optional
        Negative slope of lrelu, default 0.2. The other activations have no such parameter.
    gain : float, default 1
        Factor on the activation's output (:func:`bias_act` has √2 for relu and lrelu).
    statistics : Tensor, optional
        The statistics of the input, from whoever has made it: ``[2, C]``, ``[2, N, C]`` for instance norm, first the
        means, then the sums of squared deviations from them. Used where statistics are the input's, instead of the
        first read; derivatives are the same as without. With a process group they are those of this process's input.
    process_group : ProcessGroup, optional
        Its processes share the statistics of a batch while training, and the sums of the derivatives, whatever the
        size of each one's batch. All of them must take part in the forward and in each backward. For batch norm only.

    Returns
    -------
    Tensor
        Of input's shape, dtype and memory layout. NaN propagates.

    Raises
    ------
    TypeError
        For a dtype that is not floating point, weight or bias of another dtype than input or float32, an argument that
        is no number.
    ValueError
        For shapes and devices that do not match, an unknown norm or act, a negative eps, one value per channel while
        training, running statistics or a process group with a norm that has none, running statistics that training
        cannot move in place (they require grad, or are expanded). Nothing has been moved then.
    NotImplementedError
        For forward-mode and ``torch.func`` derivatives, and for derivatives above the second.

    Notes
    -----
    Differentiable twice, with respect to input, weight and bias. Only input and statistics are saved for the backward.
    Variances are of deviations from a mean, block by block, never a difference of large squares. Weight's and bias's
    gradients are of this process's batch, as in :class:`torch.nn.SyncBatchNorm`.

    Batch norm: Ioffe and Szegedy 2015; instance norm: Ulyanov et al. 2016, adaptive: Huang and Belongie 2017;
    class-conditional batch norm: Dumoulin et al. 2017; pixel norm: Karras et al., "Progressive Growing of GANs" (2018).
    """
    done = normalisation(
        "norm_act", input, running_mean, running_var, {"weight": weight, "bias": bias}, training, momentum, eps, norm,
        act, alpha, gain, statistics, process_group,
    )  # fmt: skip
    output, mean, _, unbiased = _norm_act(input, *done, current_backend())
    move_running(done, input, running_mean, running_var, mean, unbiased, momentum)
    return output


def affine_act(
    input: Tensor,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
    *,
    act: str = "linear",
    alpha: float | None = None,
    gain: float = 1.0,
) -> Tensor:
    r"""Scale and shift channels and apply an activation in one pass: :func:`norm_act` without the statistics.

    .. math:: y = \text{gain} \cdot \operatorname{act}(\text{scale} \cdot x + \text{shift})

    Parameters
    ----------
    input : Tensor
        ``[N, C, ...]``; float32, float64, float16 or bfloat16; any memory layout, which the output keeps.
    scale, shift : Tensor, optional
        ``[C]``, or ``[N, C]`` for those of each sample (modulation and demodulation of styles). In input's dtype, or in
        float32 for half types.
    act : str, default "linear"
        linear, relu or lrelu.
    alpha : float, optional
        Negative slope of lrelu, default 0.2.
    gain : float, default 1
        Factor on the activation's output.

    Returns
    -------
    Tensor
        Of input's shape, dtype and memory layout.

    Raises
    ------
    TypeError, ValueError, NotImplementedError
        As :func:`norm_act`.

    Notes
    -----
    Differentiable twice; the second derivative by input is undefined in autograd's sense where there is none.
    """
    _check_input("affine_act", input)
    for argument, given in (("scale", scale), ("shift", shift)):
        _check_parameter("affine_act", argument, given, input)
    alpha = slope_below("affine_act", act, alpha)
    checks.check_number("affine_act", "gain", gain)
    return _norm_act(input, scale, shift, None, None, "given", act, alpha, gain, 0.0, None, current_backend())[0]
