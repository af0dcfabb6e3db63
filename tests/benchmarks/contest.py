"""The same training by plain Keras, PyTorch, JAX and NumPy by hand, and `fit`: one table.

Each row is the net, mini-batch and optimizer of one recipe, on the same images. Keras and `fit`
train the very same model; PyTorch's is written as its tutorials do, in an eager loop; those of JAX
(`scan`) and NumPy, where a row has one, are the formulas for a mini-batch in float32. All count
loss and accuracy.
"""

from __future__ import annotations

import itertools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import keras
import numpy as np
import tensorflow as tf
import torch

from common import data
from common.ingredients import attacks
from common.ingredients.alexnet import alexnet
from common.ingredients.losses import sigmoid_cross_entropy
from common.training import fit
from common.training.loop import order
from recipes.attack import adversarial_training
from recipes.depth import batch_norm
from recipes.regularization import augmentation, dropout, overfitting
from tests.benchmarks import scan
from tests.benchmarks.alexnet import CIFAR, torch_net
from tests.benchmarks.kernels import uniform
from tests.benchmarks.timing import ROUNDS, Clock, best_of, rounds, spread

nn, functional = torch.nn, torch.nn.functional
Seconds = Callable[[], float]
EPSILON = 0.25  # of the range of pixels
REMARKS = """\
What a compiled epoch saves is the way back to Python after each step, so small steps gain most:
adversarial training under `Model.fit` runs nearly the same compiled step, and in dropout's net
three quarters go into products of matrices (see "What a step costs"). XLA compiles our other
dense nets, but not this one: it draws dropout's random numbers one by one, which costs more.
JAX's epoch is as fast as ours; in the first two rows it goes through the same compiler, and what
remains is arithmetic (see "What a step costs"). PyTorch's local response normalization is slow on a
processor and explains a part of its distance on AlexNet (see there).

The ratios depend on the processor: compare them within one run.
"""


@dataclass(frozen=True)
class Work:
    """One row: seconds for `n` images by each of the contenders that there are."""

    name: str
    n: int
    operations: float  # of products and convolutions, for an image
    ours: Seconds
    others: dict[str, Seconds]


def operations(model: keras.Model, forward=1, to_weights=1, to_inputs=1, to_image=0) -> float:
    """Floating-point operations for an image: so many passes through the net, and back.

    Of products and convolutions; back to the inputs of all layers, and to the image, which are
    those of the first one.
    """
    layers = [one for one in model.layers if getattr(one, "kernel", None) is not None]
    # A multiplication and an addition for each weight, at each place of its output.
    each = [2 * one.kernel.shape.num_elements() * np.prod(one.output.shape[1:-1]) for one in layers]
    return (forward + to_weights + to_inputs) * sum(each) + (to_image - to_inputs) * each[0]


WAYS = ("ours", "Keras", "Keras, steps_per_execution")


