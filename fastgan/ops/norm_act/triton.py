from fastgan.ops.norm_act.reference import *  # noqa
def unsupported_reason(a,b): return "x"
