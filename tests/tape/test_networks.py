"""Every network of the list against stock double backward in float64, and the path that it takes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from fastgan.penalties import R1, WGANGP
from tests.tape.networks import NETWORKS
from tests.tape.stock import LOSSES, compare, of_all


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


@pytest.mark.parametrize("name", NETWORKS)
def test_wgan_gp_in_evaluation_mode_equals_stock(name: str) -> None:
    network = NETWORKS[name]
    path = {"batch norm": "four passes"}.get(name, network.path)
    x = torch.randn(network.shape)
    penalty = WGANGP(3.0, 0.5, "real")
    compare(network.make().eval(), x, penalty, of_all(LOSSES["softplus"]), network.conditions(), network.select, path)
