"""Losses that Keras does not have in this form."""

from keras import ops


def sigmoid_cross_entropy(targets, logits):
    """(B, C) targets in 0..1, (B, C) logits -> (B,) cross-entropy, summed over the C outputs.

    `keras.losses.BinaryCrossentropy` takes the mean over the outputs, which makes every gradient C
    times smaller. Nielsen, Neural Networks and Deep Learning (2015), chapter 3, equation (63).
    """
    each = ops.binary_crossentropy(targets, logits, from_logits=True)
    return ops.sum(each, axis=-1)


def loss_of_outputs(name, x, hot):
    """(..., K) outputs, (..., K) one-hot classes c -> (...), after the lecture of TU Darmstadt.

    Square, log and hinge are one against all, summed over the outputs: d is 1 for the class and -1
    for the others. The margins of hinge and max-margin are 1.
    """
    d, right = 2 * hot - 1, ops.sum(hot * x, axis=-1)
    return {
        "square": lambda: ops.sum((x - d) ** 2, axis=-1) / 2,
        "log": lambda: ops.sum(ops.softplus(-d * x), axis=-1),
        "hinge": lambda: ops.sum(ops.relu(1 - d * x), axis=-1),
        "log_softmax": lambda: ops.logsumexp(x, axis=-1) - right,
        "max_margin": lambda: ops.relu(ops.max(x - 1e9 * hot, axis=-1) + 1 - right),
        "square of softmax": lambda: ops.sum((ops.softmax(x) - hot) ** 2, axis=-1) / 2,
    }[name]()
