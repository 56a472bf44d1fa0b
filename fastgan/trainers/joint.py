"""Random numbers of several processes: drawn for the joint batch by each of them, who keeps its own part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["joint_draws"]


def joint_draws(samples: int, rank: int, world_size: int) -> AbstractContextManager:
    """Within it, what torch draws for a batch of ``samples`` is this process's part of a draw for all processes.

    The processes' generators must be in the same state, and stay so. Then several processes train on what one would
    with all their images in a batch: latents, labels, points of penalties, dropout and augmentations alike, whoever
    draws them. A tensor is a batch's where its first dimension is a multiple of ``samples``; what is not is drawn alike
    everywhere, such as a number for the whole batch. Draws from a generator of their own are left alone.

    Parameters
    ----------
    samples : int
        Images of a process in the batch at hand.
    rank, world_size : int
        This process and the number of processes.

    Returns
    -------
    context manager
    """
    return nullcontext() if world_size == 1 else _JointDraws(samples, rank, world_size)


class _JointDraws(TorchFunctionMode):
    def __init__(self, samples: int, rank: int, world_size: int) -> None:
        super().__init__()
        self.samples, self.rank, self.world_size = samples, rank, world_size

    def __torch_function__(
        self, func: Callable, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        rule = _RULES.get(func)
        if rule is None or kwargs.get("generator") is not None:
            return func(*args, **kwargs)
        return rule(self, func, *args, **kwargs)

    def shares(self, size: Sequence[int]) -> bool:
        return len(size) > 0 and size[0] % self.samples == 0

    def own(self, joint: Tensor) -> Tensor:
        return joint.chunk(self.world_size)[self.rank]

    def repeated(self, tensor: Tensor) -> Tensor:
        """A tensor of the joint batch's shape, in the same layout."""
        return torch.cat([tensor.detach()] * self.world_size)


def _factory(mode: _JointDraws, func: Callable, *args: Any, **kwargs: Any) -> Tensor:
    """rand(*size), rand(size), randint(high, size) and randint(low, high, size)."""
    bounds: tuple[Any, ...] = ()
    if "size" in kwargs:
        bounds, size = args, kwargs.pop("size")
    elif isinstance(args[-1], (tuple, list)):
        bounds, size = args[:-1], args[-1]
    else:
        size = args
    if not mode.shares(size):
        return func(*bounds, size, **kwargs)
    return mode.own(func(*bounds, (mode.world_size * size[0], *size[1:]), **kwargs))


def _like(mode: _JointDraws, func: Callable, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """rand_like(tensor), and bernoulli(tensor), whose every element takes one random number."""
    if not mode.shares(tensor.shape):
        return func(tensor, *args, **kwargs)
    return mode.own(func(mode.repeated(tensor), *args, **kwargs))


def _in_place(mode: _JointDraws, func: Callable, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """tensor.normal_(mean, std) and its like."""
    if not mode.shares(tensor.shape):
        return func(tensor, *args, **kwargs)
    given = [mode.repeated(a) if isinstance(a, Tensor) and a.shape == tensor.shape else a for a in args]
    return tensor.copy_(mode.own(func(mode.repeated(tensor), *given, **kwargs)))


def _dropout(
    mode: _JointDraws, func: Callable, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    if not training or not mode.shares(input.shape):
        return func(input, p, training)
    mask = mode.own(func(torch.ones_like(mode.repeated(input)), p, True))
    return input.mul_(mask) if inplace else input * mask


def _in_turn(mode: _JointDraws, func: Callable, *args: Any, **kwargs: Any) -> Any:
    """One draw for each process: other numbers than one process's, but as many and as independent."""
    return [func(*args, **kwargs) for _ in range(mode.world_size)][mode.rank]


_RULES: dict[Callable, Callable[..., Any]] = {
    **dict.fromkeys((torch.rand, torch.randn, torch.randint), _factory),
    **dict.fromkeys((torch.rand_like, torch.randn_like, torch.randint_like, torch.bernoulli), _like),
    **{
        getattr(Tensor, name): _in_place
        for name in ("normal_", "uniform_", "bernoulli_", "exponential_", "random_", "log_normal_", "cauchy_")
    },
    **dict.fromkeys((F.dropout, F.dropout1d, F.dropout2d, F.dropout3d), _dropout),
    **dict.fromkeys((torch.normal, torch.multinomial, torch.poisson, torch.randperm, F.gumbel_softmax), _in_turn),
    **dict.fromkeys((F.alpha_dropout, F.feature_alpha_dropout, F.rrelu), _in_turn),
}
