"""Activations that are linear in pieces: a slope for each element, by torch's own convention at the kinks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fastgan.ops.checks import FLOATING
from fastgan.tape.kinks import Kinks
from fastgan.tape.node import Phi
from fastgan.tape.rules.call import Call, Outcome, rule
from fastgan.tape.rules.rectifiers import rectified, rectifier


@rule("relu", "relu_", "leaky_relu", "leaky_relu_")
def rectify(call: Call, *args: Any, **kwargs: Any) -> Outcome | None:
    known = rectifier(call.function, args, kwargs)
    value = None if known is None else call.only(known.input)
    if known is None or value is None or not isinstance(known.slope, (int, float, type(None))):
        return None
    if known.input.dtype not in FLOATING:
        return None
    slope, kinks = float(known.slope or 0), Kinks.of(known.input)
    y = rectified(known, call, kinks)

    def tangent(c: Sequence[Tensor], constants: Sequence[Tensor], phi: Phi) -> Tensor:
        return kinks.gate(c[0], slope)

    return y, [call.node(y, [value], value.layout, tangent)]


@rule(
    "relu6", "hardtanh", "hardtanh_", "hardsigmoid", "hardshrink", "softshrink", "threshold", "threshold_",
    "clamp", "clamp_", "clip", "clip_", "clamp_min", "clamp_min_", "clamp_max", "clamp_max_", "abs", "abs_", "absolute",
    "__abs__",
)  # fmt: skip
def elementwise(call: Call, input: Tensor, *_: Any, **__: Any) -> Outcome | None:
    """Any of these is slope times input plus offset, and its slope is what autograd says."""
    value = call.only(input)
    if value is None or any(isinstance(each, Tensor) for each in (*call.args[1:], *call.kwargs.values())):
        return None
    with torch.enable_grad():
        twin = input.detach().clone().requires_grad_()
        # In-place forms may not write to a leaf.
        image = call.function(twin.view_as(twin) + 0, *call.args[1:], **call.kwargs)
        (slope,) = torch.autograd.grad(image, twin, torch.ones_like(image))
    image = image.detach()
    offset = torch.where(slope == 0, image, image - slope * twin.detach())
    y = call()

    def tangent(c: Sequence[Tensor], constants: Sequence[Tensor], phi: Phi) -> Tensor:
        return phi.plus(c[0] * constants[0], constants[1], value.layout)

    return y, [call.node(y, [value], value.layout, tangent, [slope, offset])]


@rule("prelu")
def prelu(call: Call, input: Tensor, weight: Tensor) -> Outcome | None:
    value = call.only(input)
    if value is None or (weight.numel() > 1 and value.layout.dim == 1):
        return None
    above = input.detach() >= 0  # at zero T follows torch's double backward, which differs from its backward
    y = call()

    def tangent(c: Sequence[Tensor], constants: Sequence[Tensor], phi: Phi) -> Tensor:
        above, weight = constants
        slope = weight.view(-1, *[1] * (c[0].dim() - 2)) if weight.numel() > 1 else weight
        kept = c[0] * above
        return kept + (c[0] - kept) * slope

    return y, [call.node(y, [value], value.layout, tangent, [above, weight])]


@rule("dropout", "dropout1d", "dropout2d", "dropout3d", "feature_dropout")
def dropout(
    call: Call, input: Tensor, p: float = 0.5, training: bool | None = None, inplace: bool = False, **named: bool
) -> Outcome | None:
    """A product with a mask, which is drawn as torch would and kept."""
    value = call.only(input)
    train = named.pop("train", training)
    if named or value is None:
        return None
    if train is None:  # F.dropout's default; torch.dropout has none
        train = True
    if not train or p == 0:
        y = call()
        return y, [call.node(y, [value], value.layout, lambda c, constants, phi: c[0])]
    if inplace:
        return None
    arguments = {"train": True} if call.function in (torch.dropout, torch.feature_dropout) else {"training": True}
    mask = call.function(torch.ones_like(input.detach()), p=p, **arguments)
    y = input * mask

    def tangent(c: Sequence[Tensor], constants: Sequence[Tensor], phi: Phi) -> Tensor:
        return c[0] * constants[0]

    return y, [call.node(y, [value], value.layout, tangent, [mask])]
