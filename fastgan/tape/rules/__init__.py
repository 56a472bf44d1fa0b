"""The functions that the tape knows: what each does to tangents once its choices are frozen.

A rule makes the call and says what it was: which inputs, which constants, where the samples are afterwards. What it
does not recognise it declines, and the call is left to autograd; a rule never guesses.
"""

from fastgan.tape.rules import arithmetic, gates, layers, library, resampling, selections, shapes
from fastgan.tape.rules.call import RULES, Call, writes

__all__ = ["RULES", "Call", "arithmetic", "gates", "layers", "library", "resampling", "selections", "shapes", "writes"]
