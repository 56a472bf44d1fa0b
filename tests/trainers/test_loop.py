"""The loop: same mathematics on stock and fast modules, accumulation, moving average, NaN, reports."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from fastgan.data import DataError, open_data
from fastgan.trainers.compare import Comparison, compare_with_stock
from fastgan.trainers.ema import Ema
from fastgan.trainers.images import image_grid
from fastgan.trainers.loop import NonFiniteLossError, Trainer
from fastgan.trainers.report import Reporter
from fastgan.trainers.sngan import SNGAN

from .runs import tiny_config, tiny_trainer


def _weights(trainer: object) -> dict[str, torch.Tensor]:
    return {
        f"{name}.{key}": tensor.clone()
        for name in ("generator", "discriminator")
        for key, tensor in getattr(trainer, name).module.state_dict().items()
    }


def _largest_difference(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    assert a.keys() == b.keys()
    return max((a[name] - b[name]).abs().max().item() for name in a)


def test_accumulation_adds_the_parts_gradients() -> None:
    """Without batch norm's dependence on the batch (the discriminator has none), parts give the whole's gradient."""
    gradients = []
    for parts in (1, 4):
        trainer = tiny_trainer(precision="64-true", batch_size=8, accumulate=parts, n_dis=1, seed=3)
        module = trainer.discriminator.module.eval()  # no power iteration, one a part
        trainer.generator.module.eval()
        images, labels = trainer._batch()
        torch.manual_seed(7)
        noise = [torch.randn(8, 8, dtype=torch.float64), torch.randint(10, (8,))]
        chunks = iter([(latent, (y,)) for latent, y in zip(*(n.chunk(parts) for n in noise), strict=True)])
        trainer.recipe._noise = lambda n, device, chunks=chunks: next(chunks)  # type: ignore[attr-defined]
        trainer._backward(trainer.discriminator, trainer.d_optimizer, trainer._discriminator_losses(images, labels))
        gradients.append(torch.cat([p.grad.flatten() for p in module.parameters()]))
    assert gradients[0].norm() > 0
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-11, atol=1e-12)


def test_generator_step_leaves_the_discriminators_weights_alone() -> None:
    trainer = tiny_trainer()
    trainer.update()
    module = trainer.discriminator.module
    assert all(p.requires_grad for p in module.parameters())
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    trainer._backward(trainer.generator, trainer.g_optimizer, trainer._generator_losses(*trainer._batch()))
    trainer.g_optimizer.step()
    assert all(torch.equal(p, before[name]) for name, p in module.named_parameters())


def test_simultaneous_updates_start_from_one_point() -> None:
    """Both gradients are those at the point the step began from; alternating, the generator's is not."""
    gradients = []
    for schedule, d_lr in (("simultaneous", 1e-2), ("alternating", 1e-2), ("alternating", 1e-30)):
        trainer = tiny_trainer(schedule=schedule, n_dis=1, d_lr=d_lr)
        trainer.update()
        gradients.append([torch.cat([p.grad.flatten() for p in m.parameters()]) for m in _networks(trainer)])
    simultaneous, alternating, unmoved = gradients
    assert simultaneous[0].norm() > 0 and not torch.equal(simultaneous[0], alternating[0])
    assert all(map(torch.equal, simultaneous, unmoved))


def _networks(trainer: Trainer) -> tuple[nn.Module, nn.Module]:
    return trainer.generator.module, trainer.discriminator.module


def test_held_out_images_are_never_drawn() -> None:
    trainer = tiny_trainer(held_out=1700)
    assert trainer.held_out is not None and len(trainer.data) == 97 and len(trainer.held_out) == 1700
    whole, _ = open_data("digits").batch(torch.arange(1797))
    parts = torch.cat([part.batch(torch.arange(len(part)))[0] for part in (trainer.data, trainer.held_out)])
    assert torch.equal(*(images.flatten(1).long().sum(1).sort().values for images in (whole, parts)))
    drawn = torch.cat([trainer.sampler.next() for _ in range(40)])
    assert drawn.unique().tolist() == list(range(97))
    with pytest.raises(DataError, match="held_out must leave images to train on, got 1797 of 1797"):
        tiny_trainer(held_out=1797)


def test_mixed_precision_keeps_float32_weights() -> None:
    trainer = tiny_trainer(precision="bf16-mixed")
    seen = []
    trainer.discriminator.module.blocks[1].conv1.register_forward_hook(lambda *a: seen.append(a[2].dtype))
    losses = trainer.update()
    assert set(seen) == {torch.bfloat16}
    assert all(p.dtype == torch.float32 for p in trainer.generator.module.parameters())
    assert all(loss.isfinite() for loss in losses.values())


def test_ema_averages_parameters_and_copies_buffers() -> None:
    module = nn.Sequential(spectral_norm(nn.Linear(4, 4)), nn.BatchNorm1d(4)).train()
    ema = Ema(module)
    old = {name: p.detach().clone() for name, p in module.named_parameters()}
    for _ in range(3):
        module(torch.randn(8, 4))  # moves u, v and the running statistics
    with torch.no_grad():
        for p in module.parameters():
            p.add_(torch.randn_like(p))
    ema.update(module, 0.9)
    for name, average in ema.module.named_parameters():
        torch.testing.assert_close(average, 0.9 * old[name] + 0.1 * module.get_parameter(name))
        assert not average.requires_grad
    buffers = dict(ema.module.named_buffers())
    assert {"0.parametrizations.weight.0._u", "0.parametrizations.weight.0._v", "1.running_mean"} <= buffers.keys()
    assert all(torch.equal(buffer, module.get_buffer(name)) for name, buffer in buffers.items())
    u, v = (buffers[f"0.parametrizations.weight.0._{x}"] for x in "uv")
    torch.testing.assert_close(torch.stack([u.norm(), v.norm()]), torch.ones(2))
    assert not ema.module.training


