"""Text to tree and back, and the messages in between."""

import random

import pytest
from hypothesis import given, settings

from dsl.errors import RuleError
from dsl.expression import Call, Name, Number, nodes
from dsl.text import MAX_DEPTH, MAX_LENGTH, MAX_NODES, format_rule, parse
from dsl.validate import check
from optimizers.catalogue import CATALOGUE
from tests.dsl.hostile import KINDS, Kind, hostile, judge
from tests.dsl.strategies import expressions


def test_reads_lines_and_the_update() -> None:
    expression = parse("m = ema(g, beta); base ^ (decay * sign(g) * sign(m)) * g\n")
    assert [line.name for line in expression.lines] == ["m"]
    assert format_rule(expression) == "m = ema(g, beta)\nbase ^ (decay * sign(g) * sign(m)) * g"


@pytest.mark.parametrize(
    ("text", "formatted"),
    [
        ("a-(b-c)-d", "a - (b - c) - d"),
        ("-3^2", "-3 ^ 2"),
        ("(-3)^2", "(-3) ^ 2"),
        ("2^3^g", "2 ^ 3 ^ g"),
        ("(2^3)^g", "(2 ^ 3) ^ g"),
        ("2^-g", "2 ^ (-g)"),
        ("-(a+b)*c", "-(a + b) * c"),
        ("a/(b*c)", "a / (b * c)"),
        ("max(\n g,\n1.50)", "max(g, 1.5)"),
        ("1e-8*g", "1e-08 * g"),
        ("a - -3", "a - -3"),
    ],
)
def test_formats_with_the_parentheses_it_needs(text: str, formatted: str) -> None:
    assert format_rule(parse(text)) == formatted
    assert parse(formatted) == parse(text)


def test_precedence_is_python_s() -> None:
    assert parse("-g^2").update == Call("neg", (Call("pow", (Name("g"), Number(2.0))),))
    assert parse("-g*w").update == Call("mul", (Call("neg", (Name("g"),)), Name("w")))
    assert parse("--3").update == Number(3.0)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(expressions)
def test_round_trip(expression) -> None:
    try:
        read = parse(format_rule(expression))
    except RuleError as error:
        assert "at most" in error.message  # noqa: PT017 - larger than the language allows
        return
    assert read == expression
    assert parse(format_rule(read)) == read


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_named_rules_round_trip_and_pass_the_checks(name: str) -> None:
    expression = parse(CATALOGUE[name].rule)
    assert parse(format_rule(expression)) == expression
    check(expression)


@pytest.mark.parametrize(
    ("text", "line", "column", "said", "hint"),
    [
        ("", 1, 1, "empty", "shortest rule"),
        ("g +", 1, 4, "ends too early", ""),
        ("exp(g", 1, 4 - 3, "never closed", ""),
        ("g ** 2", 1, 3, "'**' is no operator", "x ^ y"),
        ("a = g\nsgn(a)", 2, 1, "Unknown function 'sgn'", "'sign'"),
        ("ema(g)", 1, 1, "'ema' takes 2 arguments, not 1", "beta"),
        ("g\nm", 2, 1, "more after the update", "last line"),
        ("a = g", 1, 6, "update is missing", "'a'"),
        ("g × 2", 1, 3, "Unexpected character", "ASCII"),
        ("g g", 1, 3, "operator is missing before 'g'", "'2 * g'"),
        ("2g", 1, 2, "operator is missing before 'g'", "'2 * g'"),
        ("(g)(w)", 1, 4, "operator is missing before '('", ""),
        ("exp(2g)", 1, 6, "operator is missing before 'g'", ""),
        ("a = g w\na", 1, 7, "operator is missing before 'w'", ""),
        ("g)", 1, 2, "never opened", "Remove it"),
        ("g\n)", 2, 1, "never opened", "Remove it"),
        ("1_000 * g", 1, 1, "'1_000' is no number", "1000"),
        ("1e * g", 1, 1, "'1e' is no number", "1e-3"),
        ("g * 2.5.3", 1, 5, "'2.5.3' is no number", ""),
        ("0x1F * g", 1, 1, "'0x1F' is no number", ""),
        ("ema g", 1, 1, "'ema' takes its arguments in parentheses", "beta"),
        ("g * 1e-400", 1, 5, "1e-400 is too small", "write 0"),
        ("(g,)", 1, 3, "Unexpected ','", ""),
        ("g * 1e999", 1, 5, "too large", ""),
        ("a = g = m\na", 1, 7, "Unexpected '='", ""),
        ("ld(3) * g", 1, 1, "takes no arguments", "'ld'"),
        ("import os", 1, 8, "operator is missing before 'os'", ""),
    ],
)
def test_errors_point_at_the_character(
    text: str, line: int, column: int, said: str, hint: str
) -> None:
    with pytest.raises(RuleError) as caught:
        parse(text)
    error = caught.value
    assert (error.line, error.column) == (line, column)
    assert said in error.message
    assert hint in error.hint
    assert isinstance(error, ValueError)
    assert error.text == text
    if text:
        lines = str(error).splitlines()
        assert lines[2].index("^") - 2 == column - 1, "the caret stands under the character"


