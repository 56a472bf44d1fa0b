"""group_spectral_norm: the same training as layer by layer, in one call, for every kind of spectral norm."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from fastgan import nn as fast_nn
from fastgan.nn import spectral
from fastgan.nn.utils import group_spectral_norm, spectral_norm, ungroup_spectral_norm
from tests.nn.spectral_networks import Discriminator, assert_equal_weights, losses, train

KINDS = ("torch", "hook", "ours", "layers")
FOLDED = {"folded": 1, "written": 1 << 30}


@pytest.fixture(params=FOLDED)
def _folding(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """With weights as small as these, both ways to compute a layer."""
    monkeypatch.setattr(spectral, "FOLDED_ELEMENTS", FOLDED[request.param])
    yield


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class _Calls(TorchDispatchMode):
    """Names of fastgan's ops, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.iterations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "fastgan":
            self.names.append(func._schema.name.partition("::")[2])
            if self.names[-1] == "spectral_norm":
                self.iterations += args[5]
        return func(*args, **(kwargs or {}))


@pytest.mark.usefixtures("_folding")
@pytest.mark.parametrize("kind", KINDS)
def test_trains_as_layer_by_layer(kind: str) -> None:
    stock = Discriminator("hook" if kind == "hook" else "torch")
    assert_equal_weights(train(group_spectral_norm(Discriminator(kind))), train(stock))


