"""Penalised updates of whole discriminators against stock double backward.

An update is the forward, the loss, the penalty and all gradients of the parameters, on the penalised batch, and in the
cases "with fakes" those of the other half of the batch besides, which no penalty looks at. torch.compile is no peer: it
does not differentiate twice. A plain step stands beside each network's, for what a penalty adds to it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fastgan.functional import gradient_penalty
from fastgan.models.layers import fast_layers, stock_layers
from fastgan.models.sngan import SNGANDiscriminator
from fastgan.nn import PenalizedDiscriminator
from fastgan.penalties import R1, R2, WGANGP

from ..case import FORWARD, LAYOUTS, Bind, Bound, Case, Side
from ..critics import DCGAN, R3GAN, SLOPE

__all__ = ["cases"]

Inputs = tuple[Tensor, ...]
#: The discriminator's calls and the scalars to add up: ``update(module, real, fake, *conditions)``.
Update = Callable[..., tuple[Tensor, Tensor]]

CLASSES = 10
GAMMA, WEIGHT = 10.0, 10.0
_SUFFIX = {torch.contiguous_format: "", torch.channels_last: " channels_last"}


@dataclass(frozen=True)
class _Network:
    """A discriminator, of torch's layers or of fastgan's, and the images that it takes."""

    name: str
    make: Callable[[bool], nn.Module]
    size: int
    batch: int
    labelled: bool = False

    @functools.cached_property
    def state(self) -> dict[str, Tensor]:
        """What all sides start with."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.make(False).state_dict()

    @functools.cached_property
    def flops(self) -> int:
        """Of one pass over the batch."""
        images, *labels = (each.to("meta") for each in self.inputs()[1:])
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            self.make(False).to("meta")(images, *labels)
        return counter.get_total_flops()

    def inputs(self) -> Inputs:
        """Real and generated images, and labels where there are any."""
        generator = torch.Generator().manual_seed(0)
        shape = (self.batch, 3, self.size, self.size)
        # Of different brightness: the gradients of equal halves would cancel.
        images = [torch.rand(shape, generator=generator) * 2 - 1 + shift for shift in (0.5, -0.5)]
        return (*images, *((torch.arange(self.batch) % CLASSES,) if self.labelled else ()))


def _double_backward(net: nn.Module, x: Tensor, conditions: Inputs) -> tuple[Tensor, Tensor]:
    """Stock: the output and its gradient, to be differentiated again."""
    x = x.detach().requires_grad_()
    out = net(x, *conditions)
    (gradient,) = torch.autograd.grad(out.sum(), x, create_graph=True)
    return out, gradient.flatten(1)


def _stock_r1(net: nn.Module, real: Tensor, fake: Tensor, *labels: Tensor) -> tuple[Tensor, Tensor]:
    out, gradient = _double_backward(net, real, labels)
    return F.softplus(-out).mean(), GAMMA / 2 * gradient.square().sum(1).mean()


def _stock_r1_with_fakes(net: nn.Module, real: Tensor, fake: Tensor, *labels: Tensor) -> tuple[Tensor, Tensor]:
    loss, penalty = _stock_r1(net, real, fake, *labels)
    return loss + F.softplus(net(fake, *labels)).mean(), penalty


def _stock_r1_r2(net: nn.Module, real: Tensor, fake: Tensor, *labels: Tensor) -> tuple[Tensor, Tensor]:
    (out, of_real), (fake_out, of_fake) = (_double_backward(net, x, labels) for x in (real, fake))
    penalty = GAMMA / 2 * (of_real.square().sum(1).mean() + of_fake.square().sum(1).mean())
    return F.softplus(fake_out - out).mean(), penalty


def _stock_wgan_gp(net: nn.Module, real: Tensor, fake: Tensor, *labels: Tensor) -> tuple[Tensor, Tensor]:
    _, gradient = _double_backward(net, real, labels)
    penalty = WEIGHT * (gradient.norm(2, dim=1) - 1).square().mean()
    return torch.zeros_like(penalty), penalty


def _plain(net: nn.Module, real: Tensor, fake: Tensor, *labels: Tensor) -> tuple[Tensor, Tensor]:
    loss = F.softplus(-net(real, *labels)).mean()
    return loss, torch.zeros_like(loss)


def _r1(module: nn.Module, real: Tensor, fake: Tensor, *labels: Tensor) -> tuple[Tensor, Tensor]:
    out, penalty = module(real, *labels)
    return F.softplus(-out).mean(), penalty


def _r1_with_fakes(module: nn.Module, real: Tensor, fake: Tensor, *labels: Tensor) -> tuple[Tensor, Tensor]:
    out, fake_out, penalty = module(real, *labels, fake=fake)
    return F.softplus(-out).mean() + F.softplus(fake_out).mean(), penalty


def _r1_r2(module: nn.Module, real: Tensor, fake: Tensor, *labels: Tensor) -> tuple[Tensor, Tensor]:
    out, fake_out, penalty = module(real, *labels, fake=fake)
    return F.softplus(fake_out - out).mean(), penalty


