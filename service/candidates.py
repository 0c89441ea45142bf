"""What a job's named optimizers are as candidates, and whether they can run here."""

from collections.abc import Iterator, Mapping

from dsl.candidate import Candidate
from optimizers.catalogue import CATALOGUE
from optimizers.library import LIBRARY, LibraryEntry
from search.space import Categorical, Int, Parameter
from service.jobs import DiscoverJob, TuneJob


def tuned(job: TuneJob) -> Candidate:
    """Return the candidate whose numbers a tune job searches.

    Raises:
        ModuleNotFoundError: its optimizer comes from a library that is not installed.
    """
    named = baseline(job.optimizer, job.seed)
    decay = named.decay
    if decay == "none" and "weight_decay" in job.space:
        # To search the weight decay of an optimizer that has none is to ask for the usual one.
        decay = "decoupled"
    lr = (CATALOGUE.get(job.optimizer) or LIBRARY[job.optimizer]).lr
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


def faults(job: TuneJob | DiscoverJob) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield what the libraries installed here cannot do of a job: where in its body, and why.

    These faults depend on the machine, so they are looked for when a job is submitted and never
    when a kept one is read.
    """
    if isinstance(job, DiscoverJob):
        for i, name in enumerate(job.comparison.baselines):
            if name in LIBRARY and (sentence := LIBRARY[name].missing()):
                yield ("comparison", "baselines", i), sentence
    elif job.optimizer in LIBRARY:
        entry = LIBRARY[job.optimizer]
        if sentence := entry.missing():
            yield ("optimizer",), sentence
        else:
            yield from _faults_of_space(entry, job.space)


def _faults_of_space(
    entry: LibraryEntry, space: Mapping[str, Parameter]
) -> Iterator[tuple[tuple[str, ...], str]]:
    options = entry.options
    own = {"lr"} if entry.weight_decay is None else {"lr", "weight_decay"}
    for name, parameter in space.items():
        if name not in own and name not in options:
            allowed = ", ".join(sorted([*own, *options]))
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
