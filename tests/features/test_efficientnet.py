"""The packaged feature network: right weights, right preprocessing, no influence on the caller."""

from __future__ import annotations

import pytest
import torch

from fastgan.features.efficientnet import EfficientNetLite0


@pytest.fixture(scope="module")
def network() -> EfficientNetLite0:
    return EfficientNetLite0(64)


def test_features_are_the_networks_own(network: EfficientNetLite0) -> None:
    """At the stated resolution, pixels reach the network as (x - 127) / 128 and the pooled features come back."""
    pixels = torch.randint(0, 256, (2, 3, 64, 64))
    expected = network.network.extract_features((pixels.float() - 127) / 128).mean((2, 3))
    features = network(pixels / 127.5 - 1)
    assert features.shape == (2, 1280)
    torch.testing.assert_close(features, expected, rtol=1e-3, atol=1e-4)


def test_pretrained_weights_tell_a_class(network: EfficientNetLite0) -> None:
    """With the weights not loaded, or loaded wrong, logits of a thousand classes stay near each other."""
    gradient = torch.linspace(-1, 1, 64).expand(1, 3, 64, 64)
    probabilities = network.network._fc(network(gradient)).softmax(1)
    assert probabilities.max() > 20 / 1000


def test_grey_is_repeated_and_training_mode_ignored(network: EfficientNetLite0) -> None:
    grey = torch.rand(2, 1, 32, 32) * 2 - 1
    network.train()
    assert not any(module.training for module in network.modules())
    torch.testing.assert_close(network(grey), network(grey.expand(-1, 3, -1, -1)))
    torch.testing.assert_close(network(grey[:1]), network(grey)[:1], rtol=1e-3, atol=1e-4)


def test_random_numbers_do_not_move() -> None:
    before = torch.get_rng_state()
    EfficientNetLite0(32)
    assert torch.equal(before, torch.get_rng_state())


def test_bad_input_is_named(network: EfficientNetLite0) -> None:
    with pytest.raises(ValueError, match="multiple of 32, got 50"):
        EfficientNetLite0(50)
    with pytest.raises(ValueError, match=r"images must be .* got \(2, 4, 8, 8\)"):
        network(torch.zeros(2, 4, 8, 8))
