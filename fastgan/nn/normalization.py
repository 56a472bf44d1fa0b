"""Normalisation with its affine map and activation in one pass: torch's modules, and those that generators add."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fastgan import functional
from fastgan.ops import checks
from fastgan.ops.piecewise_linear import ACTIVATIONS

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

__all__ = [
    "AdaptiveInstanceNorm2d",
    "BatchNormAct2d",
    "ConditionalBatchNorm2d",
    "ConditionedBatchNorm2d",
    "InstanceNormAct2d",
    "PixelNorm",
]


#: A convolution that is handed its input before the normalisation, and ``norm``, the arguments of that.
Then = Callable[..., Any]


def _check_condition(module: nn.Module, argument: str, given: Tensor, input: Tensor, length: int) -> None:
    """Raise unless `given` is one vector of `length` for each sample."""
    name = type(module).__name__
    checks.check_floating(name, argument, given)
    if given.dim() != 2 or given.shape[0] != input.shape[0] or given.shape[1] != length:
        raise ValueError(
            f"{name}: {argument} must be [{input.shape[0]}, {length}] to match input {list(input.shape)}, "
            f"got {list(given.shape)}"
        )


def _act_repr(module: Any) -> str:
    parts = [f", act={module.act!r}"] * (module.act != "linear")
    return "".join(parts + [f", alpha={module.alpha}"] * (module.alpha is not None))


class BatchNormAct2d(nn.BatchNorm2d):
    """Drop-in for :class:`torch.nn.BatchNorm2d` that applies an activation in the same pass.

    Parameters
    ----------
    num_features, eps, momentum, affine, track_running_stats, device, dtype
        As for :class:`torch.nn.BatchNorm2d`, and so are other keyword arguments (``bias``).
    act, alpha
        As for :func:`fastgan.functional.norm_act`; no activation by default.
    process_group : ProcessGroup, optional
        Its processes share statistics while training, as with :class:`torch.nn.SyncBatchNorm`, on CPUs too.

    Shape
    -----
    Input ``[N, C, H, W]``; output the same. The state dict is torch's.

    Notes
    -----
    For several processes pass `process_group` instead of converting with ``SyncBatchNorm.convert_sync_batchnorm``,
    which would put a module without the activation in this one's place.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        act: str = "linear",
        alpha: float | None = None,
        process_group: ProcessGroup | None = None,
        **options: Any,
    ) -> None:
        checks.check_choice("BatchNormAct2d", "act", act, ACTIVATIONS)
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, **options)
        self.act, self.alpha, self.process_group = act, alpha, process_group

    def forward(self, input: Tensor, statistics: Tensor | None = None, then: Then | None = None) -> Any:
        """Return ``act(batch_norm(input))``; `statistics`, as for ``functional.norm_act``, are used while training.

        With `then`, :class:`UpsampleConv2d` or :class:`Conv2d`, return what that makes of it, which may not write it.
        """
        return self.apply_with(input, self.weight, self.bias, statistics, then)

    def apply_with(
        self,
        input: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        statistics: Tensor | None = None,
        then: Then | None = None,
    ) -> Any:
        """The same with another scale and shift, ``[C]`` or ``[N, C]``."""
        self._check_input_dim(input)
        momentum = 0.0 if self.momentum is None else self.momentum
        batches = self.num_batches_tracked if self.training else None
        if batches is not None and self.momentum is None:  # the mean over all batches
            momentum = 1.0 / (float(batches) + 1)
        options: dict[str, Any] = {
            "running_mean": self.running_mean,
            "running_var": self.running_var,
            "training": self.training,
            "momentum": momentum,
            "eps": self.eps,
            "act": self.act,
            "alpha": self.alpha,
            "statistics": statistics if self.training or self.running_mean is None else None,
            "process_group": self.process_group if self.training else None,
        }
        if then is None:
            output = functional.norm_act(input, weight=weight, bias=bias, **options)
        else:
            output = then(input, norm={"scale": weight, "shift": bias, **options})
        if batches is not None:
            batches.add_(1)
        return output

    def extra_repr(self) -> str:
        """torch's, and the activation."""
        return super().extra_repr() + _act_repr(self)


