"""Chapter 5: the lecture's model and its `quantize_model`, run as they stand in the lecture.

    pip install numpy==2.4.6 torch==2.15.0
    python book/experiments/ch05_peers.py

Trains on the lecture's noise and on data with a law, for several seeds, and shows what `quantize_model` makes of the
bias, which has one element. Writes two tables to book/evidence/. They name the versions; no test compares them.
"""

import pathlib
import platform
import warnings

import numpy as np
import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

BOOK = pathlib.Path(__file__).parent.parent
NOTE = f"NumPy {np.__version__}, PyTorch {torch.__version__.split('+')[0]} and Python {platform.python_version()} on {platform.machine()}."
SEEDS = range(20)


def parameters(data):
    """The lecture's calculate_quantization_params for the codes −128 to 127."""
    scale = (np.max(data) - np.min(data)) / (127 - -128)
    return scale, np.round(-128 - np.min(data) / scale)


def codes(data, scale, zero_point):
    """The lecture's quantize."""
    return np.clip(np.round(data / scale + zero_point), -128, 127).astype(np.int8)


def lecture(values):
    """What its quantize_model puts in the place of a parameter."""
    scale, zero_point = parameters(values)
    return torch.tensor(codes(values, scale, zero_point).astype(np.float32) * scale, dtype=torch.float32)


def kept(values):
    """The same with the zero point subtracted, as in its own dequantize."""
    scale, zero_point = parameters(values)
    return torch.tensor((codes(values, scale, zero_point) - zero_point) * scale, dtype=torch.float32)


def fit(x, y):
    """The lecture's training: Adam, a rate of 0.01, batches of 32, ten epochs."""
    loader = DataLoader(TensorDataset(x, y), batch_size=32)
    model = nn.Linear(10, 1)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    for _ in range(10):
        for inputs, labels in loader:
            loss = nn.functional.mse_loss(model(inputs), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


def quantized(model, by):
    copy = nn.Linear(10, 1)
    with torch.no_grad():
        copy.weight.copy_(by(model.weight.detach().numpy()))
        copy.bias.copy_(by(model.bias.detach().numpy()))
    return copy


def run(seed, law):
    torch.manual_seed(seed)
    x, y = torch.randn(1000, 10), torch.randn(1000, 1)
    if law:
        y = x @ torch.randn(10, 1) + torch.randn(1) + 0.1 * y
    model = fit(x, y)
    loss = lambda m: nn.functional.mse_loss(m(x), y).item()
    with torch.no_grad():
        return model, [loss(model), loss(quantized(model, lecture)), loss(quantized(model, kept))]


def number(x, digits=4):
    return f"{x:.{digits}f}".replace("-", "−").replace("nan", "NaN").replace("inf", "∞")


def losses():
    rows = ["| data | loss | of the lecture's INT8 | with the zero point kept | lower after quantization |", "|:--|--:|--:|--:|--:|"]
    for name, law in (("noise", False), ("law", True)):
        all_losses = np.array([run(seed, law)[1] for seed in SEEDS])
        lower = int(np.sum(all_losses[:, 1] < all_losses[:, 0]))
        means = " | ".join(number(mean) for mean in all_losses.mean(axis=0))
        rows.append(f"| {name} | {means} | {lower} of {len(SEEDS)} |")
    return rows


def bias():
    rows = ["| data | bias | scale | zero point | code | put in its place | with the zero point kept | NumPy warns of |", "|:--|--:|--:|--:|--:|--:|--:|:--|"]
    for name, law in (("noise", False), ("law", True)):
        model, _ = run(0, law)
        values = model.bias.detach().numpy()
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            scale, zero_point = parameters(values)
            code = codes(values, scale, zero_point)
            put, right = lecture(values).item(), kept(values).item()
        said = dict.fromkeys(str(warning.message).split(" encountered")[0] for warning in seen)
        rows.append(f"| {name} | {number(values[0])} | {number(scale, 1)} | {number(zero_point)} | {code[0]} | {number(put, 1)} | {number(right)} | {', '.join(said)} |")
    return rows


def write(name, rows):
    text = "\n".join([*rows, "", NOTE, ""])
    print(text)
    (BOOK / "evidence" / name).write_text(text)


warnings.simplefilter("ignore")
write("ch05_peers_losses.md", losses())
write("ch05_peers_bias.md", bias())