def timed(way: str, model: keras.Model, x, y, optimizer, loss, batch: int, epochs: int) -> float:
    """Seconds of an epoch of `fit`, or of `keras.Model.fit` with or without its compiled loop."""
    clock = Clock()
    steps = -(-len(x) // batch) if way == WAYS[2] else 1
    model.compile(optimizer, loss, metrics=["accuracy"], steps_per_execution=steps)
    run = fit if way == "ours" else keras.Model.fit
    run(model, x, y, batch_size=batch, epochs=epochs, verbose=0, callbacks=[clock])
    keras.utils.clear_session()
    return clock.epoch_seconds()


def torch_epochs(net, optimizer, x, y, batch: int, epochs: int, step: Callable) -> float:
    """Seconds of an epoch; `step(x, y)` gives loss and logits, gradients being there already."""
    clock = Clock()
    for epoch in range(epochs):
        correct, total = 0, 0.0
        seen = torch.from_numpy(order(0, epoch, len(x)).astype(np.int64))
        for rows in seen.split(batch):
            optimizer.zero_grad()
            loss, logits = step(x[rows], y[rows])
            optimizer.step()
            total += loss.detach() * len(rows)
            truth = y[rows].argmax(1) if y.ndim == 2 else y[rows]
            correct += (logits.argmax(1) == truth).sum()
        float(total), int(correct)
        clock.on_epoch_end(epoch)
    return clock.epoch_seconds()


def plain_step(net: nn.Module, loss: Callable) -> Callable:
    """Forward and backward."""

    def step(x, y):
        logits = net(x)
        value = loss(logits, y)
        value.backward()
        return value, logits

    return step


def unit(images: np.ndarray) -> np.ndarray:
    """uint8 pixels -> float32 in [0, 1]."""
    return images.astype(np.float32) / np.float32(255)


def channels_first(images: np.ndarray) -> torch.Tensor:
    """uint8 (n, H, W[, C]) -> float32 (n, C, H, W) in [0, 1]."""
    images = images if images.ndim == 4 else images[..., None]
    return torch.from_numpy(unit(images)).permute(0, 3, 1, 2).contiguous()


def numpy_epochs(x, y, batch: int, epochs: int, step: Callable) -> float:
    """Seconds of an epoch; `step(x, y)` updates weights and gives cost and right answers."""
    clock = Clock()
    for epoch in range(epochs):
        counted = [step(x[rows], y[rows]) for rows in batches(epoch, len(x), batch)]
        np.sum(counted, axis=0)
        clock.on_epoch_end(epoch)
    return clock.epoch_seconds()


def batches(epoch: int, n: int, batch: int) -> Iterator[np.ndarray]:
    seen = order(0, epoch, n)
    return (seen[start : start + batch] for start in range(0, n, batch))


def softmax_cost(z: np.ndarray, y: np.ndarray) -> tuple[float, int, np.ndarray]:
    """Logits (B, classes), classes (B,) -> cost, right answers, gradient of the mean cost."""
    rows = np.arange(len(y))
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    cost, right = -np.log(p[rows, y] + 1e-30).sum(), (p.argmax(axis=1) == y).sum()
    p[rows, y] -= 1
    return cost, right, p / len(y)


def entropy() -> keras.losses.Loss:
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def small_net(images: np.ndarray, labels: np.ndarray) -> Work:
    """784-30-10, sigmoid, cross-entropy of ten sigmoid outputs, batches of 10."""
    n, batch, rate = 1_000, 10, 0.5
    x_few, y_few = images[:n], labels[:n]
    targets = keras.utils.to_categorical(y_few, 10)
    cost = sigmoid_cross_entropy

    def keras_like(way: str, epochs: int) -> float:
        model = overfitting.build_model(overfitting.Config(), {}, 0)
        return timed(way, model, x_few, targets, keras.optimizers.SGD(rate), cost, batch, epochs)

    def pytorch() -> float:
        net = nn.Sequential(nn.Flatten(), nn.Linear(784, 30), nn.Sigmoid(), nn.Linear(30, 10))

        def loss(logits, y):
            each = functional.binary_cross_entropy_with_logits(logits, y, reduction="sum")
            return each / len(y)

        optimizer = torch.optim.SGD(net.parameters(), rate)
        x, y = channels_first(x_few), torch.from_numpy(targets)
        return torch_epochs(net, optimizer, x, y, batch, 6, plain_step(net, loss))

    def numpy() -> float:
        w1, b1, w2, b2 = overfitting.build_model(overfitting.Config(), {}, 0).get_weights()

        def step(x, y):
            hidden = 1 / (1 + np.exp(-(x @ w1 + b1)))
            z = hidden @ w2 + b2
            a = 1 / (1 + np.exp(-z))
            total = np.sum(np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z))))
            correct = np.sum(z.argmax(1) == y.argmax(1))
            delta = (a - y) / len(y)
            hidden_delta = (delta @ w2.T) * hidden * (1 - hidden)
            np.subtract(w2, rate * (hidden.T @ delta), out=w2)
            np.subtract(b2, rate * delta.sum(0), out=b2)
            np.subtract(w1, rate * (x.T @ hidden_delta), out=w1)
            np.subtract(b1, rate * hidden_delta.sum(0), out=b1)
            return total, correct

        return numpy_epochs(unit(x_few).reshape(n, 784), targets, batch, 6, step)

    def jax() -> float:
        weights = scan.by_layer(overfitting.build_model(overfitting.Config(), {}, 0).get_weights())
        x = unit(x_few).reshape(n, 784)
        return scan.seconds(scan.sigmoid_loss, weights, [], x, targets, batch, 40, rate)

    others = {way: partial(keras_like, way, 6) for way in WAYS[1:]}
    others |= {"PyTorch": pytorch, "JAX": jax, "NumPy": numpy}
    done = operations(overfitting.build_model(overfitting.Config(), {}, 0))
    name = "overfitting: 784-30-10, batch 10"
    return Work(name, n, done, partial(keras_like, "ours", 40), others)


