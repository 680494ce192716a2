"""Train a small CNN on scikit-learn's handwritten digits and export it as ONNX float32.

    .venv/bin/python examples/digits/train.py

writes digits.onnx, test_digits.npz and calibration_digits.npz beside this file. The trainer is
NumPy alone: two convolutions by im2col, max pooling, a dense layer, softmax cross-entropy and Adam.
"""

from __future__ import annotations

import argparse
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Labels = NDArray[np.uint8]
Params = dict[str, Floats]

HERE = Path(__file__).parent
SEED = 7
CLASSES = 10
CHANNELS = (8, 16)
FULL_SCALE = 16.0  # pixels are counts from 0 to 16
HELD_OUT = 360
CALIBRATION = 200
EPOCHS, BATCH = 60, 32
RATE, DECAY = 6e-3, (0.9, 0.999)
AUGMENTED = 0.4  # share of batches that are shifted


@dataclass(frozen=True)
class Split:
    """Images, (n, 1, 8, 8) with pixels from 0 to 16, and their labels, (n,)."""

    images: NDArray[np.uint8]
    labels: Labels


def load(seed: int = SEED) -> tuple[Split, Split]:
    """Return the digits shuffled by `seed`, as (training, held out)."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(labels))
    pixels = images[order].astype(np.uint8).reshape(-1, 1, 8, 8)
    classes = labels[order].astype(np.uint8)
    held_out = Split(pixels[:HELD_OUT], classes[:HELD_OUT])
    return Split(pixels[HELD_OUT:], classes[HELD_OUT:]), held_out


def initial(generator: np.random.Generator) -> Params:
    """Return He-initialised parameters; weights as ONNX wants them (OIHW, and out × in)."""
    first, second = CHANNELS
    shapes = {"conv1": (first, 1, 3, 3), "conv2": (second, first, 3, 3), "dense": (10, second * 4)}
    params: Params = {}
    for name, shape in shapes.items():
        spread = np.sqrt(2 / np.prod(shape[1:]))
        params[f"{name}.weight"] = (spread * generator.standard_normal(shape)).astype(np.float32)
        params[f"{name}.bias"] = np.zeros(shape[0], np.float32)
    return params


def columns(x: Floats) -> Floats:
    """Return the 3×3 neighbourhoods of zero-padded `x` (n, c, h, w) as (n, h, w, c·9)."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(*x.shape[:1], *x.shape[2:], -1)


def scatter(gradient: Floats, channels: int) -> Floats:
    """Return the gradient of x from that of `columns(x)`: each neighbourhood added where it was."""
    n, h, w, _ = gradient.shape
    parts = gradient.reshape(n, h, w, channels, 3, 3)
    padded = np.zeros((n, channels, h + 2, w + 2), gradient.dtype)
    for row in range(3):
        for column in range(3):
            place = padded[:, :, row : row + h, column : column + w]
            place += parts[..., row, column].transpose(0, 3, 1, 2)
    return padded[:, :, 1:-1, 1:-1]


def convolve(cols: Floats, weight: Floats, bias: Floats) -> Floats:
    """Return the convolution (n, out, h, w) from the columns of its input."""
    return (cols @ weight.reshape(len(weight), -1).T + bias).transpose(0, 3, 1, 2)


