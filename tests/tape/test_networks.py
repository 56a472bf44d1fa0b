"""Every network of the list against stock double backward in float64, and the path that it takes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import pytest
import torch

from fastgan.models.layers import Layers, fast_layers, stock_layers
from fastgan.models.sngan import SNGANDiscriminator
from fastgan.nn import PenalizedDiscriminator
from fastgan.penalties import R1, WGANGP
from fastgan_bench.critics import DCGAN, R3GAN
from tests.tape.counting import Products
from tests.tape.networks import NETWORKS, SixLayers
from tests.tape.stock import LOSSES, assert_same, chosen, compare, of_all, stock_step


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", NETWORKS)
def test_r1_and_loss_equal_stock(name: str, loss: str) -> None:
    network = NETWORKS[name]
    net, x = network.make(), torch.randn(network.shape)
    for _ in range(2):  # the second call sees what the first has left behind
        compare(net, x, R1(2.0), of_all(LOSSES[loss]), network.conditions(), network.select, network.path)


@pytest.mark.parametrize("layers", [stock_layers, fast_layers])
def test_reference_discriminator_of_either_layers(layers: Callable[[], Layers]) -> None:
    net = SNGANDiscriminator(6, num_classes=3, layers=layers())
    for _ in range(2):
        x = torch.randn(2, 3, 32, 32)
        compare(net, x, R1(2.0), LOSSES["hinge"], (torch.tensor([0, 2]),), path="four passes")


def test_critics_of_either_layers_are_the_same() -> None:
    for make, size in ((lambda fast: DCGAN(3, fast), 64), (lambda fast: R3GAN((4, 6), (4, 3), fast), 16)):
        stock, fast = make(False), make(True)
        fast.load_state_dict(stock.state_dict())
        x = torch.randn(2, 3, size, size)
        assert_same([fast(x)], [stock(x)])


def test_older_hook_of_torch() -> None:
    net = SixLayers()
    torch.nn.utils.spectral_norm(net[2])
    compare(net, torch.randn(2, 3, 16, 16), R1(2.0), LOSSES["softplus"], path="four passes")


@pytest.mark.parametrize("name", NETWORKS)
def test_wgan_gp_in_evaluation_mode_equals_stock(name: str) -> None:
    network = NETWORKS[name]
    path = {"batch norm": "four passes"}.get(name, network.path)
    x = torch.randn(network.shape)
    penalty = WGANGP(3.0, 0.5, "real")
    compare(network.make().eval(), x, penalty, of_all(LOSSES["softplus"]), network.conditions(), network.select, path)


@pytest.mark.parametrize("name", NETWORKS)
def test_backward_without_gradients_of_the_input_equals_stock(name: str) -> None:
    network = NETWORKS[name]
    net, x, loss = network.make(), torch.randn(network.shape), of_all(LOSSES["softplus"])
    twin, state = copy.deepcopy(net), torch.get_rng_state()
    output, penalty = PenalizedDiscriminator(net, R1(2.0), select=network.select)(x, *network.conditions())
    (loss(output) + penalty).backward()
    assert x.grad is None
    torch.set_rng_state(state)
    expected = stock_step(twin, x, network.conditions(), R1(2.0), loss, network.select)
    assert_same([parameter.grad for parameter in net.parameters()], expected[3:])


@pytest.mark.parametrize("name", ["dcgan", "sngan", "unet", "r3gan"])
def test_channels_last_equals_stock(name: str) -> None:
    network = NETWORKS[name]
    net = network.make().to(memory_format=torch.channels_last)
    x = torch.randn(network.shape).contiguous(memory_format=torch.channels_last)
    compare(net, x, R1(2.0), of_all(LOSSES["softplus"]), network.conditions(), network.select, network.path)


#: Convolutions and matrix products of a step (loss, R1, the gradients of all parameters): here, and in stock PyTorch,
#: which takes a grouped convolution's weight derivative group by group.
PRODUCTS = {
    "dcgan": (20, 29),
    "six layers": (24, 35),
    "sngan": (40, 57),
    "progan": (24, 33),
    "r3gan": (46, 86),
    "r3gan of our layers": (40, 68),
    "unet": (35, 35),
    "patchgan": (29, 29),
    "multi-scale": (69, 81),
    "period": (17, 17),
    "video": (20, 26),
    "mlp": (12, 16),
    "silu": (17, 22),
    "attention": (45, 47),
    "stddev": (30, 33),
    "batch norm": (19, 22),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_products_of_a_step(name: str) -> None:
    network = NETWORKS[name]
    net, x, loss = network.make(), torch.randn(network.shape), of_all(LOSSES["softplus"])
    twin = copy.deepcopy(net)
    module = PenalizedDiscriminator(net, R1(2.0), select=network.select)
    with Products() as ours:
        output, penalty = module(x, *network.conditions())
        torch.autograd.grad(loss(output) + penalty, list(net.parameters()), allow_unused=True)
    leaf = x.clone().requires_grad_()
    with Products() as stock:
        output = twin(leaf, *network.conditions())
        total = sum(t.sum() for t in chosen(output, network.select))
        (g,) = torch.autograd.grad(total, leaf, create_graph=True)
        torch.autograd.grad(loss(output) + R1(2.0)(g), list(twin.parameters()), allow_unused=True)
    assert (len(ours.found), len(stock.found)) == PRODUCTS[name]
