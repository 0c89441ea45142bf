"""RuleOptimizer is a true torch optimizer, for every rule."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

from dsl.errors import RuleError
from optimizers.catalogue import CATALOGUE
from optimizers.momentum_schedules import MomentumScheduler
from optimizers.rule import RuleOptimizer

STATEFUL = ["momentum", "adam", "demon_adam", "adadelta", "nadam", "lion", "nos_g_drop_m"]


def model(seed=0, dtype=torch.float32):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2)).to(dtype)


def batch(step, dtype=torch.float32):
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(16, 4, generator=generator).to(dtype)
    return x, (x[:, :2] * x[:, 2:]).to(dtype)


def loss_of(net, step):
    x, y = batch(step, next(net.parameters()).dtype)
    return (net(x) - y).square().mean()


def train(net, optimizer, first, last):
    for step in range(first, last):
        optimizer.zero_grad()
        loss_of(net, step).backward()
        optimizer.step()


def flat(net):
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def named(name, params, **options):
    return RuleOptimizer.named(name, params, 0.01, total_steps=40, **options)


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_rule_round_trips_its_state_to_the_bit(name):
    whole, half = model(), model()
    optimizer = named(name, whole.parameters())
    train(whole, optimizer, 0, 12)
    before = named(name, half.parameters())
    train(half, before, 0, 5)
    file = io.BytesIO()
    torch.save({"model": half.state_dict(), "optimizer": before.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    fresh = model(seed=1)
    fresh.load_state_dict(saved["model"])
    after = named(name, fresh.parameters())
    after.load_state_dict(saved["optimizer"])
    train(fresh, after, 5, 12)
    assert torch.equal(flat(fresh), flat(whole))


@pytest.mark.parametrize("name", STATEFUL)
def test_loading_copies(name):
    first = model()
    one = named(name, first.parameters())
    train(first, one, 0, 3)
    other = model()
    two = named(name, other.parameters())
    two.load_state_dict(one.state_dict())
    kept = copy.deepcopy(one.state_dict()["state"])
    train(other, two, 3, 6)
    for index, state in one.state_dict()["state"].items():
        for key, value in state.items():
            assert (
                torch.equal(value, kept[index][key])
                if isinstance(value, torch.Tensor)
                else value == kept[index][key]
            )


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
@pytest.mark.parametrize("name", STATEFUL)
def test_deepcopy_and_pickle(name, duplicate):
    net = model()
    optimizer = named(name, net.parameters())
    train(net, optimizer, 0, 4)
    net2, optimizer2 = duplicate((net, optimizer))
    train(net, optimizer, 4, 9)
    train(net2, optimizer2, 4, 9)
    assert torch.equal(flat(net), flat(net2))
    assert repr(optimizer2) == repr(optimizer)


def test_param_groups_have_their_own_numbers():
    net = model()
    alone = [model(), model()]
    groups = [
        {"params": net[0].parameters(), "lr": 0.1, "beta1": 0.5},
        {"params": net[2].parameters(), "weight_decay": 0.2},
    ]
    both = named("adamw", groups)
    first = RuleOptimizer.named("adamw", alone[0].parameters(), 0.1, beta1=0.5)
    second = RuleOptimizer.named("adamw", alone[1].parameters(), 0.01, weight_decay=0.2)
    for step in range(5):
        both.zero_grad()
        loss_of(net, step).backward()
        for other, optimizer in zip(alone, (first, second), strict=True):
            for p, q in zip(other.parameters(), net.parameters(), strict=True):
                p.data.copy_(q.data)
                p.grad = q.grad.clone()
            optimizer.step()
        both.step()
    assert torch.equal(flat(net[0]), flat(alone[0][0]))
    assert torch.equal(flat(net[2]), flat(alone[1][2]))


def test_groups_added_later_start_their_own_clock():
    net = model()
    optimizer = RuleOptimizer.named("adam", net[0].parameters())
    train(net, optimizer, 0, 3)
    optimizer.add_param_group({"params": net[2].parameters(), "eps": 1e-3})
    train(net, optimizer, 3, 5)
    steps = [optimizer.state[p]["step"] for p in net.parameters()]
    assert steps == [5, 5, 2, 2]
    assert optimizer.param_groups[1]["eps"] == 1e-3


def test_parameters_without_gradient_stay():
    used, unused = (torch.ones(3, requires_grad=True) for _ in range(2))
    optimizer = RuleOptimizer.named("adamw", [used, unused])
    for _ in range(3):
        used.grad = torch.ones(3)
        optimizer.step()
    assert torch.equal(unused.detach(), torch.ones(3))
    assert not optimizer.state[unused]
    unused.grad = torch.ones(3)
    optimizer.step()
    fresh = torch.ones(3, requires_grad=True)
    reference = torch.optim.AdamW([fresh], lr=1e-3)
    fresh.grad = torch.ones(3)
    reference.step()
    torch.testing.assert_close(unused, fresh)


def test_closure():
    net = model()
    optimizer = named("sgd", net.parameters())

    def closure():
        optimizer.zero_grad()
        loss = loss_of(net, 0)
        loss.backward()
        return loss

    first, second = optimizer.step(closure), optimizer.step(closure)
    assert second < first


@pytest.mark.parametrize("name", ["sgd", "adam", "powersign", "lion"])
def test_maximize_is_descending_the_negative(name):
    up, down = model(), model()
    climber = named(name, up.parameters(), maximize=True)
    train(up, climber, 0, 5)
    optimizer = named(name, down.parameters())
    for step in range(5):
        optimizer.zero_grad()
        (-loss_of(down, step)).backward()
        optimizer.step()
    assert torch.equal(flat(up), flat(down))


@pytest.mark.parametrize(
    "make",
    [
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 20),
        lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.05, 25, cycle_momentum=False),
        lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda t: 0.9**t),
    ],
)
def test_torch_schedulers(make):
    ours, theirs = model(), model()
    pairs = [
        (ours, RuleOptimizer.named("adamw", ours.parameters())),
        (theirs, torch.optim.AdamW(theirs.parameters())),
    ]
    for net, optimizer in pairs:
        scheduler = make(optimizer)
        for step in range(20):
            train(net, optimizer, step, step + 1)
            scheduler.step()
    torch.testing.assert_close(flat(ours), flat(theirs), rtol=1e-5, atol=1e-6)


def test_one_cycle_with_momentum_takes_two_schedulers():
    """As torch's OneCycleLR of SGD, with the docstring's word for the momentum."""
    ours, theirs = model(), model()
    optimizer = RuleOptimizer.named("momentum", ours.parameters(), 0.01, mu=0.95)
    reference = torch.optim.SGD(theirs.parameters(), 0.01, momentum=0.95)
    one_cycle = torch.optim.lr_scheduler.OneCycleLR
    assert "OneCycleLR needs `cycle_momentum=False`" in RuleOptimizer.__doc__
    with pytest.raises(ValueError, match="must support momentum"):
        one_cycle(optimizer, 0.05, 20)
    schedulers = [
        one_cycle(optimizer, 0.05, 20, cycle_momentum=False),
        MomentumScheduler(optimizer, "one_cycle", 20),
        one_cycle(reference, 0.05, 20, max_momentum=0.95),
    ]
    for step in range(19):
        train(ours, optimizer, step, step + 1)
        train(theirs, reference, step, step + 1)
        for scheduler in schedulers:
            scheduler.step()
    torch.testing.assert_close(flat(ours), flat(theirs), rtol=1e-5, atol=1e-6)


def test_plateau_scheduler():
    net = model()
    optimizer = named("adam", net.parameters())
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
    for _ in range(3):
        scheduler.step(1.0)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-4)


def test_grad_scaler_skips_overflow_and_unscales():
    net, plain = model(), model()
    optimizer = named("adam", net.parameters())
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    for step in range(4):
        optimizer.zero_grad()
        loss = loss_of(net, step)
        scaler.scale(loss * (float("inf") if step == 2 else 1.0)).backward()
        scaler.step(optimizer)
        scaler.update()
    reference = named("adam", plain.parameters())
    for step in (0, 1, 3):
        train(plain, reference, step, step + 1)
    torch.testing.assert_close(flat(net), flat(plain))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_parameters_keep_float32_state(dtype):
    p = torch.tensor([1.0, -2.0], dtype=dtype, requires_grad=True)
    exact = torch.tensor([1.0, -2.0], requires_grad=True)
    optimizer = RuleOptimizer.named("adam", [p], beta2=0.999)
    reference = RuleOptimizer.named("adam", [exact])
    for _ in range(50):
        p.grad = torch.tensor([1e-2, 3e-3], dtype=dtype)
        exact.grad = p.grad.float()
        optimizer.step()
        reference.step()
    for ours, theirs in zip(
        optimizer.state[p].values(), reference.state[exact].values(), strict=True
    ):
        if isinstance(ours, torch.Tensor):
            assert ours.dtype is torch.float32
            assert torch.equal(ours, theirs)
    again = RuleOptimizer.named("adam", [p])
    again.load_state_dict(optimizer.state_dict())
    for name, value in optimizer.state[p].items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(again.state[p][name], value)
            assert again.state[p][name].dtype is torch.float32


def test_half_steps_are_computed_in_float32_and_rounded_once():
    p = torch.tensor([256.0], dtype=torch.bfloat16, requires_grad=True)
    optimizer = RuleOptimizer([p], "g", 1.0, decay="decoupled", weight_decay=0.01)
    p.grad = torch.tensor([-2.0], dtype=torch.bfloat16)
    optimizer.step()
    assert p.item() == torch.tensor(256.0 * 0.99 + 2).bfloat16().item()


def test_memory_format_and_shape_of_state_follow_the_parameter():
    p = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last).requires_grad_()
    p.grad = torch.randn_like(p)
    optimizer = RuleOptimizer.named("adam", [p])
    optimizer.step()
    slots = [v for v in optimizer.state[p].values() if isinstance(v, torch.Tensor)]
    assert len(slots) == 2
    assert all(s.is_contiguous(memory_format=torch.channels_last) for s in slots)


def test_scalars_and_empty_parameters():
    scalar = torch.tensor(2.0, requires_grad=True)
    empty = torch.zeros(0, 3, requires_grad=True)
    optimizer = RuleOptimizer.named("adam", [scalar, empty], 0.1)
    scalar.grad, empty.grad = torch.tensor(1.0), torch.zeros(0, 3)
    optimizer.step()
    assert scalar.item() == pytest.approx(1.9)


def test_random_rules_repeat_and_differ_by_seed():
    ends = []
    for seed in (1, 1, 2):
        net = model()
        train(net, named("nos_g_drop_m", net.parameters(), seed=seed), 0, 4)
        ends.append(flat(net))
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])


def test_reserved_hyperparameter_names():
    p = torch.ones(1, requires_grad=True)
    optimizer = RuleOptimizer([p], "decay * g", 1.0, rule_decay=0.5)
    p.grad = torch.ones(1)
    optimizer.step()
    assert p.item() == 0.5


def _one(**group):
    return [{"params": [torch.ones(2, requires_grad=True)], **group}]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: RuleOptimizer(_one(), "g +", 0.1), RuleError, "ends too early"),
        (lambda: RuleOptimizer(_one(), "0 * g", 0.1), RuleError, "gradient cancels out"),
        (lambda: RuleOptimizer(_one(), "g - g + w", 0.1), RuleError, "gradient cancels out"),
        (lambda: RuleOptimizer(_one(), "lion", 0.1), ValueError, r"named\('lion', params\)"),
        (lambda: RuleOptimizer(_one(), "g", -1.0), ValueError, "lr = -1.0"),
        (lambda: RuleOptimizer(_one(), "g", float("nan")), ValueError, "lr = nan"),
        (lambda: RuleOptimizer(_one(), "g", 0.1, beta=0.9), ValueError, "it has: none"),
        (lambda: RuleOptimizer(_one(), "m", 0.1, beta=0.9), ValueError, "it has: beta1"),
        (lambda: RuleOptimizer(_one(beta_1=1), "m", 0.1), ValueError, "no hyperparameter 'beta_1'"),
        (lambda: RuleOptimizer(_one(), "m", 0.1, beta1="a"), ValueError, "beta1 = 'a'"),
        (lambda: RuleOptimizer(_one(), "m", 0.1, beta1=float("inf")), ValueError, "finite"),
        (lambda: RuleOptimizer(_one(), "adam", 0.1, beta1=1.5), ValueError, "0 <= value < 1"),
        (lambda: RuleOptimizer(_one(), "adam", 0.1, beta2=1.0), ValueError, "beta2 = 1.0; allowed"),
        (lambda: RuleOptimizer(_one(beta1=-0.5), "adam", 0.1), ValueError, "beta1 = -0.5; allowed"),
        (lambda: RuleOptimizer(_one(), "adam", 0.1, eps=-1e-8), ValueError, "0 or more"),
        (lambda: RuleOptimizer(_one(), "g", 0.1, weight_decay=0.1), ValueError, "no effect"),
        (lambda: RuleOptimizer(_one(), "g", 0.1, decay="L2"), ValueError, "allowed: none, l2"),
        (lambda: RuleOptimizer(_one(), "ld * g", 0.1), ValueError, "give total_steps"),
        (
            lambda: RuleOptimizer(_one(), "ld * g", 0.1, total_steps=0),
            ValueError,
            "total_steps = 0",
        ),
        (lambda: RuleOptimizer.named("adm", _one()), ValueError, "no optimizer 'adm'"),
        (
            lambda: RuleOptimizer(
                [torch.ones(1, dtype=torch.complex64, requires_grad=True)], "g", 1
            ),
            TypeError,
            "view_as_real",
        ),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_sparse_gradients_are_refused():
    table = nn.Embedding(5, 2, sparse=True)
    optimizer = named("sgd", table.parameters())
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match="sparse gradient"):
        optimizer.step()


def test_state_of_another_rule_is_refused():
    p = torch.ones(1, requires_grad=True)
    with pytest.raises(ValueError, match="the state is of the rule"):
        RuleOptimizer.named("adam", [p]).load_state_dict(
            RuleOptimizer.named("lion", [p]).state_dict()
        )


def test_state_of_another_class_is_refused():
    """Before anything is loaded, for wrappers drop the rule's text and leave torch's own keys."""
    p = torch.ones(1, requires_grad=True)
    p.grad = torch.ones(1)
    optimizer = RuleOptimizer.named("adam", [p])
    for other in (torch.optim.Adam([p]), torch.optim.SGD([p], momentum=0.9)):
        with pytest.raises(ValueError, match="has no beta1, beta2, decay"):
            optimizer.load_state_dict(other.state_dict())
    trace = RuleOptimizer([p], "trace(g, mu)", 0.1)
    trace.step()
    average = RuleOptimizer([p], "ema(g, mu)", 0.1)
    saved = trace.state_dict()
    del saved["rule"]
    with pytest.raises(ValueError, match="the state has no ema_g"):
        average.load_state_dict(saved)
    optimizer.step()
    assert p.item() < 1
