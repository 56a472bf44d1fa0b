"""interpolate_samples in plain torch: fallback and oracle."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.ops.samples import along, widened

__all__ = ["interpolate_samples", "interpolate_samples_backward", "unsupported_reason"]


def unsupported_reason(device_type: str, dtype: torch.dtype) -> str | None:
    return None


def interpolate_samples(input: Tensor, other: Tensor, eps: Tensor) -> Tensor:
    weight = along(eps, input)
    return torch.empty_like(input).copy_(weight * widened(input) + (1 - weight) * widened(other))


def interpolate_samples_backward(
    grad_output: Tensor, eps: Tensor, of_input: bool, of_other: bool
) -> tuple[Tensor, Tensor]:
    weight, grad = along(eps, grad_output), widened(grad_output)
    grad_input, grad_other = (
        torch.empty_like(grad_output).copy_(factor * grad) if wanted else grad_output.new_empty(0)
        for factor, wanted in ((weight, of_input), (1 - weight, of_other))
    )
    return grad_input, grad_other
