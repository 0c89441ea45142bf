"""How good an outcome is, as one number that a controller raises."""

import math

from dsl.outcome import Outcome, TrialState
from search.settings import Objective, Reward

SMALLEST = 1e-12
"""Losses below this count as this: an exact optimum is not infinitely good."""

FLOOR: dict[Reward, float] = {"negative_log": -math.log(10.0), "value": 0.0}
"""What an INFEASIBLE candidate scores, and the least that any other does.

A loss of 10 nats is no better than divergence, and neither is an accuracy of nothing.
"""


def natural_reward(objective: Objective) -> Reward:
    """Return `negative_log` for what is minimised (losses), `value` for what is maximised."""
    return "negative_log" if objective.direction == "minimize" else "value"


def reward(outcome: Outcome, objective: Objective, kind: Reward) -> float:
    """Return the reward of an outcome, finite and at least the floor of its kind.

    A PRUNED one is worth what it had reached when it was stopped.

    Raises:
        ValueError: the outcome is COMPLETE or PRUNED and lacks the objective's metric.
    """
    floor = FLOOR[kind]
    if outcome.state is TrialState.INFEASIBLE:
        return floor
    if objective.metric not in outcome.metrics:
        raise ValueError(
            f"trial {outcome.number} is {outcome.state} without the objective "
            f"'{objective.metric}'; it has: {', '.join(sorted(outcome.metrics)) or 'no metrics'}"
        )
    value = outcome.metrics[objective.metric]
    if kind == "negative_log":
        if objective.direction == "maximize":
            raise ValueError("the reward negative_log is for losses: minimize, or choose value")
        return max(-math.log(max(value, SMALLEST)), floor)
    return max(-objective.sign() * value, floor)