def _wgan_gp(net: nn.Module, real: Tensor, fake: Tensor, *labels: Tensor) -> tuple[Tensor, Tensor]:
    """At given points: which ones are drawn does not change the time, and all sides must see the same."""
    penalty = gradient_penalty(net, real, *labels, penalty=WGANGP(WEIGHT, points="real"))
    return torch.zeros_like(penalty), penalty


@dataclass(frozen=True)
class _Kind:
    """Our update and the stock one, the least passes over the batch, and what wraps the discriminator in ours."""

    name: str
    ours: Update
    stock: Update
    passes: int
    wrap: Callable[[nn.Module], nn.Module] = lambda net: net


KINDS = [
    _Kind("R1", _r1, _stock_r1, 4, lambda net: PenalizedDiscriminator(net, R1(GAMMA))),
    _Kind("R1 with fakes", _r1_with_fakes, _stock_r1_with_fakes, 7, lambda net: PenalizedDiscriminator(net, R1(GAMMA))),
    _Kind("R1 + R2", _r1_r2, _stock_r1_r2, 8, lambda net: PenalizedDiscriminator(net, [R1(GAMMA), R2(GAMMA)])),
    _Kind("WGAN-GP's penalty alone", _wgan_gp, _stock_wgan_gp, 4),
]
PLAIN = _Kind("plain step", _plain, _plain, 3)


def _bind(
    network: _Network, update: Update, fast: bool, layout: torch.memory_format, wrap: Callable[[nn.Module], nn.Module]
) -> Bind:
    def bound(inputs: Inputs) -> Bound:
        net = network.make(fast)
        net.load_state_dict(network.state)
        net.to(inputs[0].device, inputs[0].dtype).to(memory_format=layout)
        module, parameters = wrap(net), list(net.parameters())

        @torch.enable_grad()
        def step(*given: Tensor) -> Inputs:
            loss, penalty = update(module, *given)
            gradients = torch.autograd.grad(loss + penalty, parameters, allow_unused=True)
            # A single element's kink may lie within rounding, so gradients are compared by their norms.
            norms = [0 * loss.double() if g is None else g.norm(dtype=torch.float64) for g in gradients]
            return loss.detach(), penalty.detach(), torch.stack(norms)

        return Bound(step, inputs, ())

    return bound


def _case(network: _Network, kind: _Kind, fast: bool, overhead: bool = False, quick: bool = False) -> Case:
    layers = "fastgan's" if fast else "torch's"

    def sides(name: str, update: Update, fast: bool, wrap: Callable[[nn.Module], nn.Module]) -> list[Side]:
        return [Side(name + _SUFFIX[layout], _bind(network, update, fast, layout, wrap), layout) for layout in LAYOUTS]

    workload: dict[str, Any] = {
        "network": network.name, "shape": [network.batch, 3, network.size, network.size], "update": kind.name,
        "layers": layers, "dtype": "torch.float32",
    }  # fmt: skip
    values = sum(value.numel() for value in network.state.values())
    return Case(
        family="penalties",
        name=f"{network.name}, batch {network.batch}, {kind.name}, {layers} layers",
        workload=workload,
        inputs=network.inputs,
        ours=sides("fastgan", kind.ours, fast, kind.wrap),
        peers=sides("eager", kind.stock, False, lambda net: net),
        reference=_bind(network, kind.stock, False, torch.contiguous_format, lambda net: net),
        dtype=torch.float32,
        # The images, and each parameter with its gradient.
        bytes={FORWARD: 4 * (network.batch * 3 * network.size**2 + 2 * values)},
        flops={FORWARD: kind.passes * network.flops},
        modes=(FORWARD,),
        overhead=overhead,
        quick=quick,
    )


def _sngan(channels: int, fast: bool) -> nn.Module:
    layers = fast_layers() if fast else stock_layers()
    return SNGANDiscriminator(channels, num_classes=CLASSES, layers=layers)


def _networks(large: bool) -> list[_Network]:
    return [
        _Network("DCGAN-64 D", functools.partial(_dcgan, 64), 64, 64 if large else 16),
        _Network("SNGAN-32 D", functools.partial(_sngan, 128), 32, 64 if large else 8, labelled=True),
        _Network("R3GAN-like D", functools.partial(_r3gan, (96, 192, 192), (12, 24, 24)), 32, 64 if large else 8),
    ]


def _dcgan(channels: int, fast: bool) -> nn.Module:
    net = DCGAN(channels, fast)
    for layer in net:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, SLOPE)  # torch's own numbers make all outputs nearly zero
    return net


def _r3gan(widths: Sequence[int], groups: Sequence[int], fast: bool) -> nn.Module:
    return R3GAN(widths, groups, fast)


def cases(device: torch.device) -> list[Case]:
    """Each update of each network, with either set of layers; each network's plain step; and a network of nothing."""
    networks = _networks(device.type == "cuda")
    tiny = _Network("tiny DCGAN D", functools.partial(_dcgan, 1), 64, 2)
    return [
        *(
            _case(network, kind, fast, quick=kind.name == "R1")
            for network in networks
            for kind in (*KINDS, PLAIN)
            for fast in (False, True)
        ),
        _case(tiny, KINDS[0], False, overhead=True, quick=True),
    ]
