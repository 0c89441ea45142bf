"""Random rules for property tests: trees over the whole operator table."""

from hypothesis import strategies as st

from dsl.expression import Call, Expression, Line, Name, Node, Number
from dsl.operands import SUGAR
from dsl.operators import OPERATORS, Kind
from dsl.text import parse

NUMBERS = st.sampled_from([0.0, 0.1, 0.3, 0.5, 1.0, 2.0, 3.0, -1.0, -2.5, 1e-3, 1e-8, 7.25])
BETAS = st.sampled_from([Number(0.9), Number(0.0), Name("beta"), Name("beta2"), Name("ld")])
SCALARS = st.one_of(
    NUMBERS.map(Number),
    st.sampled_from([Name(n) for n in ("beta", "mu", "eps", "t", "T", "ld", "cd", "alpha")]),
)
TENSORS = st.sampled_from([Name(n) for n in ("g", "w", "m", "v", "y", "u", "adam", "rmsprop")])
SPELT_OUT = st.sampled_from([parse(text).update for text in SUGAR.values()])

POINTWISE = sorted(n for n, row in OPERATORS.items() if row.kind is Kind.POINTWISE)
STATE = sorted(n for n, row in OPERATORS.items() if row.kind is Kind.STATE)


def _tree(name: str, arguments: tuple[Node, ...]) -> Node:
    if name == "neg" and isinstance(arguments[0], Number):
        return Number(-arguments[0].value)  # as the parser reads a minus before a number
    return Call(name, arguments)


def _grow(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    either = st.one_of(inner, SCALARS)
    pointwise = st.sampled_from(POINTWISE).flatmap(
        lambda name: st.tuples(inner, *[either] * (OPERATORS[name].arity - 1)).map(
            lambda arguments: _tree(name, arguments)
        )
    )
    state = st.sampled_from(STATE).flatmap(
        lambda name: st.tuples(inner, *[BETAS] * (OPERATORS[name].arity - 1)).map(
            lambda arguments: Call(name, arguments)
        )
    )
    debiased = st.tuples(inner, BETAS).map(lambda pair: Call("debias", (Call("ema", pair),)))
    return st.one_of(pointwise, pointwise, pointwise, state, debiased)


trees: st.SearchStrategy[Node] = st.recursive(TENSORS, _grow, max_leaves=8)
"""Tensor-valued trees without reductions and randomness."""

expressions: st.SearchStrategy[Expression] = st.one_of(
    trees.map(lambda tree: Expression((), tree)),
    st.tuples(trees, NUMBERS).map(
        lambda pair: Expression(
            (Line("half", Number(pair[1])), Line("a", pair[0])),
            Call("add", (Call("mul", (Name("half"), Name("a"))), Name("g"))),
        )
    ),
    # A hyperparameter that is named like sugar, beside what that sugar would stand for.
    st.tuples(st.sampled_from(sorted(SUGAR)), NUMBERS, SPELT_OUT).map(
        lambda drawn: Expression(
            (Line(drawn[0], Number(drawn[1])),),
            Call("add", (Call("mul", (Name(drawn[0]), drawn[2])), Name("g"))),
        )
    ),
)
"""Rules, some with lines."""