def test_ema_forgets_the_start_soon() -> None:
    trainer = tiny_trainer(ema_decay=0.999)
    assert [trainer.recipe.ema_decay(step) for step in (0, 90, 10**6)] == [0.1, 0.91, 0.999]
    trainer.update()
    start = tiny_trainer().generator.module.dense.bias
    moved = trainer.generator.module.dense.bias - start
    torch.testing.assert_close(trainer.ema.module.dense.bias - start, 0.9 * moved)


def test_ema_is_the_generator_until_it_starts() -> None:
    trainer = tiny_trainer(ema_decay=0.9, ema_start=2)
    assert [trainer.recipe.ema_decay(step) for step in (0, 1, 2, 10**6)] == [0, 0, 0.9, 0.9]
    for equal in (True, True, False):
        trainer.update()
        bias = trainer.generator.module.dense.bias
        assert torch.equal(trainer.ema.module.dense.bias, bias) is equal


def test_nan_stops_the_run_naming_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, calls = SNGAN.generator_loss, 0

    def spoiled(self: SNGAN, *arguments: object) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return original(self, *arguments) * (torch.nan if calls == 5 else 1)  # type: ignore[arg-type]

    monkeypatch.setattr(SNGAN, "generator_loss", spoiled)
    trainer = tiny_trainer(steps=8, log_every=8, checkpoint_every=4)
    with (
        pytest.raises(NonFiniteLossError, match="loss/generator is nan at step 5"),
        Reporter(tmp_path, 0, 8, trainer.images_per_step, enabled=True) as reporter,
    ):
        trainer.run(tmp_path, reporter)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000004.safetensors"]


def test_run_leaves_samples_scalars_and_distances(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trainer = tiny_trainer(steps=4, log_every=1, sample_every=2, metric_every=2, checkpoint_every=4)
    with Reporter(tmp_path, 0, 4, trainer.images_per_step, enabled=True) as reporter:
        trainer.run(tmp_path, reporter, lambda module: float(sum(p.numel() for p in module.parameters())))
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == ["step-00000002.png", "step-00000004.png"]
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss/generator")] == [1, 2, 3, 4]
    assert [event.step for event in events.Scalars("frechet_distance")] == [2, 4]
    assert [event.step for event in events.Images("samples")] == [2, 4]


def test_samples_and_metrics_do_not_move_training(tmp_path: Path) -> None:
    weights = []
    for every in (0, 1):
        trainer = tiny_trainer(steps=3, sample_every=every, metric_every=every)
        with Reporter(tmp_path / str(every), 0, 3, trainer.images_per_step, enabled=True) as reporter:
            trainer.run(tmp_path / str(every), reporter, lambda _, t=trainer: float(t.sample(8, 1).sum()))
        weights.append(_weights(trainer))
    assert _largest_difference(*weights) == 0


def test_comparison_checks_before_it_times(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = tiny_trainer()
    result = compare_with_stock(SNGAN, tiny_config(), trainer.data, trainer.fabric, steps=1, pairs=2)
    assert (
        len(result.pairs) == 2
        and min(min(pair) for pair in result.pairs) > 0
        and result.differences[torch.float64] <= 1e-9
    )

    with pytest.raises(RuntimeError, match=r"discriminator's gradients are all zero.* shows nothing"):
        compare_with_stock(SNGAN, tiny_config(seed=0), trainer.data, trainer.fabric, steps=1, pairs=1)

    loss = SNGAN.generator_loss

    def wrong(self: SNGAN, *arguments: object) -> torch.Tensor:
        return loss(self, *arguments) * (1 if self.config.stock else 1.01)  # type: ignore[arg-type]

    monkeypatch.setattr(SNGAN, "generator_loss", wrong)
    with pytest.raises(RuntimeError, match="disagree after one step"):
        compare_with_stock(SNGAN, tiny_config(), trainer.data, trainer.fabric, steps=1, pairs=1)


def test_comparison_quotes_one_pair() -> None:
    """The rates shown are those of the pair with the median ratio, so that they cannot contradict it."""
    text = str(Comparison([(50.0, 100.0), (90.0, 60.0), (80.0, 80.0)], {}))
    assert text == (
        "fastgan 80 images/s, stock PyTorch 80 images/s: ratio 1.00 (median of 3 pairs, 0.50 to 1.50); "
        "the ratios span 1: no difference shown"
    )
    assert str(Comparison([(30.0, 20.0)] * 3, {})).endswith("ratio 1.50 (median of 3 pairs, 1.50 to 1.50)")


def test_image_grid() -> None:
    images = torch.stack([torch.full((1, 2, 2), value) for value in (-1.0, 0.0, 1.0)])
    grid = image_grid(images, columns=2)
    assert grid.shape == (4, 4, 1)
    assert grid[:, :, 0].tolist() == [[0, 0, 128, 128]] * 2 + [[255, 255, 0, 0]] * 2
