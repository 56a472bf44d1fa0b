"""Activations: torch's ReLU and LeakyReLU, and the bias, activation, gain and clamp in one pass."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fastgan import functional
from fastgan.ops import checks
from fastgan.ops.bias_act.activations import ACTIVATIONS

__all__ = ["BiasAct", "LeakyReLU", "ReLU"]


class ReLU(nn.ReLU):
    """Drop-in for :class:`torch.nn.ReLU` whose double backward adds no gradient, where torch's adds zeros.

    A gradient penalty then runs no backward pass over zeros.

    Parameters
    ----------
    inplace : bool, default False
        Write the result into input, as torch does. Here that is a copy more, not a buffer less.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return ``max(input, 0)``; any shape, differentiable twice."""
        output = functional.bias_act(input, act="relu", gain=1.0)
        return input.copy_(output) if self.inplace else output


class LeakyReLU(nn.LeakyReLU):
    """Drop-in for :class:`torch.nn.LeakyReLU` whose double backward adds no gradient, where torch's adds zeros.

    Parameters
    ----------
    negative_slope : float, default 0.01
        Slope for negative inputs, torch's default (:func:`fastgan.functional.bias_act` has 0.2).
    inplace : bool, default False
        Write the result into input, as torch does. Here that is a copy more, not a buffer less.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return ``input`` where positive, else ``negative_slope * input``; any shape, differentiable twice."""
        output = functional.bias_act(input, act="lrelu", alpha=self.negative_slope, gain=1.0)
        return input.copy_(output) if self.inplace else output


class BiasAct(nn.Module):
    """A learned bias, then an activation, a gain and a clamp: :func:`fastgan.functional.bias_act` as a module.

    Parameters
    ----------
    num_features : int
        Size of input's dimension `dim`.
    act, alpha, gain, clamp, dim
        As for :func:`fastgan.functional.bias_act`.
    bias : bool, default True
        Whether there is a bias; it starts at zero.
    device, dtype
        Of the bias.

    Shape
    -----
    Input ``[..., num_features, ...]`` with ``num_features`` at `dim`; output the same.
    """

    def __init__(
        self,
        num_features: int,
        act: str = "linear",
        alpha: float | None = None,
        gain: float | None = None,
        clamp: float | None = None,
        dim: int = 1,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        checks.check_choice("BiasAct", "act", act, tuple(ACTIVATIONS))
        self.num_features, self.act, self.alpha, self.gain, self.clamp, self.dim = (
            num_features, act, alpha, gain, clamp, dim,
        )  # fmt: skip
        self.bias = nn.Parameter(torch.zeros(num_features, device=device, dtype=dtype)) if bias else None

    def forward(self, input: Tensor) -> Tensor:
        """Return ``clamp(gain * act(input + bias))``."""
        return functional.bias_act(
            input, self.bias, act=self.act, alpha=self.alpha, gain=self.gain, clamp=self.clamp, dim=self.dim
        )

    def extra_repr(self) -> str:
        """The arguments that differ from their defaults."""
        parts = [f"{self.num_features}, act={self.act!r}"]
        parts += [f"{k}={getattr(self, k)}" for k in ("alpha", "gain", "clamp") if getattr(self, k) is not None]
        parts += [f"dim={self.dim}"] * (self.dim != 1) + ["bias=False"] * (self.bias is None)
        return ", ".join(parts)
