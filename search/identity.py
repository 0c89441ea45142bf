"""When two candidates are the same one: what they do, not what they are called."""

import hashlib
import json

from dsl.candidate import Candidate
from dsl.canonical import canonical_text
from dsl.compile import compile_rule
from dsl.fingerprint import edition, fingerprint


def behaviour(candidate: Candidate, *, canonical: bool = False) -> str:
    """Return a name that candidates share if they train alike, apart from their seeds.

    Of the rule the fingerprint counts; its scale does not where the learning rate is tuned and
    nothing beside the update is measured by it, as decay in torch's convention is. An optimizer
    of another library is what its name says.

    Args:
        candidate: A rule with its numbers.
        canonical: The rule is in canonical form already, which saves finding it.

    Raises:
        RuleError: The candidate's rule is none.
    """
    decays = candidate.decay != "none" and candidate.weight_decay != 0.0
    tuned = candidate.lr is None and not (decays and candidate.decay in ("decoupled", "own"))
    said = candidate.rule
    if not candidate.imported:
        said = fingerprint(said, scale_free=tuned, canonical=canonical)
    numbers = candidate.model_dump_json(
        include={"lr", "hyperparameters", "schedule", "batch_size"}
        | ({"decay", "weight_decay"} if decays else set()),
        exclude_defaults=True,
    )
    return f"{said} {numbers}"


def named(candidate: Candidate, *, canonical: bool = False) -> bytes:
    """Return 16 bytes that stand for `behaviour`: a long search remembers little.

    The first two are the fingerprints' edition, so that names in a database tell whether they
    were made as they are now.
    """
    said = behaviour(candidate, canonical=canonical)
    return edition() + hashlib.sha256(said.encode()).digest()[:14]


def spelled(candidate: Candidate) -> str:
    """Return 32 digits that candidates share if they are the same in all but their seeds.

    Of the rule the canonical form counts, and of the numbers those that are given, unless a
    hyperparameter is given the rule's own default. For candidates whose hyperparameters are
    searched, where `behaviour` would know the rule at its defaults alone.

    Raises:
        RuleError: The candidate's rule is none.
    """
    rule = candidate.rule if candidate.imported else canonical_text(candidate.rule)
    # What a sampler drew is validated where a worker reads it.
    numbers = candidate.model_dump(exclude={"rule", "seed"}, warnings=False)
    if not candidate.imported:
        defaults, given = compile_rule(candidate.rule).hyperparameters, candidate.hyperparameters
        changed = {name: value for name, value in given.items() if value != defaults.get(name)}
        numbers["hyperparameters"] = changed
    said = f"{rule} {json.dumps(numbers, sort_keys=True)}"
    return hashlib.sha256(said.encode()).hexdigest()[:32]


def is_current(name: bytes) -> bool:
    """Tell whether `named` would give such a name now, and not one of another edition."""
    return name.startswith(edition())
