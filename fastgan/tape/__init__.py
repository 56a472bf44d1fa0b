"""Outputs of a network and their input gradient, both differentiable, in as few passes as the network allows.

For a network that is piecewise linear in its input and keeps samples apart, loss and penalty need four passes
(docs/penalties.md): F records the calls (:mod:`~fastgan.tape.recorder`, by the rules of :mod:`~fastgan.tape.rules`), B
finds the backpropagated vectors δ and the input gradient, T runs the tangent forward and W the weight gradients
(:mod:`~fastgan.tape.branch`). To autograd they are one node a layer (:mod:`~fastgan.tape.passes`).
"""

from fastgan.tape.explanation import Explanation, Explanations, Step
from fastgan.tape.selection import Select, selected
from fastgan.tape.step import differentiate

__all__ = ["Explanation", "Explanations", "Select", "Step", "differentiate", "selected"]