def normalized_net(images: np.ndarray, labels: np.ndarray) -> Work:
    """784-100-100-100-10 with batch normalization, sigmoid, batches of 60."""
    n, batch, rate, arm = 6_000, 60, 0.1, batch_norm.ARMS["BN, rate 0.1"]
    pixels, labels = (images[:n] > 127).astype(np.float32), labels[:n]

    def keras_like(way: str, epochs: int) -> float:
        model = batch_norm.build_model(batch_norm.Config(), arm, 0)
        sgd = keras.optimizers.SGD(rate)
        return timed(way, model, pixels, labels, sgd, entropy(), batch, epochs)

    def pytorch() -> float:
        widths, layers = (784, 100, 100, 100), []
        for fan_in, fan_out in itertools.pairwise(widths):
            layers += [
                nn.Linear(fan_in, fan_out, bias=False),
                nn.BatchNorm1d(fan_out),
                nn.Sigmoid(),
            ]
        net = nn.Sequential(*layers, nn.Linear(100, 10))
        optimizer = torch.optim.SGD(net.parameters(), rate)
        x, y = torch.from_numpy(pixels.reshape(n, 784)), torch.from_numpy(labels).long()
        step = plain_step(net, functional.cross_entropy)
        return torch_epochs(net, optimizer, x, y, batch, 3, step)

    def numpy() -> float:
        model = batch_norm.build_model(batch_norm.Config(), arm, 0)
        *hidden, out = [one for one in model.layers if isinstance(one, keras.layers.Dense)]
        weights = [layer.get_weights()[0] for layer in hidden]
        gammas = [np.ones(100, np.float32) for _ in hidden]
        betas = [np.zeros(100, np.float32) for _ in hidden]
        moving = [(np.zeros(100, np.float32), np.ones(100, np.float32)) for _ in hidden]
        w, b = out.get_weights()

        def step(x, y):
            kept, a = [], x
            for i, weight in enumerate(weights):
                z = a @ weight
                mean, deviation = z.mean(axis=0), np.sqrt(z.var(axis=0) + 1e-3)
                for old, new in zip(moving[i], (mean, deviation**2), strict=True):
                    old += 0.01 * (new - old)
                normal = (z - mean) / deviation
                above = 1 / (1 + np.exp(-(gammas[i] * normal + betas[i])))
                kept.append((a, normal, deviation, above))
                a = above
            cost, right, delta = softmax_cost(a @ w + b, y)
            back = delta @ w.T
            np.subtract(w, rate * (a.T @ delta), out=w)
            np.subtract(b, rate * delta.sum(axis=0), out=b)
            for i in reversed(range(3)):
                below, normal, deviation, above = kept[i]
                back = back * above * (1 - above)
                gamma, slope = (back * normal).mean(axis=0), back.mean(axis=0)
                inner = gammas[i] / deviation * (back - slope - normal * gamma)
                gammas[i] -= rate * len(y) * gamma
                betas[i] -= rate * len(y) * slope
                back = inner @ weights[i].T if i else None
                weights[i] -= rate * (below.T @ inner)
            return cost, right

        return numpy_epochs(pixels.reshape(n, 784), labels, batch, 3, step)

    def jax() -> float:
        model = batch_norm.build_model(batch_norm.Config(), arm, 0)
        *hidden, out = [one for one in model.layers if isinstance(one, keras.layers.Dense)]
        zero, one = np.zeros(100, np.float32), np.ones(100, np.float32)
        weights = [(layer.get_weights()[0], one, zero) for layer in hidden]
        weights.append(tuple(out.get_weights()))
        x = pixels.reshape(n, 784)
        how = batch, 6, rate
        return scan.seconds(scan.normalized_loss, weights, [(zero, one)] * 3, x, labels, *how)

    others = {way: partial(keras_like, way, 3) for way in WAYS[1:]}
    others |= {"PyTorch": pytorch, "JAX": jax, "NumPy": numpy}
    done = operations(batch_norm.build_model(batch_norm.Config(), arm, 0))
    name = "batch-norm: 3 x 100, batch 60"
    return Work(name, n, done, partial(keras_like, "ours", 6), others)


