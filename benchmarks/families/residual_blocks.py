"""The residual blocks against stock ones, and the step of a whole GAN built of them."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastgan.models.blocks import ConditionalBatchNormReLU, StockResBlockDown, StockResBlockUp
from fastgan.models.layers import Layers, fast_layers, stock_layers
from fastgan.models.sngan import SNGANDiscriminator, SNGANGenerator

from ..case import BACKWARD, FORWARD, LAYOUTS, Bind, Bound, Case, Side
from ..modules import loaded, on_meta

__all__ = ["cases"]

Inputs = tuple[Tensor, ...]
CLASSES = 10
_SUFFIX = {torch.contiguous_format: "", torch.channels_last: " channels_last"}


def _unwrapped(module: nn.Module) -> nn.Module:
    return module


def _make(layers: Layers, up: bool, c_in: int, c_out: int) -> nn.Module:
    if not up:
        return layers.block_down(c_in, c_out, wrap=_unwrapped)
    return layers.block_up(c_in, c_out, norm=functools.partial(layers.batch_norm, num_classes=CLASSES), wrap=_unwrapped)


def _initial(key: str, shape: torch.Size, generator: torch.Generator) -> Tensor:
    if "num_batches" in key:
        return torch.zeros(shape, dtype=torch.int64)
    if "running" in key:
        return torch.ones(shape) if "var" in key else torch.zeros(shape)
    scale = shape[1:].numel() ** -0.5 if len(shape) == 4 else 0.3
    offset = 1.0 if ".weight.weight" in key else 0.0
    return (torch.randn(shape, generator=generator) * scale + offset).requires_grad_()


@torch.no_grad()
def _leave_kinks(block: nn.Module, x: Tensor, labels: Inputs) -> None:
    """Move what rectifiers see by thousandths until nothing lies so near 0 that rounding decides its sign.

    Where it does, float32 and float64 differentiate two different functions.
    """

    def leave(values: Callable[[], Tensor], bias: Tensor) -> None:
        while (near := values().abs().amin((0, 2, 3)) < 2e-6).any():
            bias[..., near] += 1e-3

    if isinstance(block, StockResBlockDown):
        x += 1e-3 * (x.abs() < 1e-5)
        leave(lambda: block.conv1(F.relu(x)), block.conv1.bias)
        return
    assert isinstance(block, StockResBlockUp)
    # The rectifiers work in place on what the norms give.
    for norm, values in (
        (block.norm1, lambda: x),
        (block.norm2, lambda: block.conv1(F.interpolate(block.norm1(x, *labels), scale_factor=2))),
    ):
        before = values()
        assert isinstance(norm, ConditionalBatchNormReLU)
        plain = functools.partial(_before_relu, norm, before, *labels)
        leave(plain, norm.bias.weight)


def _before_relu(norm: ConditionalBatchNormReLU, x: Tensor, labels: Tensor) -> Tensor:
    scale, shift = norm.weight(labels)[:, :, None, None], norm.bias(labels)[:, :, None, None]
    return torch.addcmul(shift, F.batch_norm(x, None, None, training=True), scale)


def _block_case(up: bool, batch: int, c_in: int, c_out: int, size: int, overhead: bool = False) -> Case:
    keys = {k: v.shape for k, v in on_meta(lambda: _make(stock_layers(), up, c_in, c_out)).state_dict().items()}

    def inputs() -> Inputs:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(batch, c_in, size, size, generator=generator)
        labels = (torch.arange(batch) % CLASSES,) if up else ()
        state = [_initial(key, shape, generator) for key, shape in keys.items()]
        exact = [v.detach().double() if v.is_floating_point() else v.clone() for v in state]
        block = loaded(lambda: _make(stock_layers(), up, c_in, c_out), list(keys), exact)
        wide = x.double()
        _leave_kinks(block, wide, labels)
        for value, moved in zip(state, block.state_dict().values(), strict=True):
            if value.requires_grad:
                value.data.copy_(moved)
        return (wide.float().requires_grad_(), *labels, *state)

    def bind(layers: Layers) -> Bind:
        def bound(given: Inputs) -> Bound:
            n_data = 1 + up
            module = loaded(lambda: _make(layers, up, c_in, c_out), list(keys), given[n_data:])
            state = module.state_dict(keep_vars=True)
            # The gradient of a bias before a batch norm is zero in truth, and rounding in practice.
            left_out = ("conv1.bias",) if up else ()
            names = [key for key in keys if isinstance(state[key], nn.Parameter) and key not in left_out]
            wanted = [given[0], *(state[key] for key in names)]
            return Bound(module, given[:n_data], tuple(wanted))

        return bound

    stock, fast = bind(stock_layers()), bind(fast_layers())
    name = f"{'ResBlockUp' if up else 'ResBlockDown'} {batch}x{c_in}->{c_out} {size} float32"
    low = (size if up else size // 2) ** 2 * batch
    # 9 taps at the low resolution where it changes, 9 at the high one otherwise, and the shortcut.
    resampled, plain = (c_in * c_out, c_out * c_out) if up else (c_out * c_out, c_in * c_out)
    flops = 2 * low * (9 * resampled + 36 * plain + c_in * c_out)
    values = batch * (c_in * size**2 + c_out * (size * 2 if up else size // 2) ** 2)
    return Case(
        family="residual_blocks",
        name=name,
        workload={"batch": batch, "c_in": c_in, "c_out": c_out, "size": size, "dtype": "torch.float32"},
        inputs=inputs,
        ours=[Side("fastgan" + _SUFFIX[layout], fast, layout) for layout in LAYOUTS],
        peers=[
            Side(kind + _SUFFIX[layout], stock, layout, compiled=kind == "compile")
            for kind in ("eager", "compile")
            for layout in LAYOUTS
        ],
        reference=stock,
        dtype=torch.float32,
        bytes={BACKWARD: 4 * 3 * values},
        flops={BACKWARD: 3 * flops},
        modes=(BACKWARD,),
        overhead=overhead,
        quick=True,
    )


def _gan_step(
    generator: nn.Module, discriminator: nn.Module, compiled: bool
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """One step of each: hinge losses and all gradients; what is returned says whether they are right."""
    g, d = (torch.compile(m, dynamic=False) if compiled else m for m in (generator, discriminator))

    @torch.enable_grad()
    def step(real: Tensor, latent_d: Tensor, latent_g: Tensor) -> Tensor:
        with torch.no_grad():
            fake = g(latent_d)
        # In one forward: torch's compiled spectral norm does not survive a second one before the backward.
        on_real, on_fake = d(torch.cat([real, fake])).chunk(2)
        loss_d = F.relu(1 - on_real).mean() + F.relu(1 + on_fake).mean()
        grads_d = torch.autograd.grad(loss_d, list(discriminator.parameters()))
        loss_g = -d(g(latent_g)).mean()
        grads_g = torch.autograd.grad(loss_g, list(generator.parameters()))
        norms = [torch.stack([x.norm() for x in grads]).norm() for grads in (grads_d, grads_g)]
        return torch.stack([loss_d, loss_g, *norms]).detach()

    return step


def _step_flops(g: int, d: int) -> int:
    """An image's share of a step, with 9 products a pixel of the low resolution where it changes."""
    pixels = {size: size * size for size in (4, 8, 16, 32)}
    generator = sum((10 * pixels[s] + 9 * pixels[2 * s]) * g * g for s in (4, 8, 16)) + 27 * pixels[32] * g
    first = 27 * pixels[32] * d + pixels[16] * (9 * d * d + 3 * d)
    discriminator = first + (9 * pixels[16] + 10 * pixels[8] + 4 * 9 * pixels[8]) * d * d
    # D's step: an image made, then D on it and on a real one, three passes. G's: G three, D two.
    return 2 * (generator + 6 * discriminator + 3 * generator + 2 * discriminator)


