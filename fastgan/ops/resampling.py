"""What the two resampling convolutions share: the schemas' checks and the statistics of an output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fastgan.ops import checks
from fastgan.ops.layout import accumulator, image_format

__all__ = [
    "accumulator",
    "autocast",
    "check_backward",
    "check_convolution",
    "check_exact",
    "check_residual",
    "check_size",
    "convolution_backward",
    "empty_images",
    "empty_statistics",
    "fake_backward",
    "laid_out",
    "moments",
    "output_format",
    "sum_pool",
    "widened",
]


def check_convolution(
    name: str, input: Tensor, weight: Tensor, bias: Tensor | None, groups: int, argument: str = "input"
) -> None:
    """Raise unless the tensors are those of a 2-d convolution."""
    checks.check_floating(name, argument, input)
    checks.check_images(name, argument, input)
    checks.check_floating(name, "weight", weight)
    channels = input.shape[1]
    if channels < 1:
        raise ValueError(f"{name}: {argument} must have at least 1 channel, got {list(input.shape)}")
    if isinstance(groups, bool) or not isinstance(groups, int):
        raise TypeError(f"{name}: groups must be an integer, got {type(groups).__name__}")
    if groups < 1 or channels % groups:
        raise ValueError(
            f"{name}: groups must be positive and divide the {channels} channels of {argument}, got {groups}"
        )
    per_group = channels // groups
    if (
        weight.dim() != 4
        or weight.shape[1] != per_group
        or weight.shape[0] < 1
        or weight.shape[0] % groups
        or min(weight.shape[2:]) < 1
    ):
        of = "" if groups == 1 else f" and groups={groups}"
        raise ValueError(
            f"{name}: weight must be [C_out, {per_group}, kH, kW] to match {argument} {list(input.shape)}{of}, "
            f"got {list(weight.shape)}"
        )
    checks.check_same_dtype(name, "weight", weight, input)
    if bias is not None:
        checks.check_floating(name, "bias", bias)
        checks.check_length(name, "bias", bias, weight.shape[0], f"weight {list(weight.shape)}")
        checks.check_same_dtype(name, "bias", bias, input)


def check_size(
    name: str, input: Tensor, weight: Tensor, padding: list[int], scale_factor: int, kernel_size: int
) -> None:
    """ValueError unless there is a pixel of output, after upsampling by the one and pooling by the other."""
    for size, p, k in zip(input.shape[2:], padding, weight.shape[2:], strict=True):
        if size < 1 or scale_factor * size + 2 * p - k + 1 < kernel_size:
            raise ValueError(
                f"{name}: input must be large enough for the kernel {list(weight.shape[2:])} with padding {padding}, "
                f"got {list(input.shape)}"
            )


def check_exact(name: str, input: Tensor, weight: Tensor, bias: Tensor | None, padding: list[int], groups: int) -> None:
    """The same without autocast's leave, for what kernels are to read."""
    check_convolution(name, input, weight, bias, groups)
    for argument, tensor in (("weight", weight), ("bias", bias)):
        if tensor is not None and tensor.dtype != input.dtype:
            raise TypeError(f"{name}: {argument} must have input's dtype {input.dtype}, got {tensor.dtype}")
    if len(padding) != 2 or min(padding) < 0:
        raise ValueError(f"{name}: padding must be two integers of at least 0, got {padding}")


def check_residual(name: str, residual: Tensor | None, input: Tensor, size: list[int]) -> None:
    """ValueError unless there is none, or one of the output's `size` and of input's dtype and device."""
    if residual is not None and (
        list(residual.shape) != size or residual.dtype != input.dtype or residual.device != input.device
    ):
        raise ValueError(
            f"{name}: residual must be {input.dtype} {size} on {input.device} like the output, "
            f"got {residual.dtype} {list(residual.shape)} on {residual.device}"
        )