def dropped_net(images: np.ndarray, labels: np.ndarray) -> Work:
    """784-1024-1024-1024-10 ReLU with dropout, momentum .95, batches of 100."""
    n, batch, rate = 1_000, 100, 0.05
    x_few, y_few = images[:n], labels[:n]
    config = dropout.Config(hidden_layers=3, width=1024)
    widths = (784, 1024, 1024, 1024)

    def keras_like(way: str) -> float:
        model = dropout.build_model(config, dropout.ARMS["dropout"], 0)
        sgd = keras.optimizers.SGD(rate, momentum=0.95)
        return timed(way, model, x_few, y_few, sgd, entropy(), batch, 3)

    def pytorch() -> float:
        layers = [nn.Flatten(), nn.Dropout(config.drop_input)]
        for fan_in, fan_out in itertools.pairwise(widths):
            layers += [nn.Linear(fan_in, fan_out), nn.ReLU(), nn.Dropout(config.drop_hidden)]
        net = nn.Sequential(*layers, nn.Linear(1024, 10))
        optimizer = torch.optim.SGD(net.parameters(), rate, momentum=0.95)
        x, y = channels_first(x_few), torch.from_numpy(y_few).long()
        step = plain_step(net, functional.cross_entropy)
        return torch_epochs(net, optimizer, x, y, batch, 3, step)

    def numpy() -> float:
        rng = np.random.default_rng(0)
        weights = dropout.build_model(config, dropout.ARMS["dropout"], 0).get_weights()
        speeds = [np.zeros_like(weight) for weight in weights]
        drops = (config.drop_input, *[config.drop_hidden] * 3)

        def step(x, y):
            kept, a = [], x
            for i, share in enumerate(drops):
                mask = (rng.random(a.shape, np.float32) >= share) / np.float32(1 - share)
                a = a * mask
                kept.append((a, mask))
                a = a @ weights[2 * i] + weights[2 * i + 1]
                a = np.maximum(a, 0) if i < 3 else a
            cost, right, delta = softmax_cost(a, y)
            for i in reversed(range(4)):
                below, mask = kept[i]
                gradients = below.T @ delta, delta.sum(axis=0)
                delta = (delta @ weights[2 * i].T) * mask * (below > 0) if i else None
                for j, gradient in enumerate(gradients, start=2 * i):
                    speeds[j] *= np.float32(0.95)
                    speeds[j] -= rate * gradient
                    weights[j] += speeds[j]
            return cost, right

        x = unit(x_few).reshape(n, 784)
        return numpy_epochs(x, y_few, batch, 3, step)

    def jax() -> float:
        weights = dropout.build_model(config, dropout.ARMS["dropout"], 0).get_weights()
        loss = scan.dropped_loss((config.drop_input, *[config.drop_hidden] * 3))
        x, how = unit(x_few).reshape(n, 784), (batch, 3, rate, 0.95)
        return scan.seconds(loss, scan.by_layer(weights), [], x, y_few, *how)

    others = {way: partial(keras_like, way) for way in WAYS[1:]}
    others |= {"PyTorch": pytorch, "JAX": jax, "NumPy": numpy}
    done = operations(dropout.build_model(config, dropout.ARMS["dropout"], 0))
    return Work("dropout: 3 x 1024, batch 100", n, done, partial(keras_like, "ours"), others)


def distorted_net(images: np.ndarray, labels: np.ndarray) -> Work:
    """Two convolutions on images turned, scaled and shifted anew in every step, batches of 20."""
    n, batch, config = 1_000, 20, augmentation.Config()
    x_few, y_few = images[:n], labels[:n]

    def keras_like(way: str) -> float:
        model = augmentation.build_model(config, augmentation.ARMS["conv 1000 affine"], 0)
        adam = keras.optimizers.Adam(0.001)
        return timed(way, model, x_few, y_few, adam, entropy(), batch, 3)

    def pytorch() -> float:
        body = (nn.Conv2d(1, 16, 5), nn.ReLU(), nn.MaxPool2d(2))
        body += (nn.Conv2d(16, 32, 5), nn.ReLU(), nn.MaxPool2d(2))
        net = nn.Sequential(*body, nn.Flatten(), nn.Linear(512, 10))

        def step(x, y):
            angle, scale = (2 * torch.rand(2, len(x)) - 1) * 0.2
            cos, sin = (1 + scale) * torch.cos(angle), (1 + scale) * torch.sin(angle)
            shift = (2 * torch.rand(2, len(x)) - 1) / 14
            rows = [torch.stack(row, 1) for row in ((cos, -sin, shift[0]), (sin, cos, shift[1]))]
            grid = functional.affine_grid(torch.stack(rows, 1), x.shape, align_corners=False)
            return plain_step(net, functional.cross_entropy)(
                functional.grid_sample(x, grid, align_corners=False), y
            )

        optimizer = torch.optim.Adam(net.parameters(), 0.001)
        x, y = channels_first(x_few), torch.from_numpy(y_few).long()
        return torch_epochs(net, optimizer, x, y, batch, 3, step)

    others = {way: partial(keras_like, way) for way in WAYS[1:]} | {"PyTorch": pytorch}
    name = "augmentation: conv net, affine, batch 20"
    done = operations(augmentation.build_model(config, augmentation.ARMS["conv 1000 affine"], 0))
    return Work(name, n, done, partial(keras_like, "ours"), others)


