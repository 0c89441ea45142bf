"""The Tune trainable: one trial trains one population and ends."""

import importlib
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import ray
import torch
from ray import tune

from dsl.candidate import Candidate, Proposal, Stage
from dsl.outcome import Outcome
from workers.memory import resident
from workers.protocol import Evaluation, Protocol, Scheduled, TaskSpec
from workers.stages import Stages

Judge = Callable[..., list[Outcome]]
"""What `workers.evaluation.judge` is: (evaluation, proposals, *, device) -> outcomes."""

JUDGE = "workers.evaluation:judge"


def resolve(name: str) -> Any:
    """Return what `package.module:attribute` names.

    Functions cross Ray by name, never as pickled code.

    Raises:
        ModuleNotFoundError: The module is not installed where this runs.
        AttributeError: The module has no such attribute.
    """
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


class PopulationTrainable(tune.Trainable):
    """Judge `config["population"]` in one step.

    The config holds `population` (list of `Proposal` as JSON), `evaluation` (an `Evaluation` as
    JSON) and `judge` (its name, see `resolve`). The result holds `outcomes` (list of `Outcome` as
    JSON) and `lost` (list of {"number", "error"}: proposals whose judging raised, which is our
    fault and never the candidate's).

    Under a pruner that compares populations a step goes to the next rung alone: the result is what
    would come of the proposal if it stopped there, with its `step` and its `score`.

    Where the population is empty the worker is to wait for the next config. It gets ready, and
    the result holds `waits` and the bytes of memory that the process has, `resident`.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Keep the config; it is read in `step`, where what is wrong with it can be reported."""
        self._job = config
        self._stages: Stages | None = None

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next population: nothing of the last one is kept, so reuse is always safe."""
        self.cleanup()
        self._job = new_config
        return True

    def cleanup(self) -> None:
        """End what is judged in stages."""
        if self._stages is not None:
            self._stages.stop()
            self._stages = None

    def step(self) -> dict[str, Any]:
        """Judge the population and say that the trial is done, or get ready to wait."""
        if not self._job["population"]:
            get_ready()
            return {"waits": True, "resident": resident()}
        evaluation = Evaluation.model_validate(self._job["evaluation"])
        proposals = [Proposal.model_validate(entry) for entry in self._job["population"]]
        torch.set_num_threads(evaluation.threads)
        device = "cuda" if ray.get_gpu_ids() and torch.cuda.is_available() else "cpu"
        judge: Judge = resolve(self._job.get("judge", JUDGE))
        protocol = evaluation.protocols[proposals[0].stage]
        if isinstance(protocol.pruner, Scheduled):
            if self._stages is None:
                self._stages = Stages(
                    lambda heard: judge_apart(
                        partial(judge, heard=heard), evaluation, proposals, device
                    )
                )
            outcome = self._stages.next()
            if outcome is not None:
                return {
                    "outcomes": [outcome.model_dump(mode="json")],
                    "lost": [],
                    "step": outcome.step,
                    "score": outcome.metrics[protocol.metric],
                }
            outcomes, lost = self._stages.end()
        else:
            outcomes, lost = judge_apart(judge, evaluation, proposals, device)
        return {
            "outcomes": [outcome.model_dump(mode="json") for outcome in outcomes],
            "lost": lost,
            "done": True,
        }


@cache
def get_ready() -> None:
    """Judge a rule for one step, once in a process: the first time takes as long as a hundred."""
    proposal = Proposal(number=0, candidate=Candidate(rule="g", lr=0.1))
    evaluation = Evaluation(
        task=TaskSpec(name="digits-mlp"), protocols={Stage.SEARCH: Protocol(steps=1)}
    )
    resolve(JUDGE)(evaluation, [proposal])


def judge_apart(
    judge: Judge, evaluation: Evaluation, proposals: Sequence[Proposal], device: str
) -> tuple[list[Outcome], list[dict[str, Any]]]:
    """Judge all together; if that raises, each alone, so that one bad apple costs only itself.

    Returns:
        The outcomes, and for every proposal that raised even alone its number and the error.
    """
    try:
        return judge(evaluation, proposals, device=device), []
    except Exception as error:
        if len(proposals) == 1:
            sentence = f"{type(error).__name__}: {error}"
            return [], [{"number": proposals[0].number, "error": sentence}]
    outcomes: list[Outcome] = []
    lost: list[dict[str, Any]] = []
    for proposal in proposals:
        judged, failed = judge_apart(judge, evaluation, [proposal], device)
        outcomes += judged
        lost += failed
    return outcomes, lost
