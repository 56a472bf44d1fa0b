"""Convolutions with the upsampling before them, or the pooling after them, in one module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fastgan import functional
from fastgan.functional.resampling import convolution_padding
from fastgan.ops import checks

__all__ = ["ConvAvgPool2d", "UpsampleConv2d"]


class _ResamplingConv2d(nn.Conv2d):
    """A convolution that takes the place of a two-module ``nn.Sequential``, and loads its state dict.

    Subclasses set `_position`, that of the convolution in the stock pair.
    """

    _position: str

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        *,
        padding: str | int | tuple[int, int] = "same",
        groups: int = 1,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            padding=padding,
            groups=groups,
            bias=bias,
            device=device,
            dtype=dtype,
        )
        convolution_padding(type(self).__name__, self.padding, self.weight)  # raises for a wrong one

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        stock = f"{prefix}{self._position}."
        if not any(key in state_dict for key in (f"{prefix}weight", f"{prefix}parametrizations.weight.original")):
            for key in [key for key in state_dict if key.startswith(stock)]:
                state_dict[prefix + key.removeprefix(stock)] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *args)

    @classmethod
    def _take_over(cls, conv: nn.Conv2d) -> Any:
        """A module with the parameters and parametrizations of `conv`."""
        name = cls.__name__
        if conv.stride != (1, 1) or conv.dilation != (1, 1) or conv.padding_mode != "zeros":
            raise ValueError(
                f"{name}.from_stock: the convolution must have stride 1, dilation 1 and zero padding, got {conv}"
            )
        if parametrize.type_before_parametrizations(conv) is not nn.Conv2d:
            raise ValueError(f"{name}.from_stock: the convolution must be a torch.nn.Conv2d itself, got {type(conv)}")
        hooks = (conv._forward_pre_hooks, conv._forward_hooks, conv._backward_hooks, conv._backward_pre_hooks)
        if any(hooks):
            raise ValueError(f"{name}.from_stock: the convolution must have no hooks, which would be lost")
        weight = next(conv.parameters())
        module = cls(
            conv.in_channels, conv.out_channels, cast("tuple[int, int]", conv.kernel_size),
            padding=cast("tuple[int, int]", conv.padding), groups=conv.groups, bias=conv.bias is not None,
            device="meta", dtype=weight.dtype,
        )  # fmt: skip
        if parametrize.is_parametrized(conv):
            parametrizations = cast(nn.ModuleDict, conv.parametrizations)
            # Both looking at the weight and registering run the parametrizations: their state is put back.
            state = {key: value.clone() for key, value in parametrizations.state_dict().items()}
            with torch.no_grad():
                module.to_empty(device=weight.device)
                for tensor_name in parametrizations:
                    getattr(module, tensor_name).copy_(getattr(conv, tensor_name))
            parametrize.transfer_parametrizations_and_params(conv, module)
            parametrizations.load_state_dict(state)
        for parameter, tensor in conv.named_parameters(recurse=False):
            module.register_parameter(parameter, cast(nn.Parameter, tensor))
        return module.train(conv.training)


class UpsampleConv2d(_ResamplingConv2d):
    """Nearest upsampling and a convolution: ``nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(...))``.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, groups, bias, device, dtype
        As for :class:`torch.nn.Conv2d`.
    scale_factor, mode, padding
        As for :func:`fastgan.functional.upsample_conv2d`; ``mode="fir"`` takes its default filter.

    Shape
    -----
    Input ``[N, in_channels, H, W]``; output ``[N, out_channels, scale_factor * H, scale_factor * W]`` for
    ``padding="same"``. The state dict is the convolution's; that of the stock pair loads too.
    """

    _position = "1"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        *,
        scale_factor: int = 2,
        mode: str = "nearest",
        padding: str | int | tuple[int, int] = "same",
        groups: int = 1,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size,
            padding=padding, groups=groups, bias=bias, device=device, dtype=dtype,
        )  # fmt: skip
        _check_factor("UpsampleConv2d", "scale_factor", scale_factor)
        checks.check_choice("UpsampleConv2d", "mode", mode, ("nearest", "fir"))
        self.scale_factor, self.mode = scale_factor, mode

    @classmethod
    def from_stock(cls, sequential: nn.Sequential) -> UpsampleConv2d:
        """Take over an ``nn.Sequential`` of a nearest upsampling by 2 and a convolution, its parameters included.

        Parameters are shared, not copied; parametrizations such as spectral norm come along.

        Raises
        ------
        ValueError
            For other modules, upsamplings or convolutions than these.
        """
        upsample, conv = _pair(cls.__name__, sequential, (nn.Upsample, nn.Conv2d))
        factors = upsample.scale_factor
        if upsample.mode != "nearest" or factors not in (2, (2, 2)) or upsample.size is not None:
            raise ValueError(f"UpsampleConv2d.from_stock: the upsampling must be nearest and by 2, got {upsample}")
        return cls._take_over(conv)

    def forward(  # type: ignore[override]
        self,
        input: Tensor,
        return_statistics: bool = False,
        *,
        residual: Tensor | None = None,
        norm: Mapping[str, Any] | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Return the convolution of the upsampled input, plus a residual, with statistics where those are asked for.

        `norm`, arguments of ``functional.norm_act_upsample_conv2d``, normalises and activates the input before.
        """
        function = functional.upsample_conv2d if norm is None else functional.norm_act_upsample_conv2d
        return function(
            input, self.weight, self.bias, scale_factor=self.scale_factor, mode=self.mode,
            padding=self.padding, groups=self.groups, residual=residual, return_statistics=return_statistics,
            **(norm or {}),
        )  # fmt: skip

    def extra_repr(self) -> str:
        """The convolution's, and the upsampling."""
        return f"{super().extra_repr()}, scale_factor={self.scale_factor}, mode={self.mode!r}"


