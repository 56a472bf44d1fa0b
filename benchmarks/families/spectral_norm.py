"""Spectral norm against torch's: the weights of whole networks, and what it adds to a discriminator's step.

The first cases give fresh normalised weights and fresh gradients, as torch's parametrisation does. The others are steps
(forward, then backward to all parameters) of networks whose layers are free to do without either.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import _SpectralNorm

from fastgan.functional import spectral_norm_group
from fastgan.models.attention import SelfAttention
from fastgan.models.biggan import BigGANDiscriminator
from fastgan.models.layers import Layers, stock_layers
from fastgan.models.sngan import SNGANDiscriminator
from fastgan.nn import SNConv2d, SNEmbedding, SNLinear
from fastgan.nn.utils import group_spectral_norm, spectral_norm

from ..case import BACKWARD, FORWARD, Bind, Bound, Case, Side
from ..modules import loaded, on_meta

__all__ = ["cases"]

Inputs = tuple[Tensor, ...]
STOCK = stock_layers()
#: What must pass: W for W v, for Wᵀ u and to write Ŵ; then G and Ŵ or W for their product, and G to write dW.
PASSES = {FORWARD: 4, BACKWARD: 8}
#: A product and a sum for each of W v, Wᵀ u and ⟨G, Ŵ⟩; one division; dW takes a product, a difference and a division.
OPERATIONS = {FORWARD: 5, BACKWARD: 10}


def _unit(length: int, generator: torch.Generator) -> Tensor:
    vector = torch.randn(length, generator=generator)
    return vector / vector.norm()


def _weight(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator) * (shape[0] / math.prod(shape)) ** 0.5


# --- Weights alone ----------------------------------------------------------------------------------------------------


def _weights_inputs(shapes: Sequence[torch.Size]) -> Inputs:
    """All weights, then all u, then all v: not converged, so that the iteration is part of what is compared."""
    generator = torch.Generator().manual_seed(0)
    weights = [_weight(shape, generator).requires_grad_() for shape in shapes]
    us = [_unit(shape[0], generator) for shape in shapes]
    vs = [_unit(math.prod(shape[1:]), generator) for shape in shapes]
    return (*weights, *us, *vs)


def _members(inputs: Inputs) -> tuple[Inputs, Inputs, Inputs]:
    n = len(inputs) // 3
    return inputs[:n], inputs[n : 2 * n], inputs[2 * n :]


class _Parametrizations(nn.Module):
    """torch's parametrisations of weights that are arguments."""

    def __init__(self, weights: Inputs, us: Inputs, vs: Inputs) -> None:
        super().__init__()
        # Made without memory: the 15 iterations of the constructor would be lost anyway.
        self.norms = nn.ModuleList(_SpectralNorm(weight.to("meta")) for weight in weights)
        for norm, u, v in zip(self.norms, us, vs, strict=True):
            norm._u, norm._v = u, v

    def forward(self, *weights: Tensor) -> Inputs:
        return tuple(norm(weight) for norm, weight in zip(self.norms, weights, strict=True))


def _stock(inputs: Inputs) -> Bound:
    weights, us, vs = _members(inputs)
    return Bound(_Parametrizations(weights, us, vs), weights, weights)


def _grouped(inputs: Inputs) -> Bound:
    weights, us, vs = _members(inputs)

    def normalize(*weights: Tensor) -> Inputs:
        normalized, _, new_us, new_vs = spectral_norm_group(weights, us, vs)
        with torch.no_grad():  # torch's buffers are written too
            torch._foreach_copy_([*us, *vs], [*new_us, *new_vs])
        return tuple(normalized)

    return Bound(normalize, weights, weights)


