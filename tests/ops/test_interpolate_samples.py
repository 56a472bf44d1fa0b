"""interpolate_samples against what a training step would write, its random numbers, and what it refuses."""

from __future__ import annotations

import pytest
import torch

import fastgan
from fastgan.functional import interpolate_samples
from tests.tolerances import assert_close


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_the_random_numbers_are_torch_s_own(dtype: torch.dtype) -> None:
    x, y = (torch.randn(5, 3, 4, 4).to(dtype) for _ in range(2))
    torch.manual_seed(3)
    actual = interpolate_samples(x, y)
    torch.manual_seed(3)
    eps = torch.rand(5, 1, 1, 1, dtype=torch.float64 if dtype == torch.float64 else torch.float32)
    assert_close(actual, eps * x + (1 - eps) * y, dtype)
    assert actual.dtype == dtype


def test_compiled_it_draws_the_same_numbers() -> None:
    torch._dynamo.reset()
    compiled = torch.compile(lambda x, y: interpolate_samples(x, y) * 2, fullgraph=True, backend="aot_eager")
    x, y = torch.randn(5, 3), torch.randn(5, 3)
    torch.manual_seed(3)
    actual = compiled(x, y)
    torch.manual_seed(3)
    assert torch.equal(actual, interpolate_samples(x, y) * 2)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_any_number_of_threads(layout: torch.memory_format, threads: int) -> None:
    x, y = (torch.randn(7, 13, 19, 37).contiguous(memory_format=layout).requires_grad_() for _ in range(2))
    eps = torch.rand(14)[::2]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with fastgan.use_backend("cpu"):
            z = interpolate_samples(x, y, eps)
        grad = torch.randn_like(z)
        grads = torch.autograd.grad(z, (x, y), grad, retain_graph=True)
        one = torch.autograd.grad(z, y, grad)[0]
    finally:
        torch.set_num_threads(before)
    weight = eps.view(-1, 1, 1, 1)
    assert_close(z, weight * x + (1 - weight) * y, torch.float32)
    assert_close(grads[0], weight * grad, torch.float32)
    assert_close(grads[1], (1 - weight) * grad, torch.float32)
    assert torch.equal(one, grads[1])
    assert z.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_types_are_rounded_once(dtype: torch.dtype) -> None:
    x, y, eps = torch.randn(4, 999).to(dtype), torch.randn(4, 999).to(dtype), torch.rand(4)
    with fastgan.use_backend("cpu"):
        z = interpolate_samples(x, y, eps)
    exact = eps.double()[:, None] * x.double() + (1 - eps.double()[:, None]) * y.double()
    spacing = torch.finfo(dtype).eps * exact.abs().clamp_min(torch.finfo(dtype).tiny)
    cancelled = 1e-6 * (x.abs() + y.abs()).double()  # float32's own rounding
    assert ((z.double() - exact).abs() <= spacing / 2 * 1.001 + cancelled).all()


def test_the_ends_are_the_batches() -> None:
    x, y = torch.randn(3, 5), torch.randn(3, 5)
    assert torch.equal(interpolate_samples(x, y, torch.ones(3)), x)
    assert torch.equal(interpolate_samples(x, y, torch.zeros(3)), y)


def test_bad_arguments_are_named() -> None:
    x = torch.randn(3, 2, 4, 4)
    with pytest.raises(ValueError, match=r"interpolate_samples: other must be \[3, 2, 4, 4\].*got \[3, 2, 4, 3\]"):
        interpolate_samples(x, x[..., :3])
    with pytest.raises(TypeError, match="interpolate_samples: other must have input's dtype"):
        interpolate_samples(x, x.double())
    with pytest.raises(ValueError, match=r"interpolate_samples: eps must be \[3\].*got \[3, 1, 1, 1\]"):
        interpolate_samples(x, x, torch.rand(3, 1, 1, 1))
    with pytest.raises(ValueError, match="interpolate_samples: eps must be a constant"):
        interpolate_samples(x, x, torch.rand(3, requires_grad=True))
    with pytest.raises(ValueError, match=r"interpolate_samples: input must be \[N, \.\.\.\]"):
        interpolate_samples(torch.tensor(1.0), torch.tensor(1.0))
    with pytest.raises(TypeError, match="interpolate_samples: input must be float32"):
        interpolate_samples(x.int(), x.int())
    with pytest.raises(ValueError, match=r"interpolate_samples: eps must be \[3\] on cpu"):
        interpolate_samples(x, x, torch.rand(3, device="meta"))
