"""What a job's named optimizers are as candidates, and whether they can run here."""

from collections.abc import Iterator, Mapping

from dsl.candidate import DECAY_KIND, Candidate
from dsl.compile import compile_rule
from dsl.text import parse
from dsl.validate import check
from optimizers.catalogue import CATALOGUE
from optimizers.library import LIBRARY, LibraryEntry
from search.space import Categorical, Int, Parameter
from service import bounds, feasibility
from service.conditions import NAMES, is_condition
from service.jobs import DiscoverJob, TuneJob
from service.languages import faults_of_discovery
from service.refusals import Fault


def tuned(job: TuneJob) -> Candidate:
    """Return the candidate whose numbers a tune job searches.

    Raises:
        ModuleNotFoundError: its optimizer comes from a library that is not installed.
    """
    if job.optimizer is None:
        # Without `lr` in the space the protocol's grid chooses it: nobody knows a good one.
        named, lr = Candidate(rule=job.rule or "", seed=job.seed), None
    else:
        named = baseline(job.optimizer, job.seed)
        lr = (CATALOGUE.get(job.optimizer) or LIBRARY[job.optimizer]).lr
    decay = named.decay
    if decay == "none" and "weight_decay" in job.space:
        # To search the weight decay of an optimizer that has none is to ask for the usual one.
        decay = "decoupled"
    return named.model_copy(update={"lr": lr, "decay": decay, "schedule": job.schedule})


def baseline(name: str, seed: int) -> Candidate:
    """Return a named optimizer with its defaults and without a learning rate, which is tuned.

    Raises:
        ModuleNotFoundError: it comes from a library that is not installed.
    """
    if name in LIBRARY:
        entry = LIBRARY[name]
        decay = entry.weight_decay
        return Candidate(
            rule=entry.path,
            decay="none" if decay is None else "own",
            weight_decay=decay or 0.0,
            seed=seed,
        )
    rule = CATALOGUE[name]
    return Candidate(rule=rule.rule, decay=rule.decay, weight_decay=rule.weight_decay, seed=seed)


def faults(job: TuneJob | DiscoverJob) -> Iterator[Fault]:
    """Yield what cannot be done of a job, or would only waste it: where in its body, and why.

    These faults depend on the libraries installed and on what this version knows of good numbers,
    so they are looked for when a job is submitted and never when a kept one is read.

    Raises:
        RuleError: The job's own rule is none.
    """
    yield from bounds.of_objective(job)
    yield from bounds.of_rates(job.protocol.learning_rates, "protocol")
    if isinstance(job, DiscoverJob):
        yield from faults_of_discovery(job)
        yield from bounds.of_rungs(job.protocol.pruner, job.protocol.steps, "protocol", "pruner")
        yield from bounds.of_rates(job.comparison.learning_rates, "comparison")
        yield from bounds.of_baselines(job.comparison)
        for i, name in enumerate(job.comparison.baselines):
            if name in LIBRARY and (sentence := LIBRARY[name].missing()):
                yield ("comparison", "baselines", i), sentence
        return
    if unsearchable := tuple(bounds.of_steps(job.space)):
        yield from unsearchable
        return
    yield from bounds.of_objectives(job)
    yield from feasibility.of_constraints(job)
    yield from bounds.of_pruner(job)
    yield from bounds.of_sampler(job)
    yield from bounds.of_points(job)
    yield from bounds.of_warm_start(job)
    if job.rule is not None:
        check(parse(job.rule))
        defaults = compile_rule(job.rule).hyperparameters
        allowed = sorted({"lr", "weight_decay", *defaults, *NAMES})
        for name in job.space:
            if name not in allowed and not is_condition(name):
                names = ", ".join(allowed)
                yield ("space", name), f"the rule has no parameter '{name}'; allowed: {names}"
        yield from bounds.of_space(job.space, defaults)
        yield from feasibility.of_costs(job, tuned(job))
    elif job.optimizer in CATALOGUE:
        yield from bounds.of_space(job.space, CATALOGUE[job.optimizer].hyperparameters)
        yield from feasibility.of_costs(job, tuned(job))
    elif job.optimizer in LIBRARY:
        entry = LIBRARY[job.optimizer]
        if sentence := entry.missing():
            yield ("optimizer",), sentence
        else:
            yield from _faults_of_space(entry, job.space)
            yield from bounds.of_space(job.space, entry.hyperparameters)
            yield from feasibility.of_costs(job, tuned(job))


def _faults_of_space(entry: LibraryEntry, space: Mapping[str, Parameter]) -> Iterator[Fault]:
    options = entry.options
    own = {"lr"} if entry.weight_decay is None else {"lr", "weight_decay"}
    for name, parameter in space.items():
        if name == DECAY_KIND:
            yield ("space", name), f"{entry.name} decays in its own way; leave {name} out"
        elif is_condition(name):
            continue
        elif name not in own and name not in options:
            allowed = ", ".join(sorted({*own, *options, *NAMES} - {DECAY_KIND}))
            yield (
                ("space", name),
                (f"there is no parameter of {entry.name} '{name}'; allowed: {allowed}"),
            )
        elif name in options and options[name].whole and not _whole(parameter):
            yield ("space", name), f"{name} of {entry.name} is a whole number: give it type 'int'"


def _whole(parameter: Parameter) -> bool:
    if isinstance(parameter, Categorical):
        return all(isinstance(value, int | float) and value == int(value)
                   for value in parameter.choices)  # fmt: skip
    return isinstance(parameter, Int)
