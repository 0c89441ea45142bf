"""Hostile texts: what a stranger may send in place of a rule."""

import builtins
import keyword
import random
from collections.abc import Callable, Sequence

from dsl.canonical import canonical, canonical_text
from dsl.compile import CompiledRule
from dsl.errors import RuleError
from dsl.fingerprint import fingerprint
from dsl.latex import to_latex
from dsl.operands import SUGAR
from dsl.operators import OPERATORS
from dsl.text import MAX_DEPTH, MAX_LENGTH, format_rule, parse
from dsl.validate import check

PIECES = (
    *"()+-*/^,=;\n \t.0123456789eE_#'\"\\\x00é∂{}[]:@!%&|~`<>?$",
    *("g", "w", "m", "v", "y", "u", "t", "T", "adam", "rmsprop", "ld", "cd", "rd", "nan", "inf"),
    *("ema", "debias", "exp", "where", "1e-8", "1e308", "1e-400", "lambda", "__import__", "beta"),
    *("drop(", "ema(g,", "a = ", "**", "0x1F", "1_000", "\u202e", "\ufeff", "\u2212", "１", "ｇ"),
    *("\ud800", "\U0001d7d9", "\r\n", "\x1b[0m", "None", "eps", "(g", "g)", "^ g", "\n\n"),
)
"""What texts are thrown together from."""

HUGE = ("9" * 400, "1e308", "1e-308", "1e400", "1e-400", "0." + "0" * 300 + "1", "1" + "0" * 308)
PYTHONS = [*keyword.kwlist, *keyword.softkwlist, *dir(builtins), "__class__"]
CALLS = sorted(name for name, row in OPERATORS.items() if row.arity and not row.symbol)

Rules = Sequence[str]


def soup(source: random.Random, rules: Rules) -> str:
    return "".join(source.choices(PIECES, k=source.randint(0, 40)))


def damaged(source: random.Random, rules: Rules) -> str:
    """A rule with a few characters lost, doubled or replaced."""
    text = source.choice(rules)
    for _ in range(source.randint(1, 4)):
        at = source.randrange(len(text) + 1)
        end = at + source.randint(0, 3)
        text = text[:at] + source.choice([*PIECES, "", text[at:end] * 2]) + text[end:]
    return text


def spliced(source: random.Random, rules: Rules) -> str:
    """The beginning of one rule and the end of another."""
    one, other = source.choice(rules), source.choice(rules)
    return one[: source.randrange(len(one) + 1)] + other[source.randrange(len(other) + 1) :]


def rewritten(source: random.Random, rules: Rules) -> str:
    """A rule with numbers, names and operators replaced by others, mostly still a rule."""
    words = source.choice(rules).split(" ")
    for _ in range(source.randint(1, 3)):
        at = source.randrange(len(words))
        if words[at] in "+-*/^":
            words[at] = source.choice("+-*/^")
        else:
            inner = source.choice([*HUGE, "0", "-1", "0.5", "t", "T", "g", "w", "u", "ld", "(1/0)"])
            words[at] = source.choice([inner, f"{source.choice(CALLS)}({words[at]})"])
    return " ".join(words)


def nested(source: random.Random, rules: Rules) -> str:
    """As deep as the language allows, about as deep, and far deeper."""
    depth = source.choice([MAX_DEPTH - 1, MAX_DEPTH, source.randint(1, 40), 500, 4000])
    opening = source.choice(
        ["(", "-", "exp(", "2^", "max(g,", "ema(", "g-(", "a=(", "log(abs(", "-("]
    )
    closing = source.choice(["", ")" * (depth * opening.count("(")), ", 0.9)" * depth])
    return (opening * depth + "g" + closing)[: source.choice([MAX_LENGTH, MAX_LENGTH + 1, 10**5])]


def numbers(source: random.Random, rules: Rules) -> str:
    """Towers of powers and numbers too large, too small, too long."""
    parts = [
        source.choice([*HUGE, "9", "2", "0", "0.5", "(-2)"]) for _ in range(source.randint(1, 12))
    ]
    tower = source.choice("^^^*/-+").join(parts)
    return source.choice(
        ["{} * g", "g ^ ({})", "({}) ^ g", "ema(g, {})", "a = 3\na ^ {} * g"]
    ).format(tower)


