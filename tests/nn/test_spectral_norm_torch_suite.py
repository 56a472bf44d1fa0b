"""What PyTorch tests of its spectral norm parametrisation (test/nn/test_parametrization.py), tested of ours.

Each test here has the name and checks the properties of one of PyTorch's, in both ways in which torch can replace a
parameter's data (``set_`` and ``swap_tensors``). Theirs on several GPUs (DataParallel) is left out.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import gradcheck
from torch.nn.utils import parametrize

from fastgan.nn.utils import spectral_norm
from fastgan.nn.utils.spectral_norm import SpectralNorm


@pytest.fixture(autouse=True, params=[True, False], ids=["swap_tensors", "set_"])
def _swap(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(request.param)
    yield
    torch.__future__.set_swap_module_params_on_conversion(before)


@pytest.fixture
def _double() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def _norm(module: nn.Module, name: str = "weight") -> SpectralNorm:
    return module.parametrizations[name][0]


def _linear(requires_grad: bool) -> tuple[nn.Linear, SpectralNorm]:
    module = nn.Linear(3, 4)
    module.weight.requires_grad_(requires_grad)
    spectral_norm(module)
    return module, _norm(module)


@pytest.mark.usefixtures("_double")
class TestNewSpectralNorm:
    """test_new_spectral_norm."""

    def test_registration(self) -> None:
        module = spectral_norm(nn.Linear(5, 7))
        norm, held = _norm(module), module.parametrizations.weight
        assert norm._u.shape == (7,) and norm._v.shape == (5,)
        assert "original" in held._parameters and isinstance(held.original, nn.Parameter)
        assert {"_u", "_v"} <= norm._buffers.keys()
        # The weight is computed, neither a parameter nor a buffer of the module.
        assert module.weight is not None
        assert "weight" not in module._parameters and "weight" not in module._buffers
        assert held.original.shape == module.weight.shape and held.original.stride() == module.weight.stride()

    def test_removal_and_repeated_registration(self) -> None:
        module = spectral_norm(nn.Linear(5, 7))
        parametrize.remove_parametrizations(module, "weight")
        assert not hasattr(module, "parametrizations") and "weight" in module._parameters
        for name in ("weight", "weight", "bias"):
            spectral_norm(module, name)
        parametrize.remove_parametrizations(module, "bias")
        assert "bias" in module._parameters
        assert hasattr(module, "parametrizations") and "weight" not in module._parameters
        parametrize.remove_parametrizations(module, "weight")
        assert not hasattr(module, "parametrizations") and "weight" in module._parameters
        assert not parametrize.is_parametrized(module)

    @pytest.mark.parametrize("requires_grad", [True, False])
    def test_training(self, requires_grad: bool) -> None:
        input = torch.randn(2, 3)
        module, norm = _linear(requires_grad)
        u, v = norm._u.clone(), norm._v.clone()
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        module(input).sum().backward()
        optimizer.step()
        output = module(input)
        if requires_grad:
            assert not torch.equal(norm._u, u) and not torch.equal(norm._v, v)
            (grad,) = torch.autograd.grad(output.sum(), module.parametrizations.weight.original)
            assert grad.any()

    @pytest.mark.parametrize("requires_grad", [True, False])
    def test_several_forwards_before_a_backward(self, requires_grad: bool) -> None:
        module, norm = _linear(requires_grad)
        u, v = norm._u.clone(), norm._v.clone()

        def both(input: Tensor) -> Tensor:  # the same function each time, for finite differences
            norm._u.copy_(u)
            norm._v.copy_(v)
            return module(input) + module(input)

        both(torch.randn(2, 3, requires_grad=True)).sum().backward()
        assert gradcheck(both, (torch.randn(2, 3, requires_grad=True),))

    @pytest.mark.parametrize("requires_grad", [True, False])
    @pytest.mark.parametrize("forwards", [1, 3])
    def test_removal_keeps_the_weight(self, requires_grad: bool, forwards: int) -> None:
        input = torch.randn(2, 3)
        module, _ = _linear(requires_grad)
        for _ in range(2):  # the second time on what the first has left
            for _ in range(forwards):
                expected = module(input).detach()
            module.eval()  # or the removal would iterate once more
            parametrize.remove_parametrizations(module, "weight")
            torch.testing.assert_close(module(input), expected)
            spectral_norm(module)

    @pytest.mark.parametrize("requires_grad", [True, False])
    def test_evaluation(self, requires_grad: bool) -> None:
        input = torch.randn(2, 3)
        module, norm = _linear(requires_grad)
        module(input)
        last = module(input)
        u, v = norm._u.clone(), norm._v.clone()
        module.eval()
        torch.testing.assert_close(module(input), last)
        torch.testing.assert_close(module(input), last)
        assert torch.equal(norm._u, u) and torch.equal(norm._v, v)

    @pytest.mark.parametrize("requires_grad", [True, False])
    def test_forwards_of_both_modes_before_a_backward(self, requires_grad: bool) -> None:
        input = torch.randn(2, 3, requires_grad=True)
        module, norm = _linear(requires_grad)
        u, v = norm._u.clone(), norm._v.clone()

        def mixed(input: Tensor) -> Tensor:
            norm._u.copy_(u)
            norm._v.copy_(v)
            return sum(module.train(training)(input) for training in (True, False, True, False))

        assert gradcheck(mixed, (input,))
        if requires_grad:
            module.eval()
            assert gradcheck(lambda weight: module(input), (module.parametrizations.weight.original,))


@pytest.mark.parametrize("forwards", [0, 3])
def test_new_spectral_norm_load_state_dict(forwards: int) -> None:
    input = torch.randn(2, 3)
    module = spectral_norm(nn.Linear(3, 5)).train()
    for _ in range(forwards):
        module(input)
    state = copy.deepcopy(module.state_dict())
    keys = ["parametrizations.weight.original", "parametrizations.weight.0._u", "parametrizations.weight.0._v"]
    assert set(state) == {"bias", *keys}

    # Loading that is not strict takes what there is.
    partial = copy.deepcopy(state)
    partial["nonsense"] = "nonsense"
    with pytest.raises(RuntimeError, match=r'Unexpected key\(s\) in state_dict: "nonsense"'):
        module.load_state_dict(partial, strict=True)
    module.load_state_dict(partial, strict=False)
    for key in keys:
        del partial[key]
        module.load_state_dict(partial, strict=False)
    weight = module.parametrizations.weight.original.clone()
    partial["weight"] = module.weight.detach() + 1  # of no layout: not for the parametrisation
    module.load_state_dict(partial, strict=False)
    del partial._metadata["parametrizations.weight.0"]
    module.load_state_dict(partial, strict=False)
    assert torch.equal(module.parametrizations.weight.original, weight)
    del partial["weight"]
    module.load_state_dict(partial, strict=False)
    del partial["bias"]
    module.load_state_dict(partial, strict=False)

    # A module wrapped again continues where the state was taken, each time.
    outputs = []
    for _ in range(2):
        parametrize.remove_parametrizations(module, "weight")
        spectral_norm(module).load_state_dict(state)
        with torch.no_grad():
            outputs.append(torch.stack([module.train(training)(input) for training in (False, True, True, False)]))
    torch.testing.assert_close(*outputs)


def test_new_spectral_norm_dim() -> None:
    module = spectral_norm(nn.ConvTranspose2d(3, 4, (5, 6)))
    module(torch.randn(2, 3, 10, 12))
    assert _norm(module)._u.shape == (4,) == module.parametrizations.weight.original[0, :, 0, 0].shape


def test_new_spectral_norm_forward() -> None:
    input = torch.randn(3, 5)
    module = spectral_norm(nn.Linear(5, 7))
    norm, weight = _norm(module), module.parametrizations.weight.original.detach()
    u = F.normalize(weight @ norm._v, dim=0, eps=1e-12)
    v = F.normalize(weight.mT @ u, dim=0, eps=1e-12)
    torch.testing.assert_close(module(input), F.linear(input, weight / torch.dot(u, weight @ v), module.bias))


def test_new_spectral_norm_value() -> None:
    module = nn.Linear(2, 2)
    with torch.no_grad():
        diagonal = module.weight.diagonal().clone()
        module.weight = nn.Parameter(torch.diag(diagonal))
        spectral_norm(module)
        torch.testing.assert_close(module.weight, torch.diag(diagonal / diagonal.abs().max()))


def test_new_spectral_norm_value_complex() -> None:
    with pytest.raises(TypeError, match=r"spectral_norm: weight must be float32.*got torch\.complex64"):
        spectral_norm(nn.Linear(2, 2, dtype=torch.complex64))
