"""Every schedule against its published vector and torch's scheduler."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from dsl.candidate import ScheduleSpec
from optimizers.schedules import SCHEDULES, multipliers, restart


def vector(name, steps, **values):
    return multipliers(ScheduleSpec(name=name, settings=values), steps)


def torch_vector(make, steps, lr=1.0):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler = make(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


VECTORS = [
    ("constant", {}, [1, 1, 1]),
    ("step", {"step_size": 3}, [1, 1, 1, 0.1, 0.1, 0.1, 0.01]),
    ("step", {}, [1, 1, 0.1, 0.1, 0.01, 0.01]),
    ("multistep", {"milestone_1": 2, "milestone_2": 3}, [1, 1, 0.1, 0.01, 0.01]),
    ("multistep", {}, [1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01]),
    ("exponential", {"gamma": 0.9}, [1, 0.9, 0.81]),
    ("exponential", {}, [1, 0.1**0.5, 0.1, 0.1**1.5]),
    ("linear", {}, [1, 0.8, 0.6, 0.4, 0.2]),
    ("polynomial", {"power": 1}, [1, 0.8, 0.6, 0.4, 0.2]),
    ("polynomial", {}, [1, 0.5625, 0.25, 0.0625]),
    ("cosine", {}, [1, 0.853553, 0.5, 0.146447]),
    ("cosine", {"eta_min": 0.5}, [1, 0.926777, 0.75, 0.573223]),
    ("sgdr", {"T_0": 4, "T_mult": 2},
     [1, 0.853553, 0.5, 0.146447,
      1, 0.96194, 0.853553, 0.691342, 0.5, 0.308658, 0.146447, 0.03806]),
    ("sgdr", {"T_0": 1, "T_mult": 1, "steps_per_epoch": 2}, [1, 0.5, 1, 0.5, 1]),
    ("triangular", {"step_size": 3}, [0.1, 0.4, 0.7, 1, 0.7, 0.4, 0.1]),
    ("triangular2", {"step_size": 1}, [0.1, 1, 0.1, 0.55, 0.1, 0.325]),
    ("exp_range", {"step_size": 1, "gamma": 0.5}, [0.1, 0.55, 0.1, 0.2125]),
    ("one_cycle", {},
     [0.04, 0.52, 1, 0.950485, 0.811746, 0.611262, 0.388742, 0.188258, 0.049519, 4e-6]),
    ("inverse_sqrt", {}, [1, 0.707107, 0.577350, 0.5]),
    ("constant", {"warmup": 4}, [0.25, 0.5, 0.75, 1, 1, 1]),
    ("constant", {"warmup": 2, "warmup_start": 0.5}, [0.75, 1, 1]),
    ("cosine", {"warmup": 2}, [0.5, 1, 1, 0.853553, 0.5, 0.146447]),
    ("linear", {"warmup": 1}, [1, 1, 0.5]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "values", "expected"), VECTORS)
def test_vectors(name, values, expected):
    assert vector(name, len(expected), **values) == pytest.approx(expected, abs=1e-6)


TORCH = [
    ("step", {"step_size": 7, "gamma": 0.5}, lambda o: lr_scheduler.StepLR(o, 7, 0.5)),
    ("multistep", {"milestone_1": 5, "milestone_2": 20, "gamma": 0.3},
     lambda o: lr_scheduler.MultiStepLR(o, [5, 20], 0.3)),
    ("exponential", {"gamma": 0.95}, lambda o: lr_scheduler.ExponentialLR(o, 0.95)),
    ("linear", {"start": 0.3, "end": 0.9}, lambda o: lr_scheduler.LinearLR(o, 0.3, 0.9, 40)),
    ("polynomial", {"power": 3}, lambda o: lr_scheduler.PolynomialLR(o, 40, 3)),
    ("cosine", {"eta_min": 0.2}, lambda o: lr_scheduler.CosineAnnealingLR(o, 40, 0.2)),
    ("sgdr", {"T_0": 3, "T_mult": 2, "eta_min": 0.1},
     lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3, 2, 0.1)),
    ("triangular", {"base": 0.2, "step_size": 6},
     lambda o: lr_scheduler.CyclicLR(o, 0.2, 1.0, 6, cycle_momentum=False)),
    ("triangular2", {"base": 0.2, "step_size": 6},
     lambda o: lr_scheduler.CyclicLR(o, 0.2, 1.0, 6, mode="triangular2", cycle_momentum=False)),
    ("exp_range", {"base": 0.2, "step_size": 6, "gamma": 0.97},
     lambda o: lr_scheduler.CyclicLR(
         o, 0.2, 1.0, 6, mode="exp_range", gamma=0.97, cycle_momentum=False)),
    ("one_cycle", {"pct_start": 0.4, "div_factor": 10},
     lambda o: lr_scheduler.OneCycleLR(
         o, 1.0, 40, pct_start=0.4, div_factor=10, cycle_momentum=False)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "values", "make"), TORCH, ids=[row[0] for row in TORCH])
def test_equals_torch(name, values, make):
    # OneCycleLR refuses a step beyond its last, which the loop would take.
    steps = 39 if name == "one_cycle" else 40
    expected = torch_vector(make, steps)
    assert vector(name, 40, **values)[:steps] == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_noam():
    noam = SCHEDULES["noam"]
    assert noam(0, 10) == pytest.approx(1.746928107421711e-07, rel=1e-12)
    assert noam(3999, 10) == pytest.approx(6.987712429686843e-04, rel=1e-12)
    assert max(noam(t, 8000) for t in range(8000)) == noam(3999, 10)
    assert noam(3, 10, warmup=0, width=1) == 0.5


def test_restarts_take_fractions_of_epochs():
    """T_cur grows with every batch; periods 100, 200, 400, 800 end at 100, 300, 700, 1500."""
    ends = [100, 300, 700, 1500]
    for cycle, end in enumerate(ends):
        before, after = restart(end - 1 / 390, 100, 2), restart(end, 100, 2)
        assert before[0] == cycle
        assert before[1] == pytest.approx(100 * 2**cycle, abs=0.01)
        assert after == (cycle + 1, 0, 100 * 2 ** (cycle + 1))


@given(
    st.sampled_from(sorted(SCHEDULES)), st.integers(1, 300), st.integers(0, 400),
    st.floats(0, 200), st.floats(0, 1),
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_multipliers_are_finite_and_bounded(name, total, t, warmup, start):
    own = {} if name == "noam" else {"warmup": warmup, "warmup_start": start}
    eta = SCHEDULES[name](t, total, **own)
    assert 0 <= eta <= 1 + 1e-12


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_setting_extremes_never_break(name):
    schedule = SCHEDULES[name]
    for setting in schedule.settings:
        for value in (0.0, 0.5, 1.0, 7.3, 1e3, 1e300):
            try:
                found = schedule.multipliers(20, **{setting: value})
            except ValueError:
                continue
            assert all(math.isfinite(eta) for eta in found), (setting, value)


def test_errors_name_what_is_allowed():
    with pytest.raises(ValueError, match=r"no schedule 'cosin'; allowed: constant, cosine"):
        multipliers(ScheduleSpec(name="cosin"), 5)
    with pytest.raises(ValueError, match=r"no setting 'T0'; allowed: T_0, T_mult, eta_min"):
        vector("sgdr", 5, T0=3)
    with pytest.raises(ValueError, match=r"milestone_1, milestone_2"):
        vector("multistep", 5, mark=3)
    with pytest.raises(ValueError, match=r"gamma = 2.0 is outside 0 … 1"):
        vector("step", 5, gamma=2.0)
    with pytest.raises(ValueError, match=r"T_0 = 0.5 is less than one step"):
        vector("sgdr", 5, T_0=0.5)
    with pytest.raises(ValueError, match=r"warmup = -1.0 is outside"):
        vector("cosine", 5, warmup=-1.0)
