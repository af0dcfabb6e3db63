"""Backpropagation as Lego: bricks that know their forward and their backward step, in NumPy.

forward(x) returns y and keeps what backward needs; backward(dy) takes dE/dy and returns dE/dx.
What a brick learns stands in `weights`, and after backward dE/d(weights) in `gradients`. A loss
takes outputs x (B, K) and the classes, one-hot (B, K), and returns E (B,) and dE/dx (B, K). At a
kink the derivative is the one stated.

Source: lecture of TU Darmstadt, "Typische Legobausteine". Its ramp, min(-1, max(1, x)), is -1 for
every x; min(1, max(-1, x)) is meant, and its derivative is that of the latter.
"""

import numpy as np


class Brick:
    """A brick; this one has no weights."""

    weights, gradients = (), ()


class Function(Brick):
    """y = f(x), element by element; `derivative` of x and y."""

    def __init__(self, f, derivative):
        self.f, self.derivative = f, derivative

    def forward(self, x):
        """Any shape -> the same."""
        self.x, self.y = x, self.f(x)
        return self.y

    def backward(self, dy):
        """dE/dx = dE/dy f'(x)."""
        return dy * self.derivative(self.x, self.y)


def activation(name):
    """A brick: sigmoid, tanh, relu (0 at 0), ramp (0 at -1 and 1), or leaky_relu (.01 at 0)."""
    functions = {
        "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), lambda x, y: y * (1 - y)),
        "tanh": (np.tanh, lambda x, y: 1 - y**2),
        "relu": (lambda x: np.maximum(0, x), lambda x, y: x > 0),
        "ramp": (lambda x: np.minimum(1, np.maximum(-1, x)), lambda x, y: np.abs(x) < 1),
        "leaky_relu": (lambda x: np.maximum(0.01 * x, x), lambda x, y: np.where(x > 0, 1, 0.01)),
    }
    return Function(*functions[name])


class Flatten(Brick):
    """(B, ...) -> (B, n)."""

    def forward(self, x):
        """The same numbers in a row."""
        self.shape = x.shape
        return x.reshape(len(x), -1)

    def backward(self, dy):
        """(B, n) -> (B, ...)."""
        return dy.reshape(self.shape)


class Linear(Brick):
    """y = x W + b."""

    def __init__(self, kernel, bias):
        self.weights = [kernel, bias]

    def forward(self, x):
        """(B, in) -> (B, out)."""
        self.x = x
        return x @ self.weights[0] + self.weights[1]

    def backward(self, dy):
        """dE/dx = dE/dy W^T, dE/dW = x^T dE/dy."""
        self.gradients = [self.x.T @ dy, dy.sum(axis=0)]
        return dy @ self.weights[0].T


class Convolution(Linear):
    """Scalar products at every place: kernel (k, k, in, out), no padding, stride 1."""

    def forward(self, x):
        """(B, H, W, in) -> (B, H - k + 1, W - k + 1, out)."""
        k = len(self.weights[0])
        windows = np.lib.stride_tricks.sliding_window_view(x, (k, k), axis=(1, 2))
        self.x = windows.transpose(0, 1, 2, 4, 5, 3)  # (B, H', W', k, k, in)
        return np.tensordot(self.x, self.weights[0], 3) + self.weights[1]

    def backward(self, dy):
        """Each window's share of dE/dx is added where the window lay."""
        kernel, (_, height, width, _) = self.weights[0], dy.shape
        self.gradients = [np.tensordot(self.x, dy, ((0, 1, 2),) * 2), dy.sum(axis=(0, 1, 2))]
        k = len(kernel)
        dx = np.zeros((len(dy), height + k - 1, width + k - 1, kernel.shape[2]))
        for i, j in np.ndindex(k, k):
            dx[:, i : i + height, j : j + width] += dy @ kernel[i, j].T
        return dx


class Sequential(Brick):
    """Forward through B1, B2, .. BM, and back through BM, .. B2, B1."""

    def __init__(self, bricks):
        self.bricks = bricks

    def forward(self, x):
        """What the last brick makes of it."""
        for brick in self.bricks:
            x = brick.forward(x)
        return x

    def backward(self, dy):
        """dE/dx of the first brick."""
        for brick in reversed(self.bricks):
            dy = brick.backward(dy)
        return dy

    def step(self, learning_rate):
        """Moves all weights against their gradients."""
        for brick in self.bricks:
            brick.weights = [
                w - learning_rate * g for w, g in zip(brick.weights, brick.gradients, strict=True)
            ]


def square(x, hot):
    """Half the squared distance from d, 1 for the class and -1 for the others."""
    d = 2 * hot - 1
    return np.sum((x - d) ** 2, axis=1) / 2, x - d


def log(x, hot):
    """One against all: log(1 + e^(-d x)), summed over the outputs."""
    d = 2 * hot - 1
    return np.sum(np.logaddexp(0, -d * x), axis=1), -d / (1 + np.exp(d * x))


def hinge(x, hot):
    """One against all: max(0, 1 - d x), summed over the outputs; the derivative at d x = 1 is 0."""
    d = 2 * hot - 1
    return np.sum(np.maximum(0, 1 - d * x), axis=1), -d * (d * x < 1)


def log_softmax(x, hot):
    """log sum_k e^x_k - x_c."""
    shifted = x - x.max(axis=1, keepdims=True)
    e = np.exp(shifted)
    total = e.sum(axis=1, keepdims=True)
    return np.log(total[:, 0]) - np.sum(hot * shifted, axis=1), e / total - hot


def max_margin(x, hot):
    """[max_(k != c) x_k + 1 - x_c]_+; of equal x_k the first counts; the derivative at 0 is 0."""
    rival = np.eye(x.shape[1])[np.argmax(np.where(hot, -np.inf, x), axis=1)]
    e = np.maximum(0, 1 + np.sum((rival - hot) * x, axis=1))
    return e, (rival - hot) * (e > 0)[:, None]


LOSSES = {
    "square": square,
    "log": log,
    "hinge": hinge,
    "log_softmax": log_softmax,
    "max_margin": max_margin,
}