def _weights_case(name: str, shapes: Sequence[torch.Size], overhead: bool = False) -> Case:
    n = sum(map(math.prod, shapes))
    return Case(
        family="spectral_norm",
        name=name,
        workload={"shapes": [list(shape) for shape in shapes], "dtype": "torch.float32", "n_power_iterations": 1},
        inputs=functools.partial(_weights_inputs, shapes),
        ours=[Side("fastgan", _grouped)],
        peers=[Side("eager", _stock), Side("compile", _stock, compiled=True)],
        reference=_stock,
        dtype=torch.float32,
        bytes={mode: passes * n * torch.float32.itemsize for mode, passes in PASSES.items()},
        flops={mode: operations * n for mode, operations in OPERATIONS.items()},
        overhead=overhead,
        quick=True,
    )


# --- Steps of whole networks ------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Network:
    """A discriminator as it is published, and a batch for it."""

    name: str
    build: Callable[[Layers], nn.Module]
    size: int
    labelled: bool

    @functools.cached_property
    def state(self) -> dict[str, torch.Size]:
        """The state dict's keys with torch's parametrisation, which all kinds share, and the shapes."""
        return {key: tensor.shape for key, tensor in on_meta(lambda: self.build(STOCK)).state_dict().items()}

    @functools.cached_property
    def weights(self) -> list[torch.Size]:
        """The shapes of what is normalised."""
        return [shape for key, shape in self.state.items() if key.endswith(".original")]

    def load(self, layers: Layers, inputs: Inputs) -> tuple[nn.Module, Inputs]:
        """The network with inputs as its parameters and buffers, and the rest of them: images and labels."""
        n_data = len(inputs) - len(self.state)
        return loaded(lambda: self.build(layers), list(self.state), inputs[n_data:]), inputs[:n_data]


SNGAN = _Network("SNGAN-32 D", lambda layers: SNGANDiscriminator(layers=layers), 32, labelled=False)
BIGGAN = _Network("BigGAN-128 D", lambda layers: BigGANDiscriminator(layers=layers), 128, labelled=True)


def _initial(key: str, shape: torch.Size, generator: torch.Generator) -> Tensor:
    if key.endswith((".0._u", ".0._v")):
        return _unit(shape[0], generator)
    if key.endswith(".original"):
        return _weight(shape, generator).requires_grad_()
    # Biases, and attention's gain: near its initial 0, where its weights would have no gradients.
    return torch.full(shape, 1e-3 if key.endswith("gamma") else 0.0).requires_grad_()


def _network_inputs(network: _Network, batch: int) -> Inputs:
    """Images, labels where there are any, and the state in the order of its keys."""
    generator = torch.Generator().manual_seed(0)
    data: Inputs = (torch.rand(batch, 3, network.size, network.size, generator=generator) * 2 - 1,)
    if network.labelled:
        data += (torch.arange(batch),)
    inputs = (*data, *(_initial(key, shape, generator) for key, shape in network.state.items()))
    _leave_kinks(network, inputs)
    return inputs


@torch.no_grad()
def _leave_kinks(network: _Network, inputs: Inputs) -> None:
    """Shift biases by thousandths until no rectifier's argument lies so near 0 that rounding decides its sign.

    Where it does, float32 and float64 differentiate two different functions, and gradients differ by percents.
    """

    def shift(bias: Tensor) -> Callable[[nn.Module, object, Tensor], Tensor]:
        def hook(module: nn.Module, arguments: object, output: Tensor) -> Tensor:
            peak = output.abs().max()
            shifts = torch.zeros_like(bias)
            while True:
                shifted = output + shifts[:, None, None]
                near = shifted.abs().amin((0, 2, 3)) < 1e-5 * peak
                if not near.any():
                    bias.add_(shifts)
                    return shifted
                shifts[near] += 1e-3 * peak

        return hook

    # A forward writes u and v.
    module, data = network.load(STOCK, tuple(tensor.clone() for tensor in inputs))
    assert isinstance(module.blocks, nn.Sequential)
    previous: nn.Module = module.blocks[0]
    for block in module.blocks:
        if isinstance(block, SelfAttention):
            block.register_forward_hook(shift(previous.get_parameter("conv2.bias")))
        else:
            block.get_submodule("conv1").register_forward_hook(shift(block.get_parameter("conv1.bias")))
            block.register_forward_hook(shift(block.get_parameter("conv2.bias")))
            previous = block
    module(*data)
    for value, (key, tensor) in zip(inputs[len(data) :], module.state_dict().items(), strict=True):
        if key.endswith("bias"):
            value.copy_(tensor)


