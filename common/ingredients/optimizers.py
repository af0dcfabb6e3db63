"""Six optimizers written out, with Keras's constants, and a ravine to try them on.

Each function but the last returns step(w, g) -> the new w, for parameters w and the gradient g
there, numbers or arrays of one shape. It keeps what the optimizer remembers, so that each training
needs a new one.
Where Keras differs from the sources, its form stands here: AdaGrad's sum starts at .1, epsilon
stands under the root of AdaGrad and RMSProp, and Adam's is the source's "epsilon hat".

Sources: Polyak 1964 (momentum); Sutskever et al. 2013 (Nesterov); Duchi et al. 2011 (AdaGrad);
Hinton, lecture 6e (RMSProp); Kingma & Ba 2015 (Adam).
"""

import numpy as np


def sgd(rate, mu=0.0, nesterov=False):
    """Gradient descent: plain, with momentum `mu`, or with Nesterov's, w being the point ahead."""
    v = 0.0

    def step(w, g):
        nonlocal v
        v = mu * v - rate * g
        return w + mu * v - rate * g if nesterov else w + v

    return step


def adagrad(rate, start=0.1, epsilon=1e-7):
    """Steps divided by the root of the sum of all squared gradients."""
    s = start

    def step(w, g):
        nonlocal s
        s = s + g**2
        return w - rate * g / np.sqrt(s + epsilon)

    return step


def rmsprop(rate, rho=0.9, epsilon=1e-7):
    """Steps divided by the root of a decaying mean of squared gradients."""
    s = 0.0

    def step(w, g):
        nonlocal s
        s = rho * s + (1 - rho) * g**2
        return w - rate * g / np.sqrt(s + epsilon)

    return step


def adam(rate, beta1=0.9, beta2=0.999, epsilon=1e-7, corrected=True):
    """RMSProp's division for a decaying mean of gradients; both `corrected` for starting at 0."""
    m = s = t = 0

    def step(w, g):
        nonlocal m, s, t
        m, s, t = beta1 * m + (1 - beta1) * g, beta2 * s + (1 - beta2) * g**2, t + 1
        factor = np.sqrt(1 - beta2**t) / (1 - beta1**t) if corrected else 1.0
        return w - rate * factor * m / (np.sqrt(s) + epsilon)

    return step


def ravine(step):
    """1,000 steps (1001, 2) from (3, 1) down a quadratic cost; curvatures 1 and .01, 30 degrees."""
    turn = np.array([[np.sqrt(3) / 2, -0.5], [0.5, np.sqrt(3) / 2]])
    hessian, path = turn @ np.diag([0.01, 1.0]) @ turn.T, [np.array([3.0, 1.0])]
    for _ in range(1000):
        path.append(step(path[-1], hessian @ path[-1]))
    return np.array(path)