def pool(x: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Return 2×2 maxima of `x` and where they were: the first of equals, in rows."""
    n, c, h, w = x.shape
    blocks = x.reshape(n, c, h // 2, 2, w // 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(-1, 4)
    chosen = np.eye(4, dtype=bool)[blocks.argmax(1)]
    return blocks.max(1).reshape(n, c, h // 2, w // 2), chosen


def unpool(gradient: Floats, chosen: NDArray[np.bool_]) -> Floats:
    """Return the gradient of `pool`'s input."""
    n, c, h, w = gradient.shape
    blocks = np.where(chosen, gradient.reshape(-1, 1), 0).reshape(n, c, h, w, 2, 2)
    return blocks.transpose(0, 1, 2, 4, 3, 5).reshape(n, c, 2 * h, 2 * w)


def probabilities(logits: Floats) -> Floats:
    """Return the softmax of each row."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def forward(params: Params, x: Floats) -> Floats:
    """Return the class probabilities (n, 10) of scaled images (n, 1, 8, 8)."""
    for name in ("conv1", "conv2"):
        maps = convolve(columns(x), params[f"{name}.weight"], params[f"{name}.bias"])
        x, _ = pool(np.maximum(maps, 0))
    return probabilities(x.reshape(len(x), -1) @ params["dense.weight"].T + params["dense.bias"])


def gradients(params: Params, x: Floats, labels: Labels) -> tuple[float, Params]:
    """Return the mean cross-entropy on a batch of scaled images, and its gradients."""
    found: Params = {}
    tape = []
    for name in ("conv1", "conv2"):
        cols = columns(x)
        maps = convolve(cols, params[f"{name}.weight"], params[f"{name}.bias"])
        x, chosen = pool(np.maximum(maps, 0))
        tape.append((name, cols, maps > 0, chosen))
    flat = x.reshape(len(x), -1)
    answer = probabilities(flat @ params["dense.weight"].T + params["dense.bias"])
    loss = -np.log(answer[np.arange(len(labels)), labels] + 1e-12).mean()
    error = (answer - np.eye(CLASSES, dtype=answer.dtype)[labels]) / len(labels)
    found["dense.weight"], found["dense.bias"] = error.T @ flat, error.sum(0)
    error = (error @ params["dense.weight"]).reshape(x.shape)
    for name, cols, positive, chosen in reversed(tape):
        weight = params[f"{name}.weight"]
        maps_error = (unpool(error, chosen) * positive).transpose(0, 2, 3, 1)
        rows = maps_error.reshape(-1, len(weight))
        found[f"{name}.weight"] = (rows.T @ cols.reshape(len(rows), -1)).reshape(weight.shape)
        found[f"{name}.bias"] = rows.sum(0)
        error = scatter(maps_error @ weight.reshape(len(weight), -1), weight.shape[1])
    return float(loss), found


def shifted(images: Floats, generator: np.random.Generator) -> Floats:
    """Return a batch moved by up to one pixel each way: the only augmentation."""
    dy, dx = generator.integers(0, 3, 2)
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    return padded[:, :, dy : dy + 8, dx : dx + 8]


def train(data: Split, epochs: int = EPOCHS, seed: int = SEED) -> Params:
    """Return parameters for scaled images; repeatable on one machine, in `one_thread`."""
    generator = np.random.default_rng(seed)
    params = initial(generator)
    first = {name: np.zeros_like(value) for name, value in params.items()}
    second = {name: np.zeros_like(value) for name, value in params.items()}
    images = data.images.astype(np.float32) / np.float32(FULL_SCALE)
    steps_in_all = epochs * (len(images) // BATCH)
    step = 0
    for _ in range(epochs):
        order = generator.permutation(len(images))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            chosen = order[start : start + BATCH]
            batch = images[chosen]
            if generator.random() < AUGMENTED:
                batch = shifted(batch, generator)
            _, found = gradients(params, batch, data.labels[chosen])
            step += 1
            rate = RATE * 0.5 * (1 + np.cos(np.pi * step / steps_in_all))
            for name, gradient in found.items():
                first[name] += (1 - DECAY[0]) * (gradient - first[name])
                second[name] += (1 - DECAY[1]) * (gradient**2 - second[name])
                mean = first[name] / (1 - DECAY[0] ** step)
                variance = second[name] / (1 - DECAY[1] ** step)
                params[name] -= (rate * mean / (np.sqrt(variance) + 1e-8)).astype(np.float32)
    return params


def export(params: Params) -> bytes:
    """Return the network as ONNX (opset 13): x (1, 1, 8, 8) of raw pixels → probabilities (1, 10).

    The scaling of the pixels goes into the first convolution's weights.
    """
    from onnx import TensorProto, checker, helper, numpy_helper

    weights = {**params, "conv1.weight": params["conv1.weight"] / np.float32(FULL_SCALE)}
    same, pooling = {"pads": [1, 1, 1, 1]}, {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = []
    source = "x"
    for name in ("conv1", "conv2"):
        inputs = [source, f"{name}.weight", f"{name}.bias"]
        relu, pooled = f"{name}.relu", f"{name}.pool"
        nodes.append(helper.make_node("Conv", inputs, [name], name, kernel_shape=[3, 3], **same))
        nodes.append(helper.make_node("Relu", [name], [relu], relu))
        nodes.append(helper.make_node("MaxPool", [relu], [pooled], pooled, **pooling))
        source = pooled
    dense = ["flat", "dense.weight", "dense.bias"]
    nodes.append(helper.make_node("Flatten", [source], ["flat"], "flat"))
    nodes.append(helper.make_node("Gemm", dense, ["logits"], "dense", transB=1))
    nodes.append(helper.make_node("Softmax", ["logits"], ["probabilities"], "softmax", axis=1))
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 8, 8])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opset = [helper.make_opsetid("", 13)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8, producer_name="digits")
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def one_thread() -> AbstractContextManager[object]:
    """Return a context in which the linear algebra adds in one order, run after run."""
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    return threadpool_limits(1)


def accuracy(params: Params, data: Split) -> float:
    """Return the share of images whose most probable class is the label."""
    scaled = data.images.astype(np.float32) / np.float32(FULL_SCALE)
    return float((forward(params, scaled).argmax(1) == data.labels).mean())


def write_calibration(training: Split, folder: Path) -> None:
    """Write the first training digits, to quantise with: none of them is among the held out."""
    np.savez_compressed(
        folder / "calibration_digits.npz",
        x=training.images[:CALIBRATION],
        labels=training.labels[:CALIBRATION],
    )


def main() -> None:
    """Train, export, and write what is checked in."""
    parser = argparse.ArgumentParser(description="Train the digits CNN and export it as ONNX.")
    parser.add_argument("-o", "--output", type=Path, default=HERE)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    arguments = parser.parse_args()
    training, held_out = load()
    with one_thread():
        params = train(training, arguments.epochs)
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "digits.onnx").write_bytes(export(params))
    np.savez_compressed(
        arguments.output / "test_digits.npz", x=held_out.images, labels=held_out.labels
    )
    write_calibration(training, arguments.output)
    print(f"accuracy on {len(training.labels)} training digits {accuracy(params, training):.2%}")
    print(f"accuracy on {len(held_out.labels)} held-out digits {accuracy(params, held_out):.2%}")


if __name__ == "__main__":
    main()
