"""Each function that the tape knows, in each of its forms, between two weighted layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import fastgan
from fastgan.functional import bias_act, conv2d, setup_filter, upfirdn2d
from fastgan.nn.utils import spectral_norm
from fastgan.penalties import R1
from tests.tape.stock import LOSSES, compare


@torch.jit.script
def scripted(h: Tensor) -> Tensor:
    return torch.relu(h) * h


Op = Callable[["Between", Tensor], Tensor]


class Between(nn.Module):
    """A convolution, the operation on ``[N, 4, 6, 8]``, and a linear map to one number a sample."""

    def __init__(self, op: Op) -> None:
        super().__init__()
        self.first, self.op = nn.Conv2d(2, 4, 3, padding=1), op
        self.same, self.bias, self.slope = nn.Conv2d(4, 4, 1), nn.Parameter(torch.randn(4)), nn.Parameter(torch.rand(4))
        self.matrix, self.image = nn.Parameter(torch.randn(8, 5)), nn.Parameter(torch.randn(4, 6, 8))
        self.kernel, self.shift = nn.Parameter(torch.randn(4, 4, 3, 3)), nn.Parameter(torch.rand(4))
        self.register_buffer("filter", setup_filter([1.0, 3.0, 3.0, 1.0]))

    def forward(self, x: Tensor) -> Tensor:
        h = self.op(self, self.first(x)).flatten(1)
        h = h * torch.arange(1, h.shape[1] + 1).sin()
        return F.leaky_relu(h.view(len(h), -1, 2), 0.3).sum((1, 2))


def fill(h: Tensor, value: float) -> Tensor:
    return torch.full_like(h.detach(), value)


def column(bias: Tensor) -> Tensor:
    return bias[:, None, None]


def grid(h: Tensor) -> Tensor:
    theta = torch.tensor([[0.9, 0.2, 0.1], [-0.2, 1.1, 0.0]]).expand(len(h), 2, 3)
    return F.affine_grid(theta, list(h.shape), align_corners=False)


OPS: dict[str, Op] = {
    # activations
    "relu": lambda m, h: F.relu(h),
    "relu in place": lambda m, h: F.relu(h, inplace=True),
    "relu_": lambda m, h: torch.relu_(h),
    "not returned": lambda m, h: (F.leaky_relu(h, 0.2, True), h)[1],
    "method relu_": lambda m, h: h.relu_(),
    "method relu": lambda m, h: h.relu(),
    "leaky_relu in place": lambda m, h: F.leaky_relu(h, 0.1, inplace=True),
    "leaky_relu of negative slope": lambda m, h: F.leaky_relu(h, -0.5),
    "prelu": lambda m, h: F.prelu(h, m.slope),
    "prelu of one slope": lambda m, h: F.prelu(h, m.slope[:1]),
    "relu6": lambda m, h: F.relu6(4 * h),
    "relu6 in place": lambda m, h: F.relu6(4 * h, inplace=True),
    "hardtanh": lambda m, h: F.hardtanh(h, -0.4, 0.3),
    "hardtanh_": lambda m, h: F.hardtanh_(h),
    "hardshrink": lambda m, h: F.hardshrink(h, 0.3),
    "softshrink": lambda m, h: F.softshrink(h, 0.3),
    "threshold": lambda m, h: F.threshold(h, 0.1, 0.7),
    "clamp": lambda m, h: h.clamp(-0.3, 0.4),
    "clamp keywords": lambda m, h: torch.clamp(h, min=-0.3),
    "clamp_": lambda m, h: h.clamp_(max=0.2),
    "clamp_min": lambda m, h: h.clamp_min(0.1),
    "abs": lambda m, h: h.abs(),
    "builtin abs": lambda m, h: abs(h),
    "bias_act": lambda m, h: bias_act(h, m.bias, act="lrelu", clamp=1.0),
    "bias_act relu": lambda m, h: bias_act(h, m.bias, act="relu"),
    "bias_act linear": lambda m, h: bias_act(h, m.bias, gain=0.7),
    # choices
    "maximum": lambda m, h: torch.maximum(h, m.same(h)),
    "maximum and constant": lambda m, h: torch.maximum(column(m.bias), h),
    "minimum": lambda m, h: torch.minimum(h, m.same(h)),
    "max of two": lambda m, h: torch.max(h, m.same(h)),
    "max along": lambda m, h: h.max(1)[0],
    "max along keepdim": lambda m, h: torch.max(h, dim=2, keepdim=True).values,
    "min along": lambda m, h: h.min(dim=-1)[0],
    "amax": lambda m, h: h.amax((1, 3)),
    "amin": lambda m, h: torch.amin(h, dim=2, keepdim=True),
    "maxout": lambda m, h: h.view(len(h), 2, 2, 6, 8).max(2)[0],
    "max_pool2d": lambda m, h: F.max_pool2d(h, 3, 2, 1),
    "max_pool1d": lambda m, h: F.max_pool1d(h.flatten(2), 2),
    "max_pool3d": lambda m, h: F.max_pool3d(h[:, None], 2),
    "adaptive_max_pool2d": lambda m, h: F.adaptive_max_pool2d(h, (2, 3)),
    "max_pool2d channels_last": lambda m, h: F.max_pool2d(h.contiguous(memory_format=torch.channels_last), 2),
    "where": lambda m, h: torch.where(h > 0, h, m.same(h)),
    "where and constant": lambda m, h: torch.where(h.detach() > 0, column(m.bias), h),
    "masked_fill": lambda m, h: h.masked_fill(h < 0.1, 0.3),
    # arithmetic
    "add": lambda m, h: h + m.same(h),
    "add alpha": lambda m, h: torch.add(h, m.same(h), alpha=0.3),
    "add in place": lambda m, h: m.same(h).add_(h),
    "+=": lambda m, h: h.__iadd__(column(m.bias)),
    "add parameter": lambda m, h: column(m.bias) + h,
    "add number": lambda m, h: 1.5 + h,
    "add integers": lambda m, h: h + torch.arange(8),
    "add samples": lambda m, h: h + torch.arange(3.0)[:, None, None, None],
    "sub": lambda m, h: h - m.same(h),
    "sub from": lambda m, h: 2.0 - h,
    "sub parameter": lambda m, h: column(m.bias) - h,
    "sub_": lambda m, h: h.sub_(0.5),
    "neg": lambda m, h: -h,
    "mul parameter": lambda m, h: h * m.image,
    "mul number": lambda m, h: 0.3 * h,
    "mul_": lambda m, h: h.mul_(column(m.bias)),
    "div": lambda m, h: h / (column(m.bias).abs() + 1),
    "div number": lambda m, h: h.div(3),
    "lerp": lambda m, h: torch.lerp(h, m.same(h), 0.3),
    "cat": lambda m, h: torch.cat([h, m.same(h)], 1),
    "cat constant": lambda m, h: torch.cat([h, m.image.expand(len(h), -1, -1, -1)], dim=1),
    "stack": lambda m, h: torch.stack([h, m.same(h)]).sum(0),
    "stack behind": lambda m, h: torch.stack([h, m.same(h)], -1),
    "mean": lambda m, h: h.mean((2, 3), keepdim=True),
    "sum": lambda m, h: torch.sum(h, [1]),
    "sum of one dimension": lambda m, h: h.sum(-1),
    "batch_norm": lambda m, h: F.batch_norm(h, m.bias.detach(), m.slope.detach() + 1, m.shift, m.bias),
    # layers
    "linear": lambda m, h: F.linear(h, m.matrix.t(), m.matrix[0]),
    "matmul": lambda m, h: h @ m.matrix,
    "addmm": lambda m, h: torch.addmm(m.matrix[0, :4], h.flatten(2)[:, 0, :8], m.matrix[:, :4]),
    "bmm": lambda m, h: torch.bmm(h.flatten(1, 2), m.matrix.expand(len(h), 8, 5)),
    "conv2d": lambda m, h: F.conv2d(h, m.kernel, m.bias, stride=2, dilation=2, padding="valid"),
    "conv2d same": lambda m, h: torch.conv2d(h, m.kernel, None, padding="same"),
    "own conv": lambda m, h: conv2d(
        h, m.kernel, m.bias, act="lrelu", residual=torch.full((len(h), len(m.kernel), 6, 8), 0.5), algorithm="winograd"
    ),
    "own conv, half residual": lambda m, h: conv2d(
        h, m.kernel, None, act="relu", residual=h.new_full((len(h), len(m.kernel), 3, 4), 0.5), algorithm="winograd"
    ),
    "grouped": lambda m, h: F.conv2d(h, m.kernel[:, :1], m.bias, padding=1, groups=4),
    "conv1d": lambda m, h: F.conv1d(h.flatten(2), m.kernel[..., 0], m.bias),
    "conv3d": lambda m, h: F.conv3d(h[:, :, None], m.kernel[:, :, None], m.bias),
    "conv_transpose2d": lambda m, h: F.conv_transpose2d(h, m.kernel, m.bias, stride=2, output_padding=1),
    "conv_transpose1d": lambda m, h: F.conv_transpose1d(h.flatten(2), m.kernel[..., 0], m.bias, 3),
    "weight twice": lambda m, h: m.same(F.relu(m.same(h))),
    # shapes
    "flatten": lambda m, h: h.flatten(2),
    "channels_last": lambda m, h: h.contiguous(memory_format=torch.channels_last).relu(),
    "transpose": lambda m, h: h.transpose(1, 3),
    "permute": lambda m, h: h.permute(2, 3, 0, 1).relu().permute(2, 0, 1, 3),
    "T": lambda m, h: h.flatten(1).T.relu().t(),
    "mT": lambda m, h: h.mT,
    "squeeze": lambda m, h: h[:, None].squeeze(1),
    "unflatten": lambda m, h: h.unflatten(1, (2, 2)),
    "slices": lambda m, h: h[:, 1:3, ..., ::2],
    "one channel": lambda m, h: h[:, 2, None],
    "narrow": lambda m, h: h.narrow(2, 1, 4),
    "chunk": lambda m, h: (lambda a, b: torch.maximum(a, b))(*h.chunk(2, 1)),
    "split": lambda m, h: torch.cat(h.split([1, 3], dim=1)[::-1], 1),
    "unbind": lambda m, h: h.unbind(2)[1] + h.unbind(2)[0],
    "expand": lambda m, h: h[:, :1].expand(-1, 3, -1, -1),
    "flip": lambda m, h: h.flip(-1) + h.flip([2]),
    "roll": lambda m, h: torch.roll(h, 1, 2),
    "clone": lambda m, h: h.clone().relu_(),
    "to": lambda m, h: h.to(torch.float64) + h.double(),
    "fold frames": lambda m, h: m.same(h.view(-1, 1, 6, 8).expand(-1, 4, -1, -1)).view(len(h), 4, -1),
    "repeat": lambda m, h: h[:, :1].repeat(1, 2, 1, 3).relu() + h[:, :1].repeat(1, 1, 1, 1).tile(1, 2, 1, 3),
    "repeated frames": lambda m, h: m.same(h.repeat_interleave(2, 0)).relu().view(len(h), 2, -1).sum(1),
    "repeat_interleave": lambda m, h: torch.repeat_interleave(h, 2, dim=3),
    "unfold": lambda m, h: F.unfold(h, 2),
    "method unfold": lambda m, h: h.unfold(3, 3, 2),
    # images
    "avg_pool2d": lambda m, h: F.avg_pool2d(h, 3, 2, 1),
    "avg_pool1d": lambda m, h: F.avg_pool1d(h.flatten(2), 2),
    "adaptive_avg_pool2d": lambda m, h: F.adaptive_avg_pool2d(h, 2),
    "interpolate": lambda m, h: F.interpolate(h, scale_factor=2),
    "interpolate bicubic": lambda m, h: F.interpolate(h, size=(5, 5), mode="bicubic", antialias=True),
    "pixel_shuffle": lambda m, h: F.pixel_shuffle(h, 2),
    "pixel_unshuffle": lambda m, h: F.pixel_unshuffle(h, 2),
    "pad": lambda m, h: F.pad(h, (1, 2)),
    "pad reflect": lambda m, h: F.pad(h, (1, 2, 0, 1), mode="reflect"),
    "grid_sample": lambda m, h: F.grid_sample(h, grid(h), align_corners=False),
    "upfirdn2d": lambda m, h: upfirdn2d(h, m.filter, down=2, padding=1),
    # dropout
    "dropout": lambda m, h: F.dropout(h, 0.4),
    "dropout2d": lambda m, h: F.dropout2d(h, 0.4),
    "torch.dropout": lambda m, h: torch.dropout(h, 0.4, True),
    "dropout off": lambda m, h: F.dropout(h, 0.4, training=False),
}
#: What must be left to autograd, and be right there.
OTHERS: dict[str, Op] = {
    "silu": lambda m, h: F.silu(h),
    "square": lambda m, h: h * h,
    "softmax": lambda m, h: torch.softmax(h, 1),
    "over the batch": lambda m, h: h - h.mean(0, keepdim=True),
    "other samples": lambda m, h: h + h[[1, 2, 0]],
    "flipped batch": lambda m, h: h + h.flip(0),
    "rolled batch": lambda m, h: h + torch.roll(h, 1, 0),
    "repeated batch": lambda m, h: m.same(h.repeat(2, 1, 1, 1)).relu().view(2, len(h), -1).sum(0),
    "shuffled into the batch": lambda m, h: h.reshape(2, -1).relu().reshape(h.shape),
    "in place, a relu of a view": lambda m, h: (F.relu_(h[:, 1]), h)[1],
    "in place, after another": lambda m, h: F.relu_(m.same(F.leaky_relu(F.silu(h), 0.1, True))),
    "in place on a view": lambda m, h: (h[:, 1].mul_(2), F.relu(h))[1],
    "in place under a view": lambda m, h: (lambda v: (h.mul_(2), F.relu(v))[1])(h.view(3, -1)),
    "assigned": lambda m, h: (h.__setitem__((slice(None), 0), m.image[0]), F.relu(h))[1],
    "weights of the input": lambda m, h: F.conv2d(h, h[:1, :, :3, :3].mean((2, 3))[:, :, None, None]),
    "a hook": lambda m, h: (h.register_hook(lambda g: 2 * g), F.relu(h))[1],
    "layer_norm": lambda m, h: F.layer_norm(h, h.shape[1:]),
    "division by it": lambda m, h: 1 / (h.abs() + 1),
    "padded with ones": lambda m, h: F.pad(h, (1, 1), value=1.0),
    "dropout in place": lambda m, h: F.dropout(h, 0.4, inplace=True),
    "detached": lambda m, h: h * h.detach().sigmoid(),
    "one of a batch": lambda m, h: h[:1] + h,
    "squeezed gate": lambda m, h: h * torch.sigmoid(h.mean((2, 3), keepdim=True)),
    "of integers": lambda m, h: h + (4 * h).to(torch.long),
    "checkpointed": lambda m, h: checkpoint(lambda h: F.relu(m.same(h)), h, use_reentrant=False) + F.silu(h),
    "scripted": lambda m, h: scripted(h),
    "constant written to": lambda m, h: (lambda c: (c.add_(h), F.relu(c))[1])(torch.ones(3, 4, 6, 8)),
}


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", OPS)
def test_known_function_takes_four_passes(name: str) -> None:
    compare(Between(OPS[name]), torch.randn(3, 2, 6, 8), R1(2.0), LOSSES["softplus"], path="four passes")


@pytest.mark.parametrize("name", OTHERS)
def test_other_function_is_left_to_autograd(name: str) -> None:
    path = "four passes" if name == "detached" else None
    module = compare(Between(OTHERS[name]), torch.randn(3, 2, 6, 8), R1(2.0), LOSSES["softplus"], path=path)
    if path is None:
        assert module.explain()["real"].path in ("tail", "double backward")


class Straight(torch.autograd.Function):
    """Its derivative is not that of what its forward calls."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return torch.sign(x) * x.abs().relu()

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        return grad * 0.5


