"""norm_act_conv2d in plain torch: fallback and oracle."""

from __future__ import annotations

from fastgan.ops.conv2d.reference import conv2d, conv2d_backward, unsupported_reason
from fastgan.ops.norm_act.reference import norm_act
from fastgan.ops.norm_act_conv2d.composition import composition

__all__ = ["norm_act_conv2d", "norm_act_conv2d_weight_gradient", "unsupported_reason"]

norm_act_conv2d, norm_act_conv2d_weight_gradient = composition(norm_act, conv2d, conv2d_backward)
