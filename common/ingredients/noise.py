"""How the gradients of mini-batches scatter, from what backpropagation leaves in dense layers.

The gradient of one example with respect to a dense layer is the outer product of what enters the
layer, with a 1 for the bias, and the derivative of the cost with respect to its weighted sums z.
Below, a layer of R nets is such a pair: what enters (n, R, in), and dJ/dz (n, R, out).

Source: McCandlish, Kaplan, Amodei & OpenAI Dota Team, An empirical model of large-batch training
(2018), section 2.
"""

import keras
import numpy as np


@np.errstate(all="ignore")  # a net may have diverged
def backpropagated(model, x, y):
    """The two layers of each net, by the chain rule.

    Args:
        model: gives the logits (n, R, C) of R nets with one hidden layer of tanh units; a constant
            1, the last input of both layers, stands for the biases.
        x: examples, as the model takes them.
        y: their classes, (n,).
    """
    layers = [layer for layer in model.layers if layer.weights]
    inside = keras.Model(model.input, [*(layer.input for layer in layers), model.output])
    # Each replica answers for the whole batch.
    first, second, logits = (part[: len(x)] for part in inside.predict_on_batch(x))
    p = np.exp(logits - logits.max(axis=2, keepdims=True))
    p /= p.sum(axis=2, keepdims=True)
    p[np.arange(len(y)), :, y] -= 1  # now dJ/dz of the outputs
    kernel = layers[1].get_weights()[0][:, :-1]
    back = np.einsum("nrc,rhc->nrh", p, kernel, optimize=True) * (1 - second[..., :-1] ** 2)
    return (first, back), (second, p)


def noise_scale(layers):
    """tr(Sigma) / |G|^2 of each net, (R,): Sigma is one example's covariance, G the full gradient.

    Of a mini-batch of this size, drawn with replacement, the gradient's variance is |G|^2.
    """
    squares, full = 0, 0
    for a, d in layers:
        squares = squares + ((a**2).sum(axis=2) * (d**2).sum(axis=2)).mean(axis=0)
        mean = np.einsum("nri,nro->rio", a, d, optimize=True) / len(a)
        full = full + (mean**2).sum(axis=(1, 2))
    return squares / full - 1


def batch_variance(layers, net, batch, draws, seed):
    """-> (measured, predicted): the summed variance of a mini-batch's gradient in one of the nets.

    Measured over so many `draws` of `batch` among the n examples, without replacement, around the
    full gradient; predicted is tr(Sigma) / batch (n - batch) / (n - 1).

    Args:
        layers: of R nets, as above.
        net: which of them, 0..R - 1.
        batch: examples in a mini-batch, 1..n.
        draws: mini-batches that are drawn.
        seed: of the draws.
    """
    pairs = [(a[:, net, :, None], d[:, net, None]) for a, d in layers]
    each = np.hstack([(a * d).reshape(len(a), -1) for a, d in pairs])
    each -= each.mean(axis=0)
    rng = np.random.default_rng(seed)
    n, share = len(each), np.zeros((draws, len(each)), each.dtype)
    for row in share:
        row[rng.choice(n, batch, replace=False)] = 1 / batch
    measured, trace = ((part**2).sum() / len(part) for part in (share @ each, each))
    return measured, trace / batch * (n - batch) / (n - 1)
