"""Static checks: what can be said of a rule without running it."""

from functools import lru_cache

from dsl.algebra import Normalizer
from dsl.errors import RuleError
from dsl.expression import Expression
from dsl.program import Program, resolve
from dsl.text import parse

__all__ = ["check", "checked", "program_of"]


def check(expression: Expression) -> None:
    """Check a rule: its names, the kinds of its arguments, and that it uses the gradient.

    Raises:
        RuleError: The rule cannot be trained; the message says why and where.
    """
    program = checked(expression)
    normalizer = Normalizer()
    update = normalizer.run(program)
    graph = normalizer.graph
    if not any(graph.is_name(index, "g") for index in graph.reachable(update)):
        raise RuleError(
            "The gradient cancels out of the update",
            expression.text,
            expression.update.position,
            "What is left of it is the same whatever the gradient.",
        )


def checked(expression: Expression) -> Program:
    """Return a rule's program after all checks of `check` but the algebraic one."""
    program = resolve(expression)
    position = expression.update.position
    if not any(program.mentions(name) for name in ("g", "w", "u")):
        raise RuleError(
            "The update is the same for every weight",
            expression.text,
            position,
            "A rule is computed from the gradient g.",
        )
    if not program.mentions("g"):
        raise RuleError(
            "The update ignores the gradient",
            expression.text,
            position,
            "Use g, or an average of it such as m or ema(g, beta).",
        )
    return program


@lru_cache(maxsize=256)  # whoever checks a rule asks what it does next
def program_of(text: str) -> Program:
    """Return `checked` of a text; the program is shared, so it is read only."""
    return checked(parse(text))
