"""The hinge losses against their definition."""

from __future__ import annotations

import torch

from fastgan.losses import hinge_discriminator, hinge_generator


def test_hinge() -> None:
    real, fake = torch.tensor([2.0, 0.5, -1.0]), torch.tensor([-2.0, 0.5, -0.25])
    torch.testing.assert_close(hinge_discriminator(real, fake), torch.tensor((0 + 0.5 + 2) / 3 + (0 + 1.5 + 0.75) / 3))
    torch.testing.assert_close(hinge_generator(fake), torch.tensor(1.75 / 3))
