import math

import pytest

from dsl.outcome import Outcome, TrialState
from search.reward import FLOOR, natural_reward, reward
from search.settings import Objective

LOSS = Objective()
ACCURACY = Objective(metric="validation_accuracy", direction="maximize")


def outcome(state: TrialState = TrialState.COMPLETE, **metrics: float) -> Outcome:
    return Outcome(number=0, state=state, metrics=metrics)


def test_losses_are_rewarded_by_their_negative_log() -> None:
    assert natural_reward(LOSS) == "negative_log"
    for loss in (0.01, 1.0, 2.3):
        assert reward(outcome(validation_loss=loss), LOSS, "negative_log") == -math.log(loss)
    pruned = outcome(TrialState.PRUNED, validation_loss=0.5)
    assert reward(pruned, LOSS, "negative_log") == math.log(2)


def test_accuracies_are_their_own_reward() -> None:
    assert natural_reward(ACCURACY) == "value"
    assert reward(outcome(validation_accuracy=0.9), ACCURACY, "value") == 0.9
    assert reward(outcome(validation_loss=-3.0), LOSS, "value") == 3.0


def test_rewards_stay_finite_and_above_the_floor() -> None:
    bad = outcome(TrialState.INFEASIBLE)
    assert reward(bad, LOSS, "negative_log") == FLOOR["negative_log"] < -2.3
    assert reward(bad, ACCURACY, "value") == FLOOR["value"]
    assert reward(outcome(validation_loss=1e30), LOSS, "negative_log") == FLOOR["negative_log"]
    for loss in (0.0, -1.0, 1e-300):
        assert reward(outcome(validation_loss=loss), LOSS, "negative_log") == pytest.approx(27.631)


def test_misuse_is_refused() -> None:
    with pytest.raises(ValueError, match="without the objective 'validation_loss'; it has: lr"):
        reward(outcome(lr=1.0), LOSS, "negative_log")
    with pytest.raises(ValueError, match="choose value"):
        reward(outcome(validation_accuracy=0.5), ACCURACY, "negative_log")
