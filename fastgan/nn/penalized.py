"""A discriminator that returns its gradient penalty together with its output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from fastgan.ops import checks
from fastgan.penalties import ApproximateR1, Penalty
from fastgan.tape import Explanations, Select, differentiate, selected

__all__ = ["PenalizedDiscriminator"]

Self = TypeVar("Self", bound="PenalizedDiscriminator")

#: What makes a module's state dict; shared with the discriminator, so that there is no prefix and no copy.
_SHARED = (
    "_modules",
    "_parameters",
    "_buffers",
    "_non_persistent_buffers_set",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)


class PenalizedDiscriminator(nn.Module):
    """Calls a discriminator and computes penalties on its input gradient, sharing what the two have in common.

    ``(loss(out) + penalty).backward()`` gives the exact gradients, the input's included, in four passes over the
    network where it is piecewise linear, and by double backward where it is not; :meth:`explain` says which.

    Parameters
    ----------
    discriminator : nn.Module
        Any module, unmodified. It maps samples ``[N, ...]`` and conditions to its output.
    penalty : Penalty or sequence of Penalty
        Of :mod:`fastgan.penalties`; several are added, as in ``[R1(1.0), R2(1.0)]``.
    select : int, str or callable, optional
        Which part of an output that is no tensor is penalised: an index, a key or a function of the output. A part of
        several tensors counts as their sum.

    Notes
    -----
    The state dict, parameters and submodules are the discriminator's own, without a prefix: hand this module to DDP,
    Fabric or the optimizer in its place.

    The penalised scalar of a sample is the sum of its outputs, as with ``autograd.grad(out.sum(), x)``. The
    discriminator is called at the real samples first, then at the fake ones, then at other points.

    The result can be differentiated once.
    """

    discriminator: nn.Module
    penalties: tuple[Penalty, ...]
    select: Select

    def __init__(
        self, discriminator: nn.Module, penalty: Penalty | Sequence[Penalty], *, select: Select = None
    ) -> None:
        super().__init__()
        discriminator = getattr(discriminator, "_orig_mod", discriminator)  # what torch.compile wraps
        if not isinstance(discriminator, nn.Module):
            raise TypeError(
                f"PenalizedDiscriminator: discriminator must be an nn.Module, got {type(discriminator).__name__}"
            )
        penalties = (penalty,) if isinstance(penalty, Penalty) else tuple(penalty)
        for given in penalties:
            if not isinstance(given, Penalty):
                raise TypeError(f"PenalizedDiscriminator: penalty must be a Penalty, got {type(given).__name__}")
        state = vars(self)  # past nn.Module's own setting of attributes, which would make it a submodule
        state.update({name: vars(discriminator)[name] for name in _SHARED})
        state.update(discriminator=discriminator, penalties=penalties, select=select, training=discriminator.training)
        self.calls = 0
        self._explanations = Explanations()

    def train(self: Self, mode: bool = True) -> Self:
        """Set the training mode of the discriminator."""
        self.discriminator.train(mode)
        self.training = mode
        return self

    def forward(
        self, x: Tensor, *conditions: Any, fake: Tensor | None = None, fake_conditions: Sequence[Any] = ()
    ) -> tuple[Any, ...]:
        """Call the discriminator.

        Parameters
        ----------
        x : Tensor
            Real samples ``[N, ...]``, floating point.
        *conditions
            Passed on to the discriminator.
        fake : Tensor, optional
            Generated samples.
        fake_conditions : sequence, default ()
            Their conditions. Default: the real ones'.

        Returns
        -------
        out : Any
            The discriminator's output at x.
        fake_out : Any
            Its output at fake; only where fake is given.
        penalty : Tensor
            The sum of the penalties, a scalar; without those that their `every` leaves out at this call, in training.
        """
        # Asked for at every call, as the compiler would be imported to keep it out where nothing is compiled.
        run = _untraced if torch.compiler.is_compiling() else _run
        return run(self, x, conditions, fake, fake_conditions)

    def _run(
        self, x: Tensor, conditions: Sequence[Any], fake: Tensor | None, fake_conditions: Sequence[Any]
    ) -> tuple[Any, ...]:
        checks.check_floating("PenalizedDiscriminator", "x", x)
        due = [each for each in self.penalties if not self.training or self.calls % each.every == 0]
        for each in due:
            if each.needs_fake and fake is None:
                raise ValueError(f"PenalizedDiscriminator: fake must be given for {each!r}, got None")
        if self.training:
            self.calls += 1
        self._explanations = Explanations()
        fake_conditions = fake_conditions or conditions
        outputs, values = [], []
        for points, samples, given in (("real", x, conditions), ("fake", fake, fake_conditions)):
            if samples is None:
                continue
            here = [each for each in due if each.points == points]
            exact = [each for each in here if not isinstance(each, ApproximateR1)]
            approximate = [each for each in here if isinstance(each, ApproximateR1)]
            output, gradient = self._call(points, samples, given, bool(exact))
            outputs.append(output)
            values += [each(gradient) for each in exact]
            values += [self._difference(each, output, samples, given) for each in approximate]
        for each in due:
            if each.points not in ("real", "fake"):
                _, gradient = self._call(each.points, each.place(x, fake), conditions, True)
                values.append(each(gradient))
        return (*outputs, sum(values[1:], start=values[0]) if values else x.new_zeros(()))

    def _call(self, points: str, samples: Tensor, conditions: Sequence[Any], penalised: bool) -> tuple[Any, Any]:
        if not penalised:
            return self.discriminator(samples, *conditions), None
        output, gradient, explanation = differentiate(
            "PenalizedDiscriminator", self.discriminator, samples, conditions, self.select
        )
        self._explanations[points] = explanation
        return output, gradient

    def _difference(self, penalty: ApproximateR1, output: Any, samples: Tensor, conditions: Sequence[Any]) -> Tensor:
        neighbours = self.discriminator(penalty.neighbours(samples), *conditions)
        pairs = zip(
            *(selected("PenalizedDiscriminator", each, self.select) for each in (output, neighbours)), strict=True
        )
        joined = [torch.cat([t.reshape(len(samples), -1) for t in side], 1) for side in zip(*pairs, strict=True)]
        return penalty.of_outputs(*joined)

    def explain(self) -> Explanations:
        """How the last call's penalties were computed, by the points they look at.

        Returns
        -------
        dict of str to Explanation
            Printed, it lists the network's operations, what runs each, and why. The `path` of each explanation is
            "four passes", "six passes", "tail" or "double backward".
        """
        return self._explanations

    def extra_repr(self) -> str:
        """The penalties."""
        return ", ".join(map(repr, self.penalties))


_run = PenalizedDiscriminator._run
_untraced = torch._disable_dynamo(_run)
