"""norm_act in plain torch: the fallback on every device, and the oracle the kernels are compared with.

:func:`norm_act` alone is differentiable to any order. The functions after it are the formulas of the derivatives; that
of the second is shared by all backends. With x̂ = (x - μ) r, z = w x̂ + b, slope s = gain act'(z), g = s dy, h = w g and
means over the elements that share a statistic,

    dx = r (h - mean(h) - x̂ mean(h x̂)),    dw = Σ g x̂,    db = Σ g.

Where statistics are given numbers the means are none; pixel norm subtracts no mean.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.ops.norm_act.shapes import accumulator, all_reduce, along, count, synchronise

__all__ = ["norm_act", "norm_act_backward", "norm_act_double_backward", "unsupported_reason"]


def unsupported_reason(device_type: str, dtype: torch.dtype) -> str | None:
    return None


def _accumulate(x: Tensor) -> Tensor:
    return x.to(accumulator(x.dtype))


def _dims(x: Tensor, norm: str) -> list[int]:
    """The dimensions that elements with one statistic run along."""
    spatial = list(range(2, x.dim()))
    return {"batch": [0, *spatial], "instance": spatial, "pixel": [1]}[norm]


def _sum_to(x: Tensor, parameter: Tensor) -> Tensor:
    """Sum to the shape of a parameter [C] or [N, C]."""
    dims = _dims(x, "batch" if parameter.dim() == 1 else "instance")
    return (x.sum(dims) if dims else x).to(parameter.dtype)


def _own_statistics(x: Tensor, norm: str) -> tuple[Tensor, Tensor]:
    dims, n = _dims(x, norm), count(x, norm)
    if not dims:
        return x.clone(), torch.zeros_like(x)
    mean = x.sum(dims, keepdim=True) / n
    mean = mean + (x - mean).sum(dims, keepdim=True) / n  # what a sum of large values has lost
    variance = (x - mean).square().sum(dims) / n
    return mean.view(variance.shape), variance


def norm_act(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor | None,
    variance: Tensor | None,
    norm: str,
    act: str,
    alpha: float,
    gain: float,
    eps: float,
    group: str | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x = _accumulate(input)
    statistics = x.new_empty(0), x.new_empty(0), x.new_empty(0)
    if norm == "pixel":
        x = x * torch.rsqrt(x.square().mean(1, keepdim=True) + eps)
    elif norm == "given":
        if mean is not None and variance is not None:
            x = (x - along(mean, x)) * torch.rsqrt(along(variance, x) + eps)
    else:
        own = _own_statistics(x, norm)
        with torch.no_grad():
            n = count(x, norm)
            local_mean, local = own if mean is None or variance is None else (mean, variance)
            if group is not None:
                statistics = synchronise(local_mean, local, n if x.numel() else 0, group)
            else:
                statistics = local_mean.clone(), local.clone(), local * (n / max(n - 1, 1))
        # The values that were given or are those of all processes, with the derivatives of this input's.
        mean, variance = (s + (o - o.detach()) for s, o in zip(statistics, own, strict=False))
        x = (x - along(mean, x)) * torch.rsqrt(along(variance, x) + eps)
    if weight is not None:
        x = x * along(_accumulate(weight), x)
    if bias is not None:
        x = x + along(_accumulate(bias), x)
    x = {"linear": lambda z: z, "relu": F.relu, "lrelu": lambda z: F.leaky_relu(z, alpha)}[act](x)
    return torch.empty_like(input).copy_(x * gain), *statistics


def _normalised(
    input: Tensor, mean: Tensor | None, variance: Tensor | None, norm: str, eps: float
) -> tuple[Tensor, Tensor]:
    """Return x̂ and r."""
    x = _accumulate(input)
    if norm == "pixel":
        r = torch.rsqrt(x.square().mean(1, keepdim=True) + eps)
        return x * r, r
    if mean is None or variance is None:
        return x, x.new_ones(())
    r = torch.rsqrt(along(variance, x) + eps)
    return (x - along(mean, x)) * r, r


def _slope(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, act: str, alpha: float, gain: float
) -> tuple[Tensor, Tensor]:
    """The weight, broadcast, and gain·act'(z)."""
    w = x.new_ones(()) if weight is None else along(_accumulate(weight), x)
    z = x * w
    if bias is not None:
        z = z + along(_accumulate(bias), x)
    below = {"linear": 1.0, "relu": 0.0, "lrelu": alpha}[act]
    return w, torch.where(z > 0, z.new_full((), gain), z.new_full((), gain * below))