def photographs_net() -> Work:
    """AlexNet's stack for 32 x 32, batches of 128."""
    n, batch = 512, 128
    rng = np.random.default_rng(0)  # what is in the images does not matter to the time
    images = rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(0, 10, n, dtype=np.int32)

    def keras_like(way: str) -> float:
        model = alexnet(10, 0)
        sgd = keras.optimizers.SGD(0.01, 0.9)
        return timed(way, model, images, labels, sgd, entropy(), batch, 3)

    def pytorch() -> float:
        net = torch_net(CIFAR)
        x, y = channels_first(images), torch.from_numpy(labels).long()
        net(x[:1])  # makes the lazy layers
        optimizer = torch.optim.SGD(net.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
        step = plain_step(net, functional.cross_entropy)
        return torch_epochs(net, optimizer, x, y, batch, 3, step)

    others = {way: partial(keras_like, way) for way in WAYS[1:]} | {"PyTorch": pytorch}
    done = operations(alexnet(10, 0))
    return Work("alexnet: 32 x 32, batch 128", n, done, partial(keras_like, "ours"), others)


def torch_conv() -> nn.Module:
    """The conv net of the adversarial recipes."""
    body = (nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2))
    body += (nn.Conv2d(16, 32, 3), nn.ReLU(), nn.MaxPool2d(2))
    return nn.Sequential(*body, nn.Flatten(), nn.Linear(800, 10))


def adversarial_net(images: np.ndarray, labels: np.ndarray) -> Work:
    """A conv net trained on images and on what FGSM makes of them, batches of 100."""
    n, batch, config = min(5_000, len(images)), 100, adversarial_training.Config()
    x_few, y_few = images[:n], labels[:n]
    arm = adversarial_training.ARMS["adversarial"]

    def keras_like(way: str) -> float:
        model, adam = adversarial_training.build_model(config, arm, 0), keras.optimizers.Adam(0.001)
        return timed(way, model, x_few, y_few, adam, entropy(), batch, 3)

    def pytorch() -> float:
        net = torch_conv()

        def step(x, y):
            x.requires_grad_()
            logits = net(x)
            loss = functional.cross_entropy(logits, y)
            (toward,) = torch.autograd.grad(loss, x, retain_graph=True)
            attacked = (x.detach() + EPSILON * toward.sign()).clamp(0, 1)
            mixed = 0.5 * loss + 0.5 * functional.cross_entropy(net(attacked), y)
            mixed.backward()
            return mixed, logits

        optimizer = torch.optim.Adam(net.parameters(), 0.001)
        x, y = channels_first(x_few), torch.from_numpy(y_few).long()
        return torch_epochs(net, optimizer, x, y, batch, 3, step)

    others = {way: partial(keras_like, way) for way in WAYS[1:]} | {"PyTorch": pytorch}
    # Forward with the image and with what FGSM makes of it, to the image, and back from both.
    net = adversarial_training.build_model(config, arm, 0)
    done = operations(net, forward=2, to_weights=2, to_inputs=3, to_image=1)
    return Work("adversarial training, batch 100", n, done, partial(keras_like, "ours"), others)


