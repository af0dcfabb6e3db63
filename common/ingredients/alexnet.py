"""AlexNet: Krizhevsky, Sutskever & Hinton, ImageNet classification with deep CNNs (NIPS 2012)."""

import keras
import numpy as np
from keras import layers, ops

# Sizes of the net scaled down to CIFAR-10, and of the paper's, where 224 does not fit the strides.
# `first`: kernel size, stride and padding of conv1.
CIFAR = {"side": 32, "first": (5, 1, "same"), "maps": (32, 64, 96, 96, 64), "units": 512}
PUBLISHED = {
    "side": 227,
    "first": (11, 4, "valid"),
    "maps": (96, 256, 384, 384, 256),
    "units": 4096,
}
FAN_IN = (363, 2400, 2304, 3456, 3456, 9216, 4096, 4096)  # published, by layer, without groups


def alexnet(
    classes, seed, groups=2, normalize=True, pool=3, dropout=0.5, weight_decay=5e-4, **sizes
):
    """(B, side, side, 3) pixels minus their mean -> (B, classes) logits.

    Initial weights are N(0, .01^2), times sqrt(published fan-in / own fan-in), so that each layer
    keeps its gain. Layers are named conv1 .. conv5, dense6, dense7 and logits.

    Args:
        groups: of maps in conv2, conv4 and conv5: 2 as on the paper's two GPUs, or 1.
        normalize: whether local response normalization follows conv1 and conv2.
        pool: size of the max-pooling windows, whose stride is 2: with 3 they overlap.
        dropout: probability of dropping a unit of dense6 and dense7.
        weight_decay: v <- momentum v - learning rate (weight_decay w + gradient).
        sizes: in place of those in CIFAR; `**PUBLISHED` is the net for ImageNet.
    """
    side, first, maps, units = (CIFAR | sizes).values()
    generator = keras.random.SeedGenerator(seed)

    def settings(layer, inputs):
        stddev = 0.01 * (FAN_IN[layer - 1] / inputs) ** 0.5
        return {
            "kernel_initializer": keras.initializers.RandomNormal(0, stddev, seed=generator),
            "bias_initializer": "ones" if layer in (2, 4, 5, 6, 7) else "zeros",
            "kernel_regularizer": keras.regularizers.L2(weight_decay / 2),
            "activation": "relu" if layer < 8 else None,
        }

    def conv(x, layer, size, strides=1, padding="same", groups=1):
        name, filters = f"conv{layer}", maps[layer - 1] // groups
        how = settings(layer, size**2 * x.shape[-1]) | {"strides": strides, "padding": padding}
        if groups == 1:
            return layers.Conv2D(filters, size, name=name, **how)(x)
        split = ops.split(x, groups, axis=-1)  # faster on a CPU than `Conv2D(groups=groups)`
        convolved = [layers.Conv2D(filters, size, **how)(group) for group in split]
        return layers.Concatenate(name=name)(convolved)

    x = inputs = keras.Input((side, side, 3))
    for layer, kernel in ((1, first), (2, (5, 1, "same", groups))):
        x = conv(x, layer, *kernel)
        x = LocalResponseNormalization()(x) if normalize else x
        x = layers.MaxPooling2D(pool, 2)(x)
    x = conv(conv(conv(x, 3, 3), 4, 3, groups=groups), 5, 3, groups=groups)
    x = layers.Flatten()(layers.MaxPooling2D(pool, 2)(x))
    for layer in (6, 7):
        x = layers.Dense(units, name=f"dense{layer}", **settings(layer, x.shape[-1]))(x)
        x = layers.Dropout(dropout, seed=10 * seed + layer - 1)(x)
    return keras.Model(inputs, layers.Dense(classes, name="logits", **settings(8, units))(x))


class LocalResponseNormalization(layers.Layer):
    """(B, H, W, C) -> (B, H, W, C): a_i / (2 + 1e-4 * sum_j a_j^2)^.75, over 5 maps j around i.

    Krizhevsky et al. 2012, section 3.3. The sum is a product with a band matrix (C, C), and the
    gradient is written out: faster on a CPU than `tf.nn.local_response_normalization`.
    """

    def call(self, a):
        """(B, H, W, C) -> (B, H, W, C)."""
        maps = np.arange(a.shape[-1])
        band = ops.cast(1e-4 * (np.abs(maps[:, None] - maps) <= 2), a.dtype)

        @ops.custom_gradient
        def normalize(a):
            base = 2 + ops.matmul(ops.square(a), band)
            root = ops.rsqrt(base)
            factor = root * ops.sqrt(root)  # base^-.75 in far less time than by a general power

            def gradient(*inputs, upstream=None):  # backends differ in how they pass it
                # db_i/da_j = factor_i [i = j] - 2 * .75 * band_ij a_i a_j factor_i / base_i
                upstream = inputs[-1] if upstream is None else upstream
                shared = ops.matmul(upstream * a * factor / base, band)
                return upstream * factor - 1.5 * a * shared

            return a * factor, gradient

        return ops.reshape(normalize(ops.reshape(a, (-1, len(maps)))), ops.shape(a))