def _means(norm: str, group: str | None, *values: Tensor) -> list[Tensor]:
    """Mean of each over the elements that share a statistic; zeros where none do."""
    first = values[0]
    if norm == "given":
        return [first.new_zeros(())] * len(values)
    dims = _dims(first, norm)
    if norm != "batch" or group is None:
        n = first.shape[1] if norm == "pixel" else count(first, norm)
        return [(v.sum(dims, keepdim=True) if dims else v) / n for v in values]
    sums = torch.stack([v.sum(dims, keepdim=True) for v in values])
    total, elements = all_reduce(sums, first.numel() // max(first.shape[1], 1), group)
    return list((total / elements.to(total.dtype)).unbind())


def _projections(
    norm: str, group: str | None, x: Tensor, *values: Tensor
) -> tuple[list[Tensor], list[tuple[Tensor, Tensor]]]:
    """Each value v without its components along 1 (not for pixel norm) and x̂, and the two means: of v and of v x̂."""
    centred = norm != "pixel"
    means = _means(norm, group, *(m for v in values for m in (v, v * x)))
    pairs = [(means[2 * i] if centred else x.new_zeros(()), means[2 * i + 1]) for i in range(len(values))]
    return [v - a - x * c for v, (a, c) in zip(values, pairs, strict=True)], pairs


def norm_act_backward(
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor | None,
    variance: Tensor | None,
    norm: str,
    act: str,
    alpha: float,
    gain: float,
    eps: float,
    group: str | None,
    parameter_grads: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    x, r = _normalised(input, mean, variance, norm, eps)
    w, slope = _slope(x, weight, bias, act, alpha, gain)
    g = _accumulate(grad_output) * slope
    (projected,), _ = _projections(norm, group, x, w * g)
    none = input.new_empty(0)
    return (
        torch.empty_like(input).copy_(r * projected),
        none if weight is None or not parameter_grads else _sum_to(g * x, weight),
        none.clone() if bias is None or not parameter_grads else _sum_to(g, bias),
    )


def norm_act_double_backward(
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor | None,
    variance: Tensor | None,
    grad_grad_input: Tensor | None,
    grad_grad_weight: Tensor | None,
    grad_grad_bias: Tensor | None,
    norm: str,
    act: str,
    alpha: float,
    gain: float,
    eps: float,
    group: str | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Derivatives by grad_output, input and weight; one that is zero everywhere is an empty tensor.

    With the cotangents X of dx, W of dw and B of db, and P(v) = v - mean(v) - x̂ mean(v x̂), which is symmetric,
    the scalar to differentiate is Σ r P(X) h + Σ W g x̂ + Σ B g. Its derivative by g is w r P(X) + W x̂ + B; by x̂ it is
    v = -r (mean(h x̂) X + mean(X x̂) h) + W g, and by r it is Q = mean(X P(h)) times the number of elements, whence by x
    it is r P(v) - r² Q x̂.
    """
    x, r = _normalised(input, mean, variance, norm, eps)
    w, slope = _slope(x, weight, bias, act, alpha, gain)
    g = _accumulate(grad_output) * slope
    h = w * g
    by_g = torch.zeros_like(x)
    by_x = grad_weight = x.new_empty(0)
    v = None  # by x̂
    along_r: Tensor | None = None
    if grad_grad_weight is not None:
        along_weight = along(_accumulate(grad_grad_weight), x)
        by_g = by_g + along_weight * x
        v = along_weight * g
    if grad_grad_bias is not None:
        by_g = by_g + along(_accumulate(grad_grad_bias), x)
    if grad_grad_input is not None:
        X = _accumulate(grad_grad_input)
        (projected, projected_h), ((_, d), (_, c)) = _projections(norm, group, x, X, h)
        projected = r * projected
        by_g = by_g + w * projected
        if weight is not None:
            grad_weight = _sum_to(projected * g, weight)
        if norm != "given":
            along_r = r * r * _means(norm, group, X * projected_h)[0]
            v = -r * (c * X + d * h) + (0 if v is None else v)
    if v is not None:
        (by_x,), _ = _projections(norm, group, x, v)
        by_x = r * by_x if along_r is None else r * by_x - along_r * x
        by_x = torch.empty_like(input).copy_(by_x)
    return torch.empty_like(input).copy_(slope * by_g), by_x, grad_weight