class ConditionalBatchNorm2d(nn.Module):
    """Batch norm whose scale and shift are looked up by the sample's label, then an activation, in one pass.

    Parameters
    ----------
    num_features, num_classes : int
    eps, momentum, track_running_stats, device, dtype
        As for :class:`torch.nn.BatchNorm2d`.
    act, alpha, process_group
        As for :class:`BatchNormAct2d`.

    Shape
    -----
    Input ``[N, C, H, W]`` and labels ``[N]``; output as the input. The state dict is that of a batch norm ``norm``
    without parameters and of two embeddings, ``weight``, which starts at one, and ``bias``, which starts at zero.

    Dumoulin et al., "A Learned Representation for Artistic Style" (2017); Miyato and Koyama, "cGANs with Projection
    Discriminator" (2018).
    """

    def __init__(
        self,
        num_features: int,
        num_classes: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        track_running_stats: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        act: str = "linear",
        alpha: float | None = None,
        process_group: ProcessGroup | None = None,
    ) -> None:
        super().__init__()
        self.norm = BatchNormAct2d(
            num_features, eps, momentum, False, track_running_stats, device, dtype,
            act=act, alpha=alpha, process_group=process_group,
        )  # fmt: skip
        self.weight = nn.Embedding(num_classes, num_features, device=device, dtype=dtype)
        self.bias = nn.Embedding(num_classes, num_features, device=device, dtype=dtype)
        nn.init.ones_(self.weight.weight)
        nn.init.zeros_(self.bias.weight)

    def forward(self, input: Tensor, labels: Tensor, statistics: Tensor | None = None, then: Then | None = None) -> Any:
        """Normalise `input`, scale and shift by rows `labels` of the tables, apply the activation, and `then`."""
        if not isinstance(labels, Tensor) or labels.dtype not in (torch.int64, torch.int32):
            given = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
            raise TypeError(f"ConditionalBatchNorm2d: labels must be a Tensor of int64 or int32, got {given}")
        if labels.dim() != 1 or labels.shape[0] != input.shape[0]:
            raise ValueError(
                f"ConditionalBatchNorm2d: labels must be [{input.shape[0]}] to match input {list(input.shape)}, "
                f"got {list(labels.shape)}"
            )
        return self.norm.apply_with(input, self.weight(labels), self.bias(labels), statistics, then)


class ConditionedBatchNorm2d(nn.Module):
    """Batch norm whose scale and shift are linear in a vector of the sample, then an activation, in one pass.

    Scale is ``1 + gain(y)``, shift ``bias(y)``: BigGAN's, where y is the class's embedding beside a part of the noise.

    Parameters
    ----------
    num_features : int
    condition_dim : int
        Length of the vector.
    eps, momentum, track_running_stats, device, dtype
        As for :class:`torch.nn.BatchNorm2d`.
    act, alpha, process_group
        As for :class:`BatchNormAct2d`.
    linear : callable, optional
        ``linear(condition_dim, num_features, bias=False, ...)`` makes the two layers, for instance one with spectral
        norm. Default: :class:`torch.nn.Linear`.

    Shape
    -----
    Input ``[N, C, H, W]`` and condition ``[N, condition_dim]``; output as the input.

    Brock, Donahue and Simonyan, "Large Scale GAN Training for High Fidelity Natural Image Synthesis" (2019).
    """

    def __init__(
        self,
        num_features: int,
        condition_dim: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        track_running_stats: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        act: str = "linear",
        alpha: float | None = None,
        process_group: ProcessGroup | None = None,
        linear: Callable[..., nn.Module] = nn.Linear,
    ) -> None:
        super().__init__()
        self.norm = BatchNormAct2d(
            num_features, eps, momentum, False, track_running_stats, device, dtype,
            act=act, alpha=alpha, process_group=process_group,
        )  # fmt: skip
        self.condition_dim = condition_dim
        self.gain = linear(condition_dim, num_features, bias=False, device=device, dtype=dtype)
        self.bias = linear(condition_dim, num_features, bias=False, device=device, dtype=dtype)

    def forward(
        self, input: Tensor, condition: Tensor, statistics: Tensor | None = None, then: Then | None = None
    ) -> Any:
        """Normalise `input`, scale and shift by what the linear layers make of `condition`, activate, and `then`."""
        _check_condition(self, "condition", condition, input, self.condition_dim)
        return self.norm.apply_with(input, 1 + self.gain(condition), self.bias(condition), statistics, then)


