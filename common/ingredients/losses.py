"""Losses that Keras does not have in this form."""

import keras


def sigmoid_cross_entropy(targets, logits):
    """(B, C) targets in 0..1, (B, C) logits -> (B,) cross-entropy, summed over the C outputs.

    `keras.losses.BinaryCrossentropy` takes the mean over the outputs, which makes every gradient C
    times smaller. Nielsen, Neural Networks and Deep Learning (2015), chapter 3, equation (63).
    """
    each = keras.ops.binary_crossentropy(targets, logits, from_logits=True)
    return keras.ops.sum(each, axis=-1)
