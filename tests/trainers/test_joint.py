"""What torch draws in several processes is, put together, what one process draws for the joint batch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.augment import DiffAugment
from fastgan.penalties import interpolate, perturb
from fastgan.trainers.joint import joint_draws

_IMAGES = torch.linspace(-1, 1, 6 * 2 * 5 * 5).reshape(6, 2, 5, 5).to(memory_format=torch.channels_last)

_DRAWS: dict[str, Callable[[Tensor], Tensor]] = {
    "randn": lambda x: torch.randn(len(x), 5),
    "rand": lambda x: torch.rand((len(x), 7), dtype=torch.float64),
    "rand, size by name": lambda x: torch.rand(size=(2 * len(x),)),
    "randint": lambda x: torch.randint(10, (len(x),)),
    "randint, both bounds": lambda x: torch.randint(-3, 10, (len(x), 2)),
    "randint, all by names": lambda x: torch.randint(low=-3, high=10, size=(len(x),)),
    "randint, bound and size by names": lambda x: torch.randint(high=10, size=(len(x), 3)),
    "randn_like": torch.randn_like,
    "randn_like by name": lambda x: torch.randn_like(input=x),
    "bernoulli of a tensor": lambda x: x.abs().bernoulli(),
    "bernoulli": lambda x: torch.bernoulli(x.abs()),
    "in place": lambda x: torch.empty(len(x), 3).uniform_(-1, 2),
    "in place, by tensor": lambda x: torch.empty_like(x).bernoulli_(x.abs()),
    "in place, by name": lambda x: torch.empty_like(x).bernoulli_(p=x[:, :, :1, :1].abs()),
    "geometric": lambda x: torch.empty(len(x)).geometric_(0.2),
    "dropout": lambda x: F.dropout(x, 0.3),
    "dropout of maps": lambda x: F.dropout2d(x, 0.3),
    "dropout module": lambda x: torch.nn.Dropout(0.4)(x),
    "points of WGAN-GP": lambda x: interpolate(x, -x),
    "DiffAugment": lambda x: DiffAugment(policy="color,translation,cutout")(x),
}


@pytest.mark.parametrize("name", _DRAWS)
def test_parts_are_those_of_one_draw(name: str) -> None:
    """Twice, for the second draw begins where the first one left the generator."""
    draw, found = _DRAWS[name], []
    for rank in range(2):
        torch.manual_seed(3)
        with joint_draws(3, rank, 2):
            found.append([draw(_IMAGES[3 * rank : 3 * rank + 3]) for _ in range(2)])
        found[-1].append(torch.rand(4))
    torch.manual_seed(3)
    expected = [draw(_IMAGES) for _ in range(2)]
    for first, second, whole in zip(*found, expected, strict=False):
        torch.testing.assert_close(torch.cat([first, second]), whole, rtol=0, atol=0)
    assert torch.equal(found[0][-1], found[1][-1]) and torch.equal(found[0][-1], torch.rand(4))


_ONES = torch.ones(3, 4, 8)
_APART: dict[str, Callable[[], Tensor]] = {
    "points of DRAGAN": lambda: perturb(_IMAGES[:3]),
    "normal": lambda: torch.normal(0.0, _ONES),
    "multinomial": lambda: torch.multinomial(_ONES[0], 6),
    "multinomial of a tensor": lambda: _ONES[0].multinomial(6),
    "poisson": lambda: torch.poisson(9 * _ONES),
    "binomial": lambda: torch.binomial(9 * _ONES, _ONES / 2),
    "Gamma": lambda: torch.distributions.Gamma(_ONES, _ONES).rsample(),
    "Beta": lambda: torch.distributions.Beta(_ONES, _ONES).rsample(),
    "alpha_dropout": lambda: F.alpha_dropout(_ONES, 0.5, True),
    "torch.dropout": lambda: torch.dropout(_ONES, 0.5, True),
    "torch.dropout_": lambda: torch.dropout_(_ONES.clone(), 0.5, True),
    "attention": lambda: F.scaled_dot_product_attention(_ONES, _ONES, _ONES, dropout_p=0.5),
    "attention module": lambda: torch.nn.MultiheadAttention(8, 1, dropout=0.5)(_ONES, _ONES, _ONES)[0],
    "rrelu": lambda: F.rrelu(-_ONES, training=True, inplace=True),
}


@pytest.mark.parametrize("name", _APART)
def test_draws_that_cannot_be_cut_differ_between_processes(name: str) -> None:
    found = []
    for rank in range(2):
        torch.manual_seed(3)
        with joint_draws(3, rank, 2):
            found.append((_APART[name](), torch.rand(())))
        found[-1] += (torch.rand(4),)
    assert not torch.equal(found[0][0], found[1][0])
    # One number for the whole batch, and what comes afterwards, are everywhere the same.
    assert torch.equal(found[0][1], found[1][1]) and torch.equal(found[0][2], found[1][2])


def test_rejected_numbers_leave_the_generators_in_one_state() -> None:
    """How many numbers a Poisson draw takes depends on its rates, which differ between processes."""
    after = []
    for rank in range(2):
        torch.manual_seed(3)
        with joint_draws(3, rank, 2):
            torch.poisson(torch.full((3, 50), 2.0 + 40 * rank))
        after.append(torch.rand(4))
    assert torch.equal(*after)


def test_what_is_not_the_batchs_is_left_alone() -> None:
    def draw() -> list[Tensor]:
        own = torch.Generator().manual_seed(1)
        attended = F.scaled_dot_product_attention(_ONES, _ONES, _ONES)
        still = [F.dropout(_IMAGES, 0.3, False), F.alpha_dropout(_ONES, 0.3), attended]
        return [*still, torch.rand(4), torch.rand(6, generator=own)]

    torch.manual_seed(3)
    expected = draw()
    torch.manual_seed(3)
    with joint_draws(3, 1, 2):
        found = draw()
    assert all(map(torch.equal, found, expected))


def test_dropout_keeps_its_gradient() -> None:
    x = torch.ones(3, 8, requires_grad=True)
    torch.manual_seed(3)
    with joint_draws(3, 0, 2):
        y = F.dropout(x, 0.5)
    y.sum().backward()
    assert torch.equal(x.grad, y) and 0 < y.count_nonzero() < y.numel()
