"""Torch's linear operations on images: padding, pooling, interpolation, sampling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.tape.layout import Layout
from fastgan.tape.node import Phi, Value
from fastgan.tape.rules.call import Call, Outcome, linear_node, rule


def _batched(value: Value, y: Tensor) -> Layout | None:
    """Images have the samples in front, and have them there afterwards."""
    return value.layout if value.layout.dim == 0 and y.shape[0] == value.layout.rows else None


@rule("avg_pool1d", "avg_pool2d", "avg_pool3d", functions=[F.interpolate, F.upsample])
def images(call: Call, input: Tensor, *_: Any, **__: Any) -> Outcome | None:
    value = call.only(input)
    if value is None or value.layout.dim != 0 or input.dim() < 3 or (input.dim() == 3 and _spatial(call) > 1):
        return None
    return linear_node(call, input, _batched)


def _spatial(call: Call) -> int:
    name = call.function.__name__
    return int(name[-2]) if name[-1] == "d" else 1


@rule(functions=[F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d, torch.adaptive_avg_pool1d])
def adaptive(call: Call, input: Tensor, output_size: Any) -> Outcome | None:
    value = call.only(input)
    if value is None or value.layout.dim != 0 or input.dim() != _spatial(call) + 2:
        return None
    return linear_node(call, input, _batched)


@rule("pixel_shuffle", "pixel_unshuffle", "channel_shuffle")
def shuffle(call: Call, input: Tensor, *_: Any, **__: Any) -> Outcome | None:
    return linear_node(call, input, _batched) if input.dim() == 4 else None


@rule(functions=[F.unfold, F.fold])
def folded(call: Call, input: Tensor, *_: Any, **__: Any) -> Outcome | None:
    return linear_node(call, input, _batched) if input.dim() == (4 if call.function is F.unfold else 3) else None


@rule("pad")
def pad(
    call: Call, input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Outcome | None:
    traced = call.only(input)
    if traced is None or (mode == "constant" and value):
        return None
    if traced.layout.dim >= input.dim() - len(pad) // 2:
        return None
    return linear_node(call, input, lambda value, y: value.layout)


@rule(functions=[F.grid_sample])
def grid_sample(
    call: Call,
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Outcome | None:
    value = call.only(input)
    if value is None or value.layout.dim != 0:
        return None
    y = call()

    def tangent(c: Sequence[Tensor], constants: Sequence[Tensor], phi: Phi) -> Tensor:
        return F.grid_sample(c[0], constants[0], mode, padding_mode, align_corners)

    return y, [call.node(y, [value], value.layout, tangent, [grid])]