def doubling(source: random.Random, rules: Rules) -> str:
    """Lines that each use the one before twice, so that the tree is exponentially large."""
    one = source.choice(["g", "g + w", "m", "adam", "2", "t", "drop(g, 0.3)", "1e200 * g"])
    steps = [
        *("{0} + {0}", "{0} * {0}", "exp({0}) / {0}", "{0} ^ {0}", "ema({0}, 0.9) * {0}"),
        *("max({0}, -{0}) + w", "({0} + 1) * ({0} - 1)", "where({0}, {0}, g)", "{0} / (1 + {0})"),
        *("sign({0}) * {0}", "{0} - prev({0})", "({0} + g) * ({0} + w) * ({0} + m)", "2 ^ {0}"),
    ]
    same = source.choice(steps)
    lines = [f"a0 = {one}"]
    count = source.choice([3, 6, 8, 11, 23, 60, 250])
    for i in range(count):
        step = same if source.random() < 0.8 else source.choice(steps)
        lines.append(f"a{i + 1} = {step.format(f'a{i}')}")
    return "\n".join([*lines, f"a{count} * g"])


def wide(source: random.Random, rules: Rules) -> str:
    """Long sums and products, built so that they are not deep."""
    texts = [
        source.choice(
            ["g", "w", "m", "exp(g)", "(g + m)", "(w - g)", "sign(w)", "2", "ld", "1e-200"]
        )
        for _ in range(2 ** source.randint(1, 7))
    ]
    while len(texts) > 1:
        pairs = zip(texts[::2], texts[1::2], strict=True)
        texts = [f"({a}{source.choice('++*-/')}{b})" for a, b in pairs]
    return texts[0]


def unicode(source: random.Random, rules: Rules) -> str:
    """Any code points at all, in and around a rule."""
    any_ = [
        chr(source.choice([source.randrange(0x110000), source.randrange(256)])) for _ in range(9)
    ]
    text = source.choice(rules)
    at = source.randrange(len(text) + 1)
    return "".join(any_) if source.random() < 0.3 else text[:at] + "".join(any_[:2]) + text[at:]


def names(source: random.Random, rules: Rules) -> str:
    """Names that are long, nearly known, Python's own, or the language's for something else."""
    name = source.choice(
        ["x" * source.randint(1, 4000), "beat1", "Adam", "gg", "self", source.choice(PYTHONS)]
    )
    name += source.choice(["", "", "_", "9" * 40, "'", "é"])
    name = source.choice([name, name, source.choice(list(SUGAR))])
    spelt_out = source.choice(list(SUGAR.values()))
    forms = [
        "{0} * g",
        "{0} = 0.1\n{0} * g",
        "{0}(g)",
        "g.{0}",
        "a = {0}\ng",
        "{0} = g + 1\n{0} * w",
    ]
    return source.choice([*forms, f"{{0}} = 2\n{{0}} * ({spelt_out}) + g"]).format(name)


Kind = Callable[[random.Random, Rules], str]

KINDS: tuple[Kind, ...] = (
    *(soup, damaged, spliced, rewritten, nested, numbers, doubling, wide, unicode, names),
)
WEIGHTS = (14, 35, 15, 8, 5, 4, 2, 1, 9, 7)


def hostile(source: random.Random, rules: Rules) -> str:
    """Return the next text, decided by the source's seed."""
    return source.choices(KINDS, WEIGHTS)[0](source, rules)


def judge(text: str) -> bool:
    """Take a text through all that the language does, as far as it goes.

    Returns:
        Whether it is a rule. Whatever else is wrong with a text is a RuleError, anything else that
        is raised a crash.
    """
    try:
        expression = parse(text)
        check(expression)
    except RuleError as error:
        assert str(error)  # noqa: PT017
        return False
    assert parse(format_rule(expression)) == expression
    form = canonical_text(text)
    assert format_rule(canonical(parse(form))) == form
    compiled = CompiledRule(text)
    compiled.scalars(3, 10, compiled.hyperparameters, {})
    try:
        assert len(fingerprint(text)) == 16
    except RuleError as error:  # cancelled terms leave what no rule is
        assert "every weight" in error.message or "gradient" in error.message  # noqa: PT017
    assert to_latex(text)
    return True