def attack(images: np.ndarray, labels: np.ndarray) -> Work:
    """FGSM on 10,000 images; Keras's row is the eager tape of TensorFlow's tutorial."""
    n = 10_000
    x, y = np.resize(images, (n, 28, 28)).astype(np.float32), np.resize(labels, n)
    arm = adversarial_training.ARMS["plain"]
    net = adversarial_training.build_model(adversarial_training.Config(), arm, 0)
    parts = [slice(start, start + attacks.AT_ONCE) for start in range(0, n, attacks.AT_ONCE)]

    def ours() -> float:
        attacks.fgsm(net, x[:1], y[:1], 255 * EPSILON)  # compiled once a net
        began = time.perf_counter()
        attacks.fgsm(net, x, y, 255 * EPSILON)
        return time.perf_counter() - began

    def tutorial() -> float:
        loss, began = entropy(), time.perf_counter()
        for rows in parts:
            part = tf.constant(x[rows])
            with tf.GradientTape() as tape:
                tape.watch(part)
                value = loss(y[rows], net(part, training=False))
            toward = tf.sign(tape.gradient(value, part))
            tf.clip_by_value(part + 255 * EPSILON * toward, 0, 255).numpy()
        return time.perf_counter() - began

    def pytorch() -> float:
        other = torch_conv().eval().requires_grad_(False)
        pixels = torch.from_numpy(x[:, None] / 255)
        classes = torch.from_numpy(y).long()
        began = time.perf_counter()
        for rows in parts:
            part = pixels[rows].clone().requires_grad_()
            functional.cross_entropy(other(part), classes[rows], reduction="sum").backward()
            (part.detach() + EPSILON * part.grad.sign()).clamp(0, 1)
        return time.perf_counter() - began

    done = operations(net, to_weights=0, to_image=1)
    others = {"Keras": tutorial, "PyTorch": pytorch}
    return Work("FGSM on 10,000 images", n, done, ours, others)


WORKS = (small_net, normalized_net, dropped_net, distorted_net, photographs_net)
WORKS += (adversarial_net, attack)
RIVALS = (*WAYS[1:], "PyTorch", "JAX", "NumPy")


def fastest_product() -> float:
    """Floating-point operations a second of a product of 1024 x 1024 matrices, the best way."""
    x = uniform(1024, 1024)
    of_torch, of_tf = torch.from_numpy(x), tf.constant(x)
    ways = (lambda: x @ x, lambda: of_torch @ of_torch, lambda: of_tf @ of_tf)
    return 2 * 1024**3 / min(best_of(way) for way in ways)


def main(name: str) -> None:
    """Prints a row. Each has a process of its own: what ran before in one changes the speed."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    found = data.load("mnist", fallback="mnist5k")
    make = next(work for work in WORKS if work.__name__ == name)
    work = make() if make is photographs_net else make(*found.arrays[0])
    peak = fastest_product()
    seconds = rounds({"ours": work.ours} | work.others)
    peak = max(peak, fastest_product())
    done = [work.n * work.operations / one for one in seconds["ours"]]
    cells = [spread([work.n / one for one in seconds["ours"]])]
    share = spread([100 * one / peak for one in done])
    cells.append(f"{1e-9 * statistics.median(done):.3g} of {1e-9 * peak:.3g}: {share} %")
    for rival in RIVALS:
        pairs = zip(seconds["ours"], seconds.get(rival, ()), strict=rival in seconds)
        cells.append(spread([theirs / ours for ours, theirs in pairs]) if rival in seconds else "")
    print(f"| {work.name} | {' | '.join(cells)} |")


def measure() -> str:
    """The section of docs/benchmarks.md."""
    head = " | ".join(f"times as fast as {rival}" for rival in RIVALS)
    first = "| work | images a second, ours | GFLOP/s, and share of the fastest product"
    rows = [f"{first} | {head} |", "|---" * (3 + len(RIVALS)) + "|"]
    for work in WORKS:
        command = [sys.executable, "-m", "tests.benchmarks.contest", work.__name__]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows.append(done.stdout.splitlines()[-1])
        print(rows[-1], flush=True)
    table = "\n".join(rows)
    name = data.load("mnist", fallback="mnist5k").name
    return (
        f"## The same work\n\nMinimum / median / maximum of {ROUNDS} rounds, on {name}, each row "
        "in a process of its own. Keras is `Model.fit`, plain and with `steps_per_execution`, and "
        "for FGSM the eager code of TensorFlow's tutorial; PyTorch is the eager loop of its "
        "tutorials, JAX an epoch by hand as one `lax.scan`. GFLOP/s count the products and "
        "convolutions of a step, whatever else it does, and are compared with the fastest product "
        "of 1024 x 1024 matrices that TensorFlow, PyTorch or NumPy gave in the same process.\n\n"
        f"{table}\n\n"
        f"{REMARKS}"
    )


if __name__ == "__main__":
    main(sys.argv[1])
