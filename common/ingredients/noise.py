"""How the gradients of mini-batches scatter, from what backpropagation leaves in dense layers.

The gradient of one example with respect to a dense layer is the outer product of what enters the
layer, with a 1 for the bias, and the derivative of the cost by its weighted sums z. Below, a layer
of R nets is such a pair: inputs (n, R, in), or (n, 1, in) for all nets, and dJ/dz (n, R, out).

Source: McCandlish, Kaplan, Amodei & OpenAI Dota Team, An empirical model of large-batch training
(2018), section 2.
"""

import numpy as np


@np.errstate(all="ignore")  # a net may have diverged
def backpropagated(inside, x, y):
    """The mean cross-entropy of each net, (R,), and its two layers, by the chain rule.

    Args:
        inside: gives what enters the layers, (n, in) and (n, R, hidden), and the logits (n, R, C)
            of R nets with one hidden layer of tanh units; its last layer is the nets' last one.
        x: examples, as `inside` takes them.
        y: their classes, (n,).
    """
    x, hidden, logits = inside.predict_on_batch(x)
    p = np.exp(logits - logits.max(axis=2, keepdims=True))
    p /= p.sum(axis=2, keepdims=True)
    own = np.arange(len(y)), slice(None), y
    cost = -np.log(p[own]).mean(axis=0)
    p[own] -= 1  # now dJ/dz of the outputs
    kernel = inside.layers[-1].get_weights()[0]
    back = np.einsum("nrc,rhc->nrh", p, kernel, optimize=True) * (1 - hidden**2)
    return cost, ((x[:, None], back), (hidden, p))


def noise_scale(layers):
    """tr(Sigma) / |G|^2 of each net, (R,): Sigma is one example's covariance, G the full gradient.

    Of a mini-batch of this size, drawn with replacement, the gradient's variance is |G|^2.
    """
    squares, full = 0, 0
    for a, d in map(_with_bias, layers):
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
    pairs = [(a[:, net % a.shape[1]], d[:, net]) for a, d in map(_with_bias, layers)]
    each = np.hstack([(a[:, :, None] * d[:, None]).reshape(len(a), -1) for a, d in pairs])
    each -= each.mean(axis=0)
    rng = np.random.default_rng(seed)
    n, share = len(each), np.zeros((draws, len(each)), each.dtype)
    for row in share:
        row[rng.choice(n, batch, replace=False)] = 1 / batch
    measured, trace = ((part**2).sum() / len(part) for part in (share @ each, each))
    return measured, trace / batch * (n - batch) / (n - 1)


def _with_bias(layer):
    a, d = layer
    return np.concatenate([a, np.ones_like(a[..., :1])], axis=2), d