def check_backward(
    name: str,
    grad: Tensor,
    input: Tensor,
    weight: Tensor,
    padding: list[int],
    groups: int,
    wanted: list[bool],
    output_size: Callable[[Tensor, Tensor, list[int]], list[int]],
) -> None:
    """Raise unless the tensors are those of the derivative of an op with such an output."""
    check_exact(name, input, weight, None, padding, groups)
    if len(wanted) != 2:
        raise ValueError(f"{name}: wanted must be two bools, got {wanted}")
    expected = output_size(input, weight, padding)
    if list(grad.shape) != expected or grad.dtype != input.dtype or grad.device != input.device:
        raise ValueError(
            f"{name}: grad_output must be {input.dtype} {expected} on {input.device} to match input "
            f"{list(input.shape)}, got {grad.dtype} {list(grad.shape)} on {grad.device}"
        )


def output_format(input: Tensor, weight: Tensor) -> torch.memory_format:
    """channels_last where input or weight are, as torch's convolutions decide it."""
    if torch.channels_last in (image_format(input), image_format(weight)):
        return torch.channels_last
    return torch.contiguous_format


def empty_images(like: Tensor, size: list[int], layout: torch.memory_format) -> Tensor:
    return torch.empty(size, dtype=like.dtype, device=like.device, memory_format=layout)


def empty_statistics(output: Tensor, wanted: bool) -> Tensor:
    size = (2, output.shape[1]) if wanted else (0,)
    return torch.empty(size, dtype=accumulator(output.dtype), device=output.device)


def widened(*tensors: Tensor | None) -> tuple[Any, ...]:
    """The tensors in float32. On CPUs float16 is computed so: torch's convolutions in it are many times slower."""
    return tuple(None if x is None else x.float() for x in tensors)


def fake_backward(grad_output: Tensor, input: Tensor, weight: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    """The backward's outputs: gradients like input and weight, or empty where they are not wanted."""
    *_, wanted, _backend = rest
    of_input, of_weight = (
        empty_images(x, list(x.shape), image_format(x)) if want else x.new_empty(0)
        for x, want in zip((input, weight), wanted, strict=True)
    )
    return of_input, of_weight


def laid_out(grads: Sequence[Tensor | None], input: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients in the memory formats of input and weight, and an empty tensor where there is none."""
    of_input, of_weight = (
        x.new_empty(0) if grad is None else grad.contiguous(memory_format=image_format(x))
        for grad, x in zip(grads, (input, weight), strict=True)
    )
    return of_input, of_weight


def autocast(input: Tensor, *rest: Any) -> tuple[Any, ...]:
    """The arguments in autocast's dtype, as for torch's convolutions; float64 stays."""
    if input.dtype == torch.float64:
        return (input, *rest)
    dtype = torch.get_autocast_dtype(input.device.type)
    return tuple(x.to(dtype) if isinstance(x, Tensor) else x for x in (input, *rest))


def moments(output: Tensor) -> Tensor:
    """[2, C]: each channel's mean and sum of squared deviations."""
    wide = output.detach().to(accumulator(output.dtype))
    count = max(1, wide.numel() // max(1, wide.shape[1]))
    mean = wide.sum((0, 2, 3)) / count
    off = wide - mean[:, None, None]
    # What the rounding of the mean has left, where the deviations are small beside it.
    rest = off.sum((0, 2, 3))
    return torch.stack([mean + rest / count, off.square().sum((0, 2, 3)) - rest.square() / count])


def sum_pool(x: Tensor) -> Tensor:
    """Sums over 2×2 pixels at stride 2: the adjoint of nearest upsampling."""
    return torch.nn.functional.avg_pool2d(x, 2, divisor_override=1)


def convolution_backward(
    grad: Tensor,
    input: Tensor,
    weight: Tensor,
    stride: int,
    padding: list[int],
    groups: int,
    wanted: list[bool],
    transposed: bool = False,
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of input and weight where `wanted`."""
    geometry: tuple[Any, ...] = ([stride] * 2, padding, [1, 1], transposed, [0, 0], groups)
    return torch.ops.aten.convolution_backward(grad, input, weight, None, *geometry, [*wanted, False])[:2]