class InstanceNormAct2d(nn.InstanceNorm2d):
    """Drop-in for :class:`torch.nn.InstanceNorm2d` that applies an activation in the same pass.

    Parameters
    ----------
    num_features, eps, momentum, affine, track_running_stats, device, dtype
        As for :class:`torch.nn.InstanceNorm2d`, and so are other keyword arguments.
    act, alpha
        As for :func:`fastgan.functional.norm_act`; no activation by default.

    Shape
    -----
    Input ``[N, C, H, W]`` or ``[C, H, W]``; output the same. The state dict is torch's.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        act: str = "linear",
        alpha: float | None = None,
        **options: Any,
    ) -> None:
        checks.check_choice("InstanceNormAct2d", "act", act, ACTIVATIONS)
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, **options)
        self.act, self.alpha = act, alpha

    def forward(self, input: Tensor) -> Tensor:
        """Return ``act(instance_norm(input))``."""
        self._check_input_dim(input)
        if input.dim() == self._get_no_batch_dim():
            return self.forward(input[None])[0]
        return functional.norm_act(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
            norm="instance",
            act=self.act,
            alpha=self.alpha,
        )

    def extra_repr(self) -> str:
        """torch's, and the activation."""
        return super().extra_repr() + _act_repr(self)


class AdaptiveInstanceNorm2d(nn.Module):
    """Instance norm whose scale and shift are linear in a style, then an activation, in one pass.

    Parameters
    ----------
    num_features : int
    style_dim : int
        Length of the style.
    eps : float
    act, alpha
        As for :func:`fastgan.functional.norm_act`.
    device, dtype
        Of the linear layer.

    Shape
    -----
    Input ``[N, C, H, W]`` and style ``[N, style_dim]``; output as the input. The linear layer ``style`` gives the scale
    less 1 in its first C outputs, the shift in the others.

    Huang and Belongie 2017; with the style of Karras et al., "A Style-Based Generator Architecture for Generative
    Adversarial Networks" (2019).
    """

    def __init__(
        self,
        num_features: int,
        style_dim: int,
        eps: float = 1e-5,
        *,
        act: str = "linear",
        alpha: float | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        checks.check_choice("AdaptiveInstanceNorm2d", "act", act, ACTIVATIONS)
        super().__init__()
        self.num_features, self.style_dim = num_features, style_dim
        self.eps, self.act, self.alpha = eps, act, alpha
        self.style = nn.Linear(style_dim, 2 * num_features, device=device, dtype=dtype)

    def forward(self, input: Tensor, style: Tensor) -> Tensor:
        """Normalise each channel of each sample, scale and shift by the style, apply the activation."""
        _check_condition(self, "style", style, input, self.style_dim)
        scale, shift = self.style(style).chunk(2, 1)
        return functional.norm_act(
            input, weight=1 + scale, bias=shift, eps=self.eps, norm="instance", act=self.act, alpha=self.alpha
        )

    def extra_repr(self) -> str:
        """The sizes and the activation."""
        return f"{self.num_features}, eps={self.eps}" + _act_repr(self)


class PixelNorm(nn.Module):
    """Each pixel's vector of channels over its root mean square, then an activation, in one pass.

    Parameters
    ----------
    eps : float, default 1e-8
        Added to the mean square.
    act, alpha
        As for :func:`fastgan.functional.norm_act`.

    Shape
    -----
    Input ``[N, C, ...]``; output the same.

    Karras et al., "Progressive Growing of GANs for Improved Quality, Stability, and Variation" (2018).
    """

    def __init__(self, eps: float = 1e-8, *, act: str = "linear", alpha: float | None = None) -> None:
        checks.check_choice("PixelNorm", "act", act, ACTIVATIONS)
        super().__init__()
        self.eps, self.act, self.alpha = eps, act, alpha

    def forward(self, input: Tensor) -> Tensor:
        """Return ``act(input / sqrt(mean(input ** 2) + eps))``, the mean over channels."""
        return functional.norm_act(input, eps=self.eps, norm="pixel", act=self.act, alpha=self.alpha)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"eps={self.eps}" + _act_repr(self)