def test_what_the_recorder_cannot_see_is_left_to_autograd() -> None:
    module = compare(Between(lambda m, h: Straight.apply(h)), torch.randn(3, 2, 6, 8), R1(2.0), LOSSES["softplus"])
    explanation = module.explain()["real"]
    assert explanation.path == "tail"
    assert any(step.reason == "made where it could not be seen" for step in explanation.steps)


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "conv": lambda: fastgan.nn.Conv2d(4, 5, 3, padding=1),
    "leaky": lambda: fastgan.nn.LeakyReLU(0.2),
    "same size": lambda: fastgan.nn.ResBlockDown(4, 4, act="lrelu", alpha=0.1, downsample=False),
    "bias and activation": lambda: fastgan.nn.BiasAct(4, act="lrelu"),
    "down": lambda: fastgan.nn.ResBlockDown(4, 6, wrap=spectral_norm),
    "up": lambda: fastgan.nn.ResBlockUp(4, 3, norm=lambda channels: nn.LeakyReLU(0.1)),
    "conv and pool": lambda: fastgan.nn.ConvAvgPool2d(4, 5, 3),
    "upsample and conv": lambda: fastgan.nn.UpsampleConv2d(4, 3, 3),
    "spectral conv": lambda: fastgan.nn.SNConv2d(4, 5, 3, padding=1),
    "spectral linear": lambda: nn.Sequential(nn.Flatten(), fastgan.nn.SNLinear(192, 6)),
    "spectral transposed": lambda: fastgan.nn.SNConvTranspose2d(4, 3, 4, 2, 1),
}


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_this_library(name: str, backend: str) -> None:
    net = Between(lambda m, h: m.layer(h))
    net.layer = LAYERS[name]()
    with fastgan.use_backend(backend):
        compare(net, torch.randn(3, 2, 6, 8), R1(2.0), LOSSES["softplus"], path="four passes")