def _step_case(batch: int, g_channels: int, d_channels: int) -> Case:
    """Of SNGAN-32. A single element's kink may lie within rounding, so gradients are compared by their norms."""

    def networks(layers: Layers) -> tuple[nn.Module, nn.Module]:
        return (
            SNGANGenerator(128, g_channels, layers=layers),
            SNGANDiscriminator(d_channels, layers=layers),
        )

    torch.manual_seed(0)
    states = [{k: v.detach().clone() for k, v in m.state_dict().items()} for m in networks(stock_layers())]

    def inputs() -> Inputs:
        generator = torch.Generator().manual_seed(0)
        real = torch.rand(batch, 3, 32, 32, generator=generator) * 2 - 1
        return real, *(torch.randn(batch, 128, generator=generator) for _ in range(2))

    def bind(layers: Layers, layout: torch.memory_format, compiled: bool = False) -> Bind:
        def bound(given: Inputs) -> Bound:
            made = networks(layers)
            for module, state in zip(made, states, strict=True):
                module.load_state_dict(state)
                module.to(given[0].device, given[0].dtype).to(memory_format=layout)
            return Bound(_gan_step(*made, compiled), given, ())

        return bound

    def side(name: str, layers: Layers, layout: torch.memory_format, compiled: bool = False) -> Side:
        return Side(name + _SUFFIX[layout], bind(layers, layout, compiled), layout)

    stock = stock_layers()
    return Case(
        family="residual_blocks",
        name=f"SNGAN-32 step, D hinge and G, {g_channels}/{d_channels} channels, batch {batch} float32",
        workload={"batch": batch, "g_channels": g_channels, "d_channels": d_channels, "dtype": "torch.float32"},
        inputs=inputs,
        ours=[side("fastgan", fast_layers(), layout) for layout in LAYOUTS],
        peers=[
            side(kind, stock, layout, compiled=kind == "compile") for kind in ("eager", "compile") for layout in LAYOUTS
        ],
        reference=bind(stock, torch.contiguous_format),
        dtype=torch.float32,
        # The images, the latents, and each parameter with its gradient.
        bytes={FORWARD: 4 * (batch * (3 * 32**2 + 2 * 128) + 2 * sum(v.numel() for s in states for v in s.values()))},
        flops={FORWARD: batch * _step_flops(g_channels, d_channels)},
        modes=(FORWARD,),
    )


def cases(device: torch.device) -> list[Case]:
    """The blocks of BigGAN, and a step of SNGAN at its paper's width."""
    return [
        _block_case(True, 16, 256, 128, 16),
        _block_case(False, 16, 128, 256, 32),
        _step_case(16, 256, 128),
        _block_case(True, 2, 8, 8, 4, overhead=True),
    ]
