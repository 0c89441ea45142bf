"""Train an ordinary PyTorch model with an exported optimizer, and nothing else of Rulesmith.

    python examples/train_digits.py found_rule.py --lr 0.03

Needs torch and scikit-learn only. Prints the test accuracy on scikit-learn's handwritten digits.
"""

import argparse
import importlib.util
import inspect
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


def optimizer_class(path: Path) -> type[torch.optim.Optimizer]:
    """Load the file by its path and return the one optimizer it defines."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return next(
        item
        for item in vars(module).values()
        if inspect.isclass(item)
        and issubclass(item, torch.optim.Optimizer)
        and item.__module__ == module.__name__
    )


def main() -> None:
    """Train for a few epochs and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rule", type=Path, help="the exported file")
    parser.add_argument("--lr", type=float, required=True, help="learning rate")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    torch.manual_seed(arguments.seed)
    pixels, digits = load_digits(return_X_y=True)
    images = torch.tensor(pixels / 16.0, dtype=torch.float32)
    data = TensorDataset(images, torch.tensor(digits))
    train, test = random_split(data, [1400, 397])

    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    loss_of = nn.CrossEntropyLoss()
    batches = DataLoader(train, batch_size=64, shuffle=True, drop_last=True)
    kind = optimizer_class(arguments.rule)
    settings = {"total_steps": arguments.epochs * len(batches)}
    accepted = {k: v for k, v in settings.items() if k in inspect.signature(kind).parameters}
    optimizer = kind(model.parameters(), lr=arguments.lr, **accepted)

    for epoch in range(arguments.epochs):
        for inputs, targets in batches:
            optimizer.zero_grad()
            loss = loss_of(model(inputs), targets)
            loss.backward()
            optimizer.step()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1:3d}  training loss {loss.item():.4f}")

    inputs, targets = test[:]
    with torch.no_grad():
        accuracy = (model(inputs).argmax(1) == targets).float().mean().item()
    print(f"{kind.__name__}: test accuracy {accuracy:.3f} after {arguments.epochs} epochs")
    if not accuracy > 0.8:
        raise SystemExit("the optimizer did not train the model")


if __name__ == "__main__":
    main()