def _loss(module: nn.Module) -> Callable[..., Tensor]:
    """A critic's loss on a batch of one kind: all logits pull the same way, so that little cancels in the sums."""
    return lambda *data: module(*data).mean()


def _step(network: _Network, layers: Layers) -> Bind:
    """The network built from `layers`."""

    def bind(inputs: Inputs) -> Bound:
        module, data = network.load(layers, inputs)
        state = module.state_dict(keep_vars=True)  # the parameters themselves, whatever the layers call them
        # The state holds buffers too.
        wanted = (state[key] for key in network.state if isinstance(state[key], nn.Parameter))
        return Bound(_loss(module), data, tuple(wanted))

    return bind


def _without_norm(network: _Network) -> Bind:
    """The network with its normalised weights as plain parameters."""

    def bind(inputs: Inputs) -> Bound:
        module, data = network.load(STOCK, inputs)
        for layer in list(module.modules()):
            if parametrize.is_parametrized(layer, "weight"):
                parametrize.remove_parametrizations(layer, "weight")  # after one more iteration, like the first call
        return Bound(_loss(module), data, tuple(module.parameters()))

    return bind


def _spectral_layer(module: nn.Module) -> nn.Module:
    """The layer of fastgan in place of torch's, for a state that is loaded afterwards."""
    if isinstance(module, nn.Conv2d):
        bias, padding = module.bias is not None, cast(int, module.padding)
        return SNConv2d(module.in_channels, module.out_channels, module.kernel_size, padding=padding, bias=bias)
    if isinstance(module, nn.Linear):
        return SNLinear(module.in_features, module.out_features)
    assert isinstance(module, nn.Embedding)
    return SNEmbedding(module.num_embeddings, module.embedding_dim)


# Only the norm differs from the stock layers.
GROUPED = dataclasses.replace(STOCK, group_spectral_norm=group_spectral_norm)
GROUPED_LAYERS = dataclasses.replace(GROUPED, spectral_norm=_spectral_layer)
EACH_WEIGHT = dataclasses.replace(STOCK, spectral_norm=spectral_norm)


def _step_case(network: _Network, batch: int, quick: bool) -> Case:
    n = sum(map(math.prod, network.weights))
    stock = _step(network, STOCK)
    return Case(
        family="spectral_norm",
        name=f"step of {network.name}, batch {batch}",
        workload={"network": network.name, "batch": batch, "weights": n, "dtype": "torch.float32"},
        inputs=functools.partial(_network_inputs, network, batch),
        ours=[
            Side("fastgan's layers, grouped", _step(network, GROUPED_LAYERS)),
            Side("torch's layers, grouped", _step(network, GROUPED)),
            Side("fastgan, each weight", _step(network, EACH_WEIGHT)),
        ],
        peers=[Side("eager", stock), Side("compile", stock, compiled=True)],
        reference=stock,
        dtype=torch.float32,
        # The norm's alone, like the time.
        bytes={BACKWARD: PASSES[BACKWARD] * n * torch.float32.itemsize},
        flops={BACKWARD: OPERATIONS[BACKWARD] * n},
        modes=(BACKWARD,),
        quick=quick,
        baseline=Side("without the norm", _without_norm(network)),
    )


def cases(device: torch.device) -> list[Case]:
    """The cases, with larger batches on a GPU; the first is the one that the project states a target for.

    The norm costs the same whatever the batch; beside a small one it is not lost in the noise of the convolutions.
    """
    on_gpu = device.type == "cuda"
    return [
        *(_weights_case(f"weights of {network.name}", network.weights) for network in (BIGGAN, SNGAN)),
        _weights_case("64x3x3x3", [torch.Size((64, 3, 3, 3))], overhead=True),
        _step_case(SNGAN, 64 if on_gpu else 2, quick=True),
        _step_case(BIGGAN, 16 if on_gpu else 2, quick=False),
    ]
