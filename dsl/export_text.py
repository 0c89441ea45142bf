"""The text of exported torch files, around the lines of a rule."""

__all__ = [
    *(
        "DRAWN",
        "DRAWS",
        "FILE",
        "FITTED",
        "LOAD",
        "NUMBERS",
        "REDUCED",
        "REDUCTIONS",
        "REMEMBERED",
        "TOGETHER",
    ),
    "WIDE",
]

REDUCTIONS = {
    "norm": "def norm(x):\n    return torch.linalg.vector_norm(x)\n",
    "mean": "def mean(x):\n    return torch.mean(x)\n",
    "rms": "def rms(x):\n    return x.square().mean().sqrt()\n",
}

DRAWS = {
    "mix": '''def mix(x):
    """Permute a 32-bit number, or those in an int64 tensor."""
    x = (x ^ (x >> 16)) * 0x7FEB352D & 0xFFFFFFFF
    x = (x ^ (x >> 15)) * (0x846CA68B - (1 << 32)) & 0xFFFFFFFF
    return x ^ (x >> 16)
''',
    "stream": '''def stream(draw, number, like):
    """Return the numbered stream's numbers in [0, 1): multiples of 2^-24, like `like`."""
    seed, t, first = draw
    key = mix(mix(mix(seed & 0xFFFFFFFF) ^ t) ^ ((number + 0x9E3779B9) & 0xFFFFFFFF))
    element = (first + torch.arange(like.numel(), device=like.device)) & 0xFFFFFFFF
    return ((mix(mix(element) ^ key) >> 8) * 2.0**-24).to(like.dtype).reshape(like.shape)
''',
    "uniform": '''def uniform(draw, index, like):
    """Return numbers in [0, 1) like `like`, for draw `index` of the rule."""
    return stream(draw, 3 * index, like)
''',
    "normal": '''def normal(draw, index, like):
    """Return standard normal numbers like `like` (Box and Muller 1958)."""
    radius = torch.sqrt(-2.0 * torch.log(1.0 - stream(draw, 3 * index + 1, like)))
    return radius * torch.cos(2.0 * math.pi * stream(draw, 3 * index + 2, like))
''',
}
"""`dsl.randomness` for one model, whose weights are of float32 or float64."""

WIDE = "wide = torch.zeros([], dtype=torch.float64).new_tensor  # 1 / 0 is infinite for tensors"

NUMBERS = '''def numbers(**given):
    """Return the scalars, computed with floats or, where those raise, with tensors."""
    try:
        return [float(x) for x in scalars(**FLOATS, **given)]
    except (ArithmeticError, TypeError, ValueError):  # a TypeError is a complex number's
        given = {k: wide(x) for k, x in given.items() if isinstance(x, (float, int))}
        return [float(x) for x in scalars(**TENSORS, **given)]
'''

REMEMBERED = '''def numbers(memory, **given):
    """Return the scalars, computed with floats or, where those raise, with tensors."""
    try:
        found = scalars(memory=(left := dict(memory)), **FLOATS, **given)
        found = [float(x) for x in found]
    except (ArithmeticError, TypeError, ValueError):  # a TypeError is a complex number's
        given = {k: wide(x) for k, x in given.items() if isinstance(x, (float, int))}
        found = scalars(memory=(left := dict(memory)), **TENSORS, **given)
    memory.update({k: float(x) for k, x in left.items()})
    return [float(x) for x in found]
'''

FILE = '''"""{doc}"""

import math
import torch

{functions}

class {name}(torch.optim.Optimizer):
    """{title}"""

    def __init__({signature}):
        defaults = {{k: x for k, x in locals().items() if k not in ("self", "params", "__class__")}}
        for key, least in {bounds}:
            if not least <= defaults[key] < math.inf:
                raise ValueError(f"{{key}} = {{defaults[key]}}, not finite and at least {{least}}")
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure=None):
        """Take one step; `closure` re-evaluates the model and returns the loss."""
        loss = torch.enable_grad()(closure)() if closure else None
{begin}        for group in self.param_groups:
{before}                g, state = p.grad, self.state[p]
                if p.is_complex() or g.layout != torch.strided:
                    raise RuntimeError("{name} takes dense, not sparse or complex gradients")
                w = p.float() if p.dtype in (torch.bfloat16, torch.float16) else p.detach()
                if not state:
{start}                row = {row}
{small}{values}                key = {key}
                work.setdefault(key, []).append([x.view(-1).detach() for x in row] if flat else row)
                half += [(p, w)] if w.dtype != p.dtype else []
                state["step"] += 1
        for {unpacked}, rows in work.items():
{loop}        for p, w in half:
            p.copy_(w)
        return loss
{load}'''

DRAWN = """            go = advance
            if compiled:
                go = self.fast = vars(self).get("fast") or torch.compile(advance, dynamic=True)
                values = rows[0][0].new_tensor(values)
                draw = rows[0][0].new_tensor(draw, dtype=torch.int64)
            go(values, draw, rows)
"""
"""Steps a tensor whose update draws random numbers."""

REDUCED = """            go = advance
            if compiled:
                go = self.fast = vars(self).get("fast") or torch.compile(advance, dynamic=True)
                values = rows[0][0].new_tensor(values)
            for row in rows:
                go(values, [row])
"""
"""Steps tensors of one kind by an update that needs them whole."""

TOGETHER = """            go = advance
            if compiled:
                go = self.fast = vars(self).get("fast") or torch.compile(advance, dynamic=True)
                values = rows[0][0].new_tensor(values)
            each_piece(go, values, rows, small, compiled)
"""
"""Steps tensors of one kind by an update that goes element by element."""

FITTED = """            top = torch.finfo(rows[0][0].dtype).max  # beyond it a cast is infinite
            values = [math.copysign(math.inf, x) if abs(x) > top else x for x in values]
"""
"""Makes a step's numbers what they were in training (`dsl.scalars.fitting`)."""

LOAD = '''
    def load_state_dict(self, state_dict):
        """Take up a state to the bit: torch alone would round it to the weights' type."""
        super().load_state_dict(state_dict)
        for i, x in self.state_dict()["state"].items():
            x.update({k: state_dict["state"][i][k].to(x[k].device, copy=True) for k in SLOTS})'''
