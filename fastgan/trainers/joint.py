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
    everywhere, such as a number for the whole batch, and so is noise for half a batch, or with the batch in another
    dimension. Functions that draw by rejection, or draw and compute in one, have numbers of their own in each process,
    whatever their shape. Draws from a generator of their own are left alone.

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
    """rand(*size), rand(size), randint(high, size) and randint(low, high, size), all of them also by names."""
    if "size" in kwargs:
        bounds, size = args, kwargs["size"]
    elif args and isinstance(args[-1], (tuple, list)):
        bounds, size = args[:-1], args[-1]
    else:
        bounds, size = (), args
    if not mode.shares(size):
        return func(*args, **kwargs)
    return mode.own(func(*bounds, **kwargs | {"size": (mode.world_size * size[0], *size[1:])}))


def _like(mode: _JointDraws, func: Callable, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """rand_like(input), and bernoulli(input), whose every element takes one random number."""
    if not mode.shares(input.shape):
        return func(input, *args, **kwargs)
    return mode.own(func(mode.repeated(input), *args, **kwargs))


def _in_place(mode: _JointDraws, func: Callable, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """tensor.normal_(mean, std) and its like."""
    if not mode.shares(tensor.shape):
        return func(tensor, *args, **kwargs)

    def given(argument: Any) -> Any:
        is_batch = isinstance(argument, Tensor) and argument.shape[:1] == tensor.shape[:1]
        return mode.repeated(argument) if is_batch and argument.dim() == tensor.dim() else argument

    joint = func(mode.repeated(tensor), *map(given, args), **{name: given(value) for name, value in kwargs.items()})
    return tensor.copy_(mode.own(joint))


def _dropout(
    mode: _JointDraws, func: Callable, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    if not training or not mode.shares(input.shape):
        return func(input, p, training, inplace)
    mask = mode.own(func(torch.ones_like(mode.repeated(input)), p, True))
    return input.mul_(mask) if inplace else input * mask


def _apart(mode: _JointDraws, func: Callable, *args: Any, **kwargs: Any) -> Any:
    """Drawn with a seed of this process's own: other numbers than one process's, but as many and as independent.

    How many numbers such a function takes may depend on its input, so none are taken from the shared generators but the
    seeds.
    """
    seeds = torch.randint(2**62, (mode.world_size,))
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(int(seeds[mode.rank]))
        return func(*args, **kwargs)


def _apart_if(*switches: tuple[int, str, Any]) -> Callable[..., Any]:
    """As ``_apart`` where all the arguments of these positions, names and defaults say that something is drawn."""

    def rule(mode: _JointDraws, func: Callable, *args: Any, **kwargs: Any) -> Any:
        given = [args[place] if place < len(args) else kwargs.get(name, default) for place, name, default in switches]
        return _apart(mode, func, *args, **kwargs) if all(given) else func(*args, **kwargs)

    return rule


_RULES: dict[Callable, Callable[..., Any]] = {
    **dict.fromkeys((torch.rand, torch.randn, torch.randint), _factory),
    **dict.fromkeys((torch.rand_like, torch.randn_like, torch.randint_like), _like),
    **dict.fromkeys((torch.bernoulli, Tensor.bernoulli), _like),
    **{
        getattr(Tensor, f"{name}_"): _in_place
        for name in (
            "normal", "uniform", "bernoulli", "exponential", "random", "log_normal", "cauchy", "geometric",
        )
    },
    **dict.fromkeys((F.dropout, F.dropout1d, F.dropout2d, F.dropout3d), _dropout),
    **dict.fromkeys((torch.normal, torch.multinomial, Tensor.multinomial, torch.poisson, torch.binomial), _apart),
    **dict.fromkeys((torch._standard_gamma, torch._sample_dirichlet, torch.randperm, F.gumbel_softmax), _apart),
    **dict.fromkeys((F.alpha_dropout, F.feature_alpha_dropout), _apart_if((2, "training", False))),
    **dict.fromkeys((torch.dropout, torch.dropout_, torch.feature_dropout, torch.feature_dropout_,
                     torch.alpha_dropout, torch.alpha_dropout_, torch.feature_alpha_dropout,
                     torch.feature_alpha_dropout_), _apart_if((2, "train", True))),
    **dict.fromkeys((F.rrelu, torch.rrelu, torch.rrelu_), _apart_if((3, "training", False))),
    F.scaled_dot_product_attention: _apart_if((4, "dropout_p", 0.0)),
    F.multi_head_attention_forward: _apart_if((10, "dropout_p", 0.0), (13, "training", True)),
}  # fmt: skip
