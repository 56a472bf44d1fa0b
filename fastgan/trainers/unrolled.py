"""The schedule ``unrolled``: the generator foresees how the discriminator will answer it.

L. Metz, B. Poole, D. Pfau, J. Sohl-Dickstein, "Unrolled Generative Adversarial Networks", ICLR 2017.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim import SGD, Adam, Optimizer

from fastgan.distributed import mean_of_processes
from fastgan.nn import PenalizedDiscriminator

from .config import ConfigError, TrainConfig
from .recipe import Recipe

__all__ = ["check_unrolled", "unrolled_loss"]

_State = dict[str, Any]
_Rule = Callable[[Tensor, Tensor, _State, dict[str, Any]], tuple[Tensor, _State]]


def check_unrolled(recipe: Recipe, discriminator: nn.Module, optimizer: Optimizer) -> None:
    """ConfigError where the discriminator's updates cannot be imagined and differentiated."""
    config: TrainConfig = recipe.config
    if not recipe.forward_only:
        raise ConfigError(
            f"schedule=unrolled is not for {recipe.name}, whose losses use more of the generator than its forward"
        )
    if config.accumulate > 1:
        raise ConfigError(f"schedule=unrolled needs whole batches: accumulate must be 1, got {config.accumulate}")
    unknown = ("amsgrad", "decoupled_weight_decay", "maximize")
    if type(optimizer) not in _RULES or any(group.get(name) for group in _groups(optimizer) for name in unknown):
        known = " or ".join(kind.__name__ for kind in _RULES)
        raise ConfigError(f"schedule=unrolled knows the rules of {known}, not this {type(optimizer).__name__}")
    if isinstance(discriminator, PenalizedDiscriminator) and discriminator.penalties and not config.stock:
        raise ConfigError(
            "schedule=unrolled differentiates the discriminator's updates, and those of a fused gradient penalty have "
            "no derivatives; set stock=true"
        )


def unrolled_loss(
    recipe: Recipe,
    generator: nn.Module,
    discriminator: nn.Module,
    optimizer: Optimizer,
    unroll: int,
    images: Tensor,
    labels: Tensor | None,
) -> Tensor:
    """Loss of the generator against the discriminator that would be after ``unroll`` more updates.

    The gradient runs through these updates, the second term of the paper's equation 11. They go by the discriminator's
    own optimiser, from its present state: a step of plain gradient descent at Adam's learning rate would move next to
    nothing. Each takes the real images given and fresh noise. The discriminator, its buffers (power iterations,
    statistics) and its optimiser stay as they are.

    Parameters
    ----------
    recipe : Recipe
        Whose losses are used.
    generator : nn.Module
        As ``Recipe.generator_loss`` takes it; where it is wrapped for data parallelism, the imagined updates call what
        is inside, and take the mean of their gradients over the processes.
    discriminator : nn.Module
        The recipe's own, not wrapped, and checked by ``check_unrolled``.
    optimizer : Optimizer
        The discriminator's.
    unroll : int
        Imagined updates.
    images, labels
        Those of ``Recipe.generator_loss``.

    Returns
    -------
    Tensor
        A scalar.
    """
    imagined = {name: p.detach().requires_grad_() for name, p in discriminator.named_parameters()}
    buffers = {name: buffer.clone() for name, buffer in discriminator.named_buffers()}
    names = {parameter: name for name, parameter in discriminator.named_parameters()}
    groups = {names[p]: group for group in _groups(optimizer) for p in group["params"]}
    states = {names[p]: dict(optimizer.state.get(p, {})) for group in _groups(optimizer) for p in group["params"]}
    rule = _RULES[type(optimizer)]
    calls = getattr(discriminator, "calls", 0)
    attached = _Attached(cast(nn.Module, getattr(generator, "module", generator)))
    # The fused attention kernels have no second derivatives.
    with sdpa_kernel(SDPBackend.MATH):
        for _ in range(unroll):
            loss = _at(
                discriminator, imagined | buffers, lambda d: recipe.discriminator_loss(d, attached, images, labels)
            )
            gradients = torch.autograd.grad(
                loss, [imagined[name] for name in groups], create_graph=True, allow_unused=True
            )
            for name, gradient in zip(groups, gradients, strict=True):
                if gradient is not None:
                    mean = mean_of_processes(gradient)
                    imagined[name], states[name] = rule(imagined[name], mean, states[name], groups[name])
        at = imagined | buffers
        loss = _at(discriminator, at, lambda d: recipe.generator_loss(generator, d, images, labels))
    if isinstance(discriminator, PenalizedDiscriminator):
        discriminator.calls = calls  # by which lazy penalties are due
    return loss


def _groups(optimizer: Optimizer) -> list[dict[str, Any]]:
    return optimizer.param_groups


class _Attached(nn.Module):
    """A generator whose images keep their history, also for a caller who needs none."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, *arguments: Any, **options: Any) -> Any:
        with torch.enable_grad():
            return self.generator(*arguments, **options)


class _Loss(nn.Module):
    """A function of the discriminator as a module, which is what functional_call works on."""

    def __init__(self, discriminator: nn.Module, loss: Callable[[nn.Module], Tensor]) -> None:
        super().__init__()
        self.discriminator = discriminator
        self.loss = loss

    def forward(self) -> Tensor:
        return self.loss(self.discriminator)


def _at(discriminator: nn.Module, tensors: dict[str, Tensor], loss: Callable[[nn.Module], Tensor]) -> Tensor:
    """A loss at other parameters and buffers of the discriminator."""
    at = {f"discriminator.{name}": tensor for name, tensor in tensors.items()}
    return functional_call(_Loss(discriminator, loss), at, ())


def _sgd(parameter: Tensor, gradient: Tensor, state: _State, group: dict[str, Any]) -> tuple[Tensor, _State]:
    gradient = gradient + group["weight_decay"] * parameter
    if group["momentum"]:
        before = state.get("momentum_buffer")
        buffer = gradient if before is None else group["momentum"] * before + (1 - group["dampening"]) * gradient
        state = {"momentum_buffer": buffer}
        gradient = gradient + group["momentum"] * buffer if group["nesterov"] else buffer
    return parameter - group["lr"] * gradient, state


def _adam(parameter: Tensor, gradient: Tensor, state: _State, group: dict[str, Any]) -> tuple[Tensor, _State]:
    beta1, beta2 = group["betas"]
    gradient = gradient + group["weight_decay"] * parameter
    step = float(state.get("step", 0)) + 1
    mean = beta1 * state.get("exp_avg", 0) + (1 - beta1) * gradient
    square = beta2 * state.get("exp_avg_sq", 0) + (1 - beta2) * gradient * gradient
    # Where a gradient has always been zero, the root's derivative is infinite but the step's is not.
    alive = square > 0
    root = square.where(alive, 1).sqrt().where(alive, 0) / (1 - beta2**step) ** 0.5
    moved = parameter - group["lr"] / (1 - beta1**step) * mean / (root + group["eps"])
    return moved, {"step": step, "exp_avg": mean, "exp_avg_sq": square}


_RULES: dict[type[Optimizer], _Rule] = {SGD: _sgd, Adam: _adam}
