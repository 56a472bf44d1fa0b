"""The ops behind ``torch.ops.fastgan``; importing this registers all of them. Nothing compiles here."""

from fastgan.ops import bias_act, spectral_conv, spectral_norm, upfirdn2d

__all__ = ["bias_act", "spectral_conv", "spectral_norm", "upfirdn2d"]