@pytest.mark.usefixtures("_folding")
@pytest.mark.parametrize("kind", KINDS)
def test_evaluation_and_switching(kind: str) -> None:
    stock, grouped = Discriminator("hook" if kind == "hook" else "torch"), group_spectral_norm(Discriminator(kind))
    images, labels = torch.randn(2, 3, 8, 8), torch.tensor([0, 4])
    for mode in (True, False, False, True, False):
        for model in (stock, grouped):
            model.train(mode)
        torch.testing.assert_close(grouped(images, labels), stock(images, labels), rtol=1e-12, atol=1e-12)
    assert_equal_weights(grouped.state_dict(), stock.state_dict(), 1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_one_call_a_forward(kind: str) -> None:
    model = group_spectral_norm(Discriminator(kind))
    with _Calls() as calls:
        loss = losses(model, penalty=False)
    assert calls.names == ["spectral_norm"] * 2
    with _Calls() as calls:
        loss.backward()
    assert calls.names == ["spectral_norm_backward"] * 2


def test_part_in_evaluation_mode() -> None:
    """A frozen part's vectors stay; the others move: two calls, for there are two kinds of options."""
    stock, grouped = Discriminator("torch"), group_spectral_norm(Discriminator("ours"))
    for model in (stock, grouped):
        model.down.eval()
        losses(model, penalty=False)
    assert_equal_weights(grouped.state_dict(), stock.state_dict(), 1e-12)
    with _Calls() as calls:
        losses(grouped, penalty=False)
    assert calls.names == ["spectral_norm"] * 4


def test_half_of_the_model_in_another_dtype() -> None:
    model = nn.Sequential(spectral_norm(nn.Linear(4, 4)), spectral_norm(nn.Linear(4, 4)))
    stock = copy.deepcopy(model)
    group_spectral_norm(model)
    x = torch.randn(3, 4)

    def run(model: nn.Sequential) -> torch.Tensor:
        model[1].float()
        handle = model[1].register_forward_pre_hook(lambda module, inputs: inputs[0].float())
        y = model(x)
        handle.remove()
        return y

    torch.testing.assert_close(run(model), run(stock))
    assert_equal_weights(model.state_dict(), stock.state_dict(), 1e-6)


@pytest.mark.usefixtures("_folding")
@pytest.mark.parametrize("kind", KINDS)
def test_undo_restores(kind: str) -> None:
    model = Discriminator(kind)

    def parts() -> list[Any]:
        return [(type(m), "forward" in vars(m), [*m._forward_pre_hooks.values()]) for m in model.modules()]

    before = parts()
    assert group_spectral_norm(model) is model
    first = train(model, 2)
    assert ungroup_spectral_norm(model) is model
    assert parts() == before
    stock = Discriminator("hook" if kind == "hook" else "torch")
    assert_equal_weights(first, train(stock, 2))
    assert_equal_weights(train(model, 2, seed=2), train(stock, 2, seed=2))


@pytest.mark.usefixtures("_folding")
@pytest.mark.parametrize("kind", KINDS)
def test_copies_are_independent(kind: str) -> None:
    model = group_spectral_norm(Discriminator(kind))
    train(model, 1)
    twin = copy.deepcopy(model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    moved = train(twin, 2, seed=3)
    assert_equal_weights(model.state_dict(), before, 0.0)
    assert_equal_weights(train(model, 2, seed=3), moved, 0.0)
    ungroup_spectral_norm(twin)
    assert_equal_weights(train(twin, 1, seed=4), train(model, 1, seed=4))


def test_access_outside_of_the_forward() -> None:
    stock, grouped = Discriminator("torch"), group_spectral_norm(Discriminator("torch"))
    for model in (stock, grouped):
        losses(model, penalty=False)
    torch.testing.assert_close(grouped.down.weight, stock.down.weight, rtol=1e-12, atol=1e-12)
    x = torch.randn(2, 8, 8, 8)
    torch.testing.assert_close(grouped.down(x), stock.down(x), rtol=1e-12, atol=1e-12)
    assert_equal_weights(grouped.state_dict(), stock.state_dict(), 1e-12)


@pytest.mark.usefixtures("_folding")
def test_access_inside_of_the_forward() -> None:
    """A weight read beside its layer is the one that the layer uses, and costs no iteration."""

    class Reading(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = spectral_norm(nn.Linear(6, 6))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x) - x @ self.layer.weight.mT - self.layer.bias

    model = group_spectral_norm(Reading())
    for _ in range(3):
        assert model(torch.randn(2, 6)).abs().max() < 1e-12


def test_an_error_in_the_forward_leaves_nothing_behind() -> None:
    stock, grouped = Discriminator("torch"), group_spectral_norm(Discriminator("torch"))
    for model in (stock, grouped):
        with pytest.raises(RuntimeError):
            model(torch.randn(2, 5, 8, 8), torch.tensor([0, 1]))
    assert all(p.prepared is None for p in grouped.modules() if hasattr(p, "prepared"))


@pytest.mark.parametrize(
    ("kind", "backend"),
    [("torch", "aot_eager"), ("ours", "aot_eager"), ("layers", "aot_eager"), ("layers", "inductor")],
)
@pytest.mark.usefixtures("_folding")
def test_compiles_with_two_forwards(kind: str, backend: str) -> None:
    images, labels = torch.randn(2, 2, 3, 8, 8), torch.tensor([0, 4])
    models = [group_spectral_norm(Discriminator(kind)) for _ in range(2)]

    def step(model: nn.Module) -> torch.Tensor:
        return (model(images[0], labels) - model(images[1], labels)).square().sum()

    torch._dynamo.reset()
    for _ in range(2):
        torch.compile(lambda: step(models[0]), fullgraph=True, backend=backend)().backward()
        step(models[1]).backward()
    gradients = [{name: p.grad for name, p in model.named_parameters()} for model in models]
    assert_equal_weights(gradients[0], gradients[1], 1e-11)
    assert_equal_weights(models[0].state_dict(), models[1].state_dict(), 1e-12)


@pytest.mark.usefixtures("_folding")
@pytest.mark.parametrize("kind", KINDS)
def test_once_per_step(kind: str) -> None:
    """All forwards of a step use one normalisation; u and v move once; every forward may have its own backward."""
    model = group_spectral_norm(Discriminator(kind), once_per_step=True)
    plain = Discriminator("hook" if kind == "hook" else "torch")
    optimizers = [torch.optim.SGD(m.parameters(), 0.1) for m in (model, plain)]
    for seed in range(3):
        torch.manual_seed(seed)
        with _Calls() as calls:
            loss = losses(model, penalty=True)
        assert calls.iterations == 1
        loss.backward()
        torch.manual_seed(seed)
        # One iteration, then the same weights: layer by layer that is one forward in training mode, then evaluation.
        images, labels = torch.randn(2, 3, 8, 8), torch.randint(5, (2,))
        plain.train()(images, labels)
        torch.manual_seed(seed)
        losses(plain.eval(), penalty=True).backward()
        for p, q in zip(model.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-10, atol=1e-10)
        assert_equal_weights(model.state_dict(), plain.state_dict(), 1e-11)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()


def test_once_per_step_sees_a_loaded_checkpoint_and_a_change_of_mode() -> None:
    model = group_spectral_norm(Discriminator("ours"), once_per_step=True)
    plain = Discriminator("torch")
    train(model, 1)
    model.load_state_dict(plain.state_dict())
    images, labels = torch.randn(2, 3, 8, 8), torch.tensor([0, 4])
    for mode in (True, False):
        torch.testing.assert_close(model.train(mode)(images, labels), plain.train(mode)(images, labels))


def test_once_per_step_is_refused_under_compile() -> None:
    model = group_spectral_norm(Discriminator("ours"), once_per_step=True)
    torch._dynamo.reset()
    with pytest.raises(Exception, match=r"once_per_step=True is not supported under torch\.compile"):
        torch.compile(model, fullgraph=True, backend="eager")(torch.randn(2, 3, 8, 8), torch.tensor([0, 4]))


def test_what_is_left_alone() -> None:
    """Vectors, blocks, exact norms and weights with a second parametrisation normalise by themselves."""

    class Doubled(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * x

    def model() -> nn.Sequential:
        torch.manual_seed(0)
        twice = spectral_norm(nn.Linear(4, 4))
        parametrize.register_parametrization(twice, "weight", Doubled())
        return nn.Sequential(
            spectral_norm(nn.Linear(4, 4), "bias"),
            spectral_norm(nn.Linear(4, 4), n_vectors=2),
            spectral_norm(nn.Linear(4, 4), exact=True),
            twice,
            spectral_norm(nn.Linear(4, 4)),
        )

    alone, grouped = model(), group_spectral_norm(model())
    x = torch.randn(3, 4)
    for _ in range(2):
        torch.testing.assert_close(grouped(x), alone(x))
    assert len(grouped._spectral_group.members) == 1


def test_errors() -> None:
    with pytest.raises(
        ValueError, match="group_spectral_norm: model must have spectrally normalised weights, got Linear"
    ):
        group_spectral_norm(nn.Linear(2, 2))
    model = group_spectral_norm(Discriminator("ours"))
    with pytest.raises(ValueError, match="group_spectral_norm: model must not be grouped already"):
        group_spectral_norm(model)
    with pytest.raises(ValueError, match="ungroup_spectral_norm: model must be grouped, got Discriminator"):
        ungroup_spectral_norm(ungroup_spectral_norm(model))


@pytest.mark.parametrize("kind", KINDS)
def test_a_weight_has_one_group(kind: str) -> None:
    """Two would iterate twice; what is refused is left as it was."""
    model = nn.Sequential(spectral_norm(nn.Linear(2, 2)), Discriminator(kind))
    group_spectral_norm(model[1])
    names = ", ".join(f"1.{name}.weight" for name in ("first", "down", "up", "dense", "embedding"))
    message = f"model must not have weights that another group normalises, got {names}; ungroup_spectral_norm"
    with pytest.raises(ValueError, match=message):
        group_spectral_norm(model)
    with pytest.raises(ValueError, match="another group normalises, got weight;"):
        group_spectral_norm(model[1].first)
    x, stock = torch.randn(3, 2), copy.deepcopy(model[0])
    torch.testing.assert_close(model[0](x), stock(x), rtol=0, atol=0)
    ungroup_spectral_norm(model[1])
    assert len(group_spectral_norm(model)._spectral_group.members) == 6


def test_what_only_torch_s_can_normalise_is_left_alone() -> None:
    def model() -> nn.Sequential:
        torch.manual_seed(0)
        stock = nn.utils.parametrizations.spectral_norm
        return nn.Sequential(
            stock(nn.Linear(4, 4)),
            stock(nn.Linear(4, 4), eps=0.0),
            nn.utils.spectral_norm(nn.Linear(4, 4), eps=0.0),
            stock(nn.Linear(4, 4, dtype=torch.complex128)),
        )

    alone, grouped = model(), group_spectral_norm(model())
    assert len(grouped._spectral_group.members) == 1
    for each in (alone, grouped):
        each[3].register_forward_pre_hook(lambda module, inputs: inputs[0].to(torch.complex128))
    for _ in range(2):
        x = torch.randn(3, 4)
        torch.testing.assert_close(grouped(x), alone(x))


@pytest.mark.usefixtures("_folding")
@pytest.mark.parametrize("kind", KINDS)
def test_states_interchange_at_any_step(kind: str) -> None:
    stock, grouped = Discriminator("hook" if kind == "hook" else "torch"), group_spectral_norm(Discriminator(kind))
    for seed in range(4):
        expected, actual = (train(model, 1, seed=seed) for model in (stock, grouped))
        assert_equal_weights(actual, expected)
        stock.load_state_dict(actual)
        grouped.load_state_dict(expected)


def test_state_goes_through_a_file(tmp_path: Path) -> None:
    model, fresh = group_spectral_norm(Discriminator("layers")), Discriminator("torch")
    expected = train(model, 1)
    torch.save(model.state_dict(), tmp_path / "state.pt")
    fresh.load_state_dict(torch.load(tmp_path / "state.pt"))
    assert_equal_weights(fresh.state_dict(), expected, 0.0)
    again = pickle.loads(pickle.dumps(group_spectral_norm(nn.Sequential(fast_nn.SNLinear(3, 2))).state_dict()))
    group_spectral_norm(nn.Sequential(fast_nn.SNLinear(3, 2))).load_state_dict(again)


@pytest.mark.usefixtures("_folding")
@pytest.mark.parametrize("kind", KINDS)
def test_two_heads_with_a_backward_each(kind: str) -> None:
    """One node for all weights: the first backward must keep the graph."""

    class Heads(Discriminator):
        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            h = self.first(images)
            return self.down(h).square().sum(), self.dense(h.sum((2, 3))).sum()

    stock, grouped = Heads("hook" if kind == "hook" else "torch"), group_spectral_norm(Heads(kind))
    images = torch.randn(2, 3, 8, 8)
    for model in (stock, grouped):
        first, second = model(images)
        first.backward(retain_graph=True)
        second.backward()
    for p, q in zip(grouped.parameters(), stock.parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None)
        if p.grad is not None:
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-10, atol=1e-10)


@pytest.mark.usefixtures("_folding")
@pytest.mark.parametrize("kind", KINDS)
def test_frozen_and_shared_weights(kind: str) -> None:
    models = [Discriminator("hook" if kind == "hook" else "torch"), Discriminator(kind)]
    for model in models:
        for p in model.down.parameters():
            p.requires_grad_(False)
        model.again = model.first  # one layer, two names
    group_spectral_norm(models[1])
    expected, actual = (train(model, 3) for model in models)
    assert_equal_weights(actual, expected)
    assert models[1].down.bias.grad is None


@pytest.mark.usefixtures("_folding")
@pytest.mark.parametrize("kind", ["torch", "ours", "layers"])
def test_autocast(kind: str) -> None:
    stock, grouped = Discriminator("torch").float(), group_spectral_norm(Discriminator(kind).float())
    images, labels = torch.randn(2, 3, 8, 8, dtype=torch.float32), torch.tensor([0, 4])
    gradients = []
    for model in (stock, grouped):
        computed_in = []
        model.dense.register_forward_hook(lambda module, inputs, y, seen=computed_in: seen.append(y.dtype))
        with torch.autocast("cpu", torch.bfloat16):
            outputs = model(images, labels)
        assert computed_in == [torch.bfloat16]
        outputs.sum().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    assert_equal_weights(gradients[1], gradients[0], 2e-2)
    assert_equal_weights(grouped.state_dict(), stock.state_dict(), 1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", ["torch", "ours", "layers"])
def test_half_types(kind: str, dtype: torch.dtype) -> None:
    alone, grouped = Discriminator("ours").to(dtype), group_spectral_norm(Discriminator(kind).to(dtype))
    for model in (alone, grouped):
        torch.manual_seed(1)
        losses(model, penalty=False).backward()
    for p, q in zip(grouped.parameters(), alone.parameters(), strict=True):
        assert p.grad.dtype == dtype
        torch.testing.assert_close(p.grad, q.grad, rtol=0, atol=0)
    assert_equal_weights(grouped.state_dict(), alone.state_dict(), 0.0)


def test_a_copy_makes_steps_of_its_own() -> None:
    """Its weights' versions start anew, and may come to those of the step that it was copied in."""
    model = group_spectral_norm(nn.Sequential(spectral_norm(nn.Linear(4, 4))), once_per_step=True)
    x = torch.randn(3, 4)
    model(x)
    copied = copy.deepcopy(model)
    given, weight = (each[0].parametrizations.weight.original for each in (model, copied))
    with torch.no_grad():
        while weight._version < given._version:
            weight.add_(torch.randn(4, 4))
    assert (copied(x) - model(x)).abs().max() > 1e-3


def test_keyword_arguments_reach_grouped_layers() -> None:
    class Upsampling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.up = nn.utils.parametrizations.spectral_norm(nn.ConvTranspose2d(3, 3, 3, stride=2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.up(input=x, output_size=[10, 10])

    x = torch.randn(1, 3, 4, 4)
    torch.testing.assert_close(group_spectral_norm(Upsampling())(x), Upsampling()(x))


def test_a_hooked_layer_as_the_whole_model() -> None:
    def layer() -> nn.Module:
        torch.manual_seed(0)
        return nn.utils.spectral_norm(nn.Linear(6, 5))

    grouped, stock = group_spectral_norm(layer()), layer()
    for _ in range(2):
        x = torch.randn(2, 6)
        torch.testing.assert_close(grouped(x), stock(x))


@pytest.mark.parametrize("kind", ["torch", "layers"])
def test_once_per_step_across_inference_mode(kind: str) -> None:
    model = group_spectral_norm(Discriminator(kind), once_per_step=True)
    images, labels = torch.randn(2, 3, 8, 8), torch.tensor([0, 4])
    with torch.inference_mode():
        first = model(images, labels).clone()
    second = model(images, labels)
    second.sum().backward()
    torch.testing.assert_close(second, first)
    with torch.inference_mode():
        frozen = group_spectral_norm(Discriminator(kind), once_per_step=True)
        frozen(images, labels)


def test_checkpointed_parts() -> None:
    """Recomputed layers normalise by themselves, which only the reentrant form allows."""

    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layer = nn.utils.parametrizations.spectral_norm(nn.Linear(6, 6))
            self.reentrant = True

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return checkpoint(self.part, x, use_reentrant=self.reentrant)

        def part(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tanh(self.layer(x))

    x = torch.randn(3, 6, requires_grad=True)
    models = [Checkpointed().eval(), group_spectral_norm(Checkpointed().eval())]
    for model in models:
        model(x).sum().backward()
    a, e = (model.layer.parametrizations.weight.original.grad for model in models)
    torch.testing.assert_close(a, e)
    models[1].reentrant = False
    with pytest.raises(Exception, match="Recomputed values"):
        models[1](x).sum().backward()
