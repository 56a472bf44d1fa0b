"""norm_act_upsample_conv2d on the CPU."""

from __future__ import annotations

from fastgan.ops.norm_act.cpu import norm_act
from fastgan.ops.norm_act_upsample_conv2d.composition import composition
from fastgan.ops.upsample_conv2d.cpu import unsupported_reason, upsample_conv2d

__all__ = ["norm_act_upsample_conv2d", "unsupported_reason"]

norm_act_upsample_conv2d = composition(norm_act, upsample_conv2d)