@pytest.mark.parametrize("zero", ["0", "0.000", "0e-400", ".0e5", "-0"])
def test_a_zero_is_a_number(zero: str) -> None:
    assert parse(f"g + {zero}").update == Call("add", (Name("g"), Number(float(zero))))


def test_bounds() -> None:
    for text in (
        "g" + " " * MAX_LENGTH,
        "(" * 5000,
        "(" * 2000 + "g" + ")" * 2000,
        "-" * 4000 + "g",
        "+".join("g" * (MAX_DEPTH + 5)),
        "max(g," * 100 + "g" + ")" * 100,
        "\n".join(f"a{i} = g * {i}.5 + w" for i in range(MAX_NODES)) + "\ng",
        "x" * 33 + " * g",
        "2^" * 1000 + "g",
        "a = 1e300 * 1\n" * 300 + "g",
    ):
        with pytest.raises(RuleError):
            parse(text)
    with pytest.raises(RuleError, match="32 levels deep") as caught:
        parse("+".join("g" * (MAX_DEPTH + 1)))
    assert "group them, (a + b) + (c + d)" in caught.value.hint
    deep = "exp(" * (MAX_DEPTH - 1) + "g" + ")" * (MAX_DEPTH - 1)
    assert sum(1 for _ in nodes(parse(deep))) == MAX_DEPTH


def test_hostile_text_gives_a_rule_or_a_rule_error() -> None:
    """A few of the texts that `tests.benchmarks.bench_fuzz` throws by the half million."""
    source = random.Random(20170917)
    rules = [entry.rule for entry in CATALOGUE.values()]
    accepted = sum(judge(hostile(source, rules)) for _ in range(2500))
    assert accepted > 50, "the fuzz reaches what lies behind the parser"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_of_hostile_text(kind: Kind) -> None:
    source = random.Random(1)
    rules = [entry.rule for entry in CATALOGUE.values()]
    texts = [kind(source, rules) for _ in range(40)]
    assert len(set(texts)) > 20
    for text in texts:
        judge(text)


@pytest.mark.parametrize(
    "text",
    [
        "g\0",
        "\0",
        "a\0 = 1\ng",
        "\ud800 * g",
        "ema(g, 9 / 1e-300 / 1e-300 / 1e-308)",
        "a = 3\na ^ 2 / 1e308 / 9 / 1e-308 * g",
        "\n".join(["a0 = t", *(f"a{i + 1} = a{i} ^ a{i} * a{i}" for i in range(15)), "a15 * g"]),
        "\n".join(["a0 = g", *(f"a{i + 1} = a{i} * a{i}" for i in range(23)), "a23 * g"]),
        "9^" * 20 + "9 * g",
        "a = 1e200 * g - w\nb = a * 1e200 - prev(a)\nb * 1e200",
        "(g / 1e-200 + w) / 1e-200 * (m / 1e-200 - w)",
        "1" * 4000 + " * g",
        "g" * 4097,
        "(" * 4096,
        "-" * 4095 + "g",
        "1e-400 * g",
    ],
)
def test_hostile_texts_that_are_known(text: str) -> None:
    judge(text)