class ConvAvgPool2d(_ResamplingConv2d):
    """A convolution and an average pooling: ``nn.Sequential(nn.Conv2d(...), nn.AvgPool2d(2))``.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, groups, bias, device, dtype
        As for :class:`torch.nn.Conv2d`.
    pool_size : int, default 2
        Of the pooling: `kernel_size` of :func:`fastgan.functional.conv2d_avg_pool2d`.
    padding
        As for :func:`fastgan.functional.conv2d_avg_pool2d`.

    Shape
    -----
    Input ``[N, in_channels, H, W]``; output ``[N, out_channels, H // pool_size, W // pool_size]`` for
    ``padding="same"``. The state dict is the convolution's; that of the stock pair loads too.
    """

    _position = "0"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        *,
        pool_size: int = 2,
        padding: str | int | tuple[int, int] = "same",
        groups: int = 1,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size,
            padding=padding, groups=groups, bias=bias, device=device, dtype=dtype,
        )  # fmt: skip
        _check_factor("ConvAvgPool2d", "pool_size", pool_size)
        self.pool_size = pool_size

    @classmethod
    def from_stock(cls, sequential: nn.Sequential) -> ConvAvgPool2d:
        """Take over an ``nn.Sequential`` of a convolution and an average pooling by 2, as ``UpsampleConv2d`` does.

        Raises
        ------
        ValueError
            For other modules, poolings or convolutions than these.
        """
        conv, pool = _pair(cls.__name__, sequential, (nn.Conv2d, nn.AvgPool2d))
        sizes = (pool.kernel_size, pool.stride)
        if any(size not in (2, (2, 2)) for size in sizes) or pool.padding not in (0, (0, 0)) or pool.divisor_override:
            raise ValueError(f"ConvAvgPool2d.from_stock: the pooling must be AvgPool2d(2), got {pool}")
        if pool.ceil_mode:
            raise ValueError("ConvAvgPool2d.from_stock: the pooling must have ceil_mode=False, got True")
        return cls._take_over(conv)

    def forward(self, input: Tensor, act: str = "linear", alpha: float | None = None) -> Tensor:
        """Return the pooled convolution of input, or of its activation."""
        return functional.conv2d_avg_pool2d(
            input, self.weight, self.bias, kernel_size=self.pool_size, padding=self.padding, groups=self.groups,
            act=act, alpha=alpha,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """The convolution's, and the pooling."""
        return f"{super().extra_repr()}, pool_size={self.pool_size}"


def _check_factor(name: str, argument: str, given: int) -> None:
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise ValueError(f"{name}: {argument} must be an integer of at least 1, got {given!r}")


def _pair(name: str, sequential: nn.Sequential, kinds: Sequence[type[nn.Module]]) -> tuple[Any, Any]:
    modules = list(sequential) if isinstance(sequential, nn.Sequential) else []
    if len(modules) != 2 or not all(isinstance(m, kind) for m, kind in zip(modules, kinds, strict=True)):
        expected = ", ".join(kind.__name__ for kind in kinds)
        raise ValueError(f"{name}.from_stock: expected nn.Sequential({expected}), got {sequential}")
    return modules[0], modules[1]
