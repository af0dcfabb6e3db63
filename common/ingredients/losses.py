"""Losses that Keras does not have in this form."""

import keras


def sigmoid_cross_entropy(targets, logits):
    """(B, C) targets in 0..1, (B, C) logits -> (B,) cross-entropy, summed over the C outputs.

    `keras.losses.BinaryCrossentropy` takes the mean over the outputs, which makes every gradient C
    times smaller. Nielsen, Neural Networks and Deep Learning (2015), chapter 3, equation (63).
    """
    each = keras.ops.binary_crossentropy(targets, logits, from_logits=True)
    return keras.ops.sum(each, axis=-1)


def at_learning_rates(rates):
    """A loss by which SGD with a learning rate of 1 moves each of R nets by its own one of `rates`.

    It takes classes (B,) and the nets' logits (B, R, C), and gives (B,): their cross-entropies,
    each multiplied by its learning rate.
    """

    def loss(targets, logits):
        ops = keras.ops
        hot = ops.one_hot(ops.cast(ops.reshape(targets, (-1, 1)), "int32"), logits.shape[2])
        return -ops.sum(ops.sum(hot * ops.log_softmax(logits), axis=2) * rates, axis=1)

    return loss
