"""AlexNet: Krizhevsky, Sutskever & Hinton, ImageNet classification with deep CNNs (NIPS 2012)."""

import keras
import numpy as np
from keras import layers, ops

# Arguments of `alexnet` for the net of the paper; side 227, since 224 does not fit its strides.
PUBLISHED = {
    "side": 227,
    "first": (11, 4, "valid"),
    "maps": (96, 256, 384, 384, 256),
    "units": 4096,
}
# Inputs of a unit in each layer of that net with one group.
FAN_IN = (363, 2400, 2304, 3456, 3456, 9216, 4096, 4096)


def alexnet(
    classes,
    seed,
    *,
    side=32,
    first=(5, 1, "same"),
    maps=(32, 64, 96, 96, 64),
    units=512,
    groups=2,
    normalize=True,
    pool=3,
    dropout=0.5,
    weight_decay=5e-4,
):
    """(B, side, side, 3) pixels minus their mean -> (B, classes) logits.

    The defaults scale the net down to CIFAR-10; `**PUBLISHED` is the net for ImageNet. Initial
    weights are N(0, .01^2), times sqrt(published fan-in / own fan-in), so that each layer keeps its
    gain. Layers are named conv1 .. conv5, dense6, dense7 and logits.

    Args:
        side: height and width of the images.
        first: kernel size, stride and padding of conv1.
        maps: feature maps of the five convolutions.
        units: units of dense6 and of dense7.
        groups: of maps in conv2, conv4 and conv5: 2 as on the paper's two GPUs, or 1.
        normalize: whether local response normalization follows conv1 and conv2.
        pool: size of the max-pooling windows, whose stride is 2: with 3 they overlap.
        dropout: probability of dropping a unit of dense6 and dense7.
        weight_decay: v <- momentum v - learning rate (weight_decay w + gradient).
    """
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
        how = settings(layer, size**2 * x.shape[-1]) | {"strides": strides, "padding": padding}
        return grouped(x, groups, maps[layer - 1], size, name=f"conv{layer}", **how)

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


def grouped(x, groups, filters, kernel_size, name=None, **settings):
    """`Conv2D(filters, kernel_size, groups=groups, name=name, **settings)(x)`, faster on a CPU.

    (B, H, W, C) -> (B, H', W', filters). Raises ValueError if groups do not divide C and filters.
    """
    if x.shape[-1] % groups or filters % groups:
        divided = f"{x.shape[-1]} and {filters} maps"
        raise ValueError(f"expected groups that divide {divided}, received {groups}")
    if groups == 1:
        return layers.Conv2D(filters, kernel_size, name=name, **settings)(x)
    split = ops.split(x, groups, axis=-1)
    convolved = [layers.Conv2D(filters // groups, kernel_size, **settings)(one) for one in split]
    return layers.Concatenate(name=name)(convolved)


@keras.saving.register_keras_serializable("recipes")
class LocalResponseNormalization(layers.Layer):
    """(B, H, W, C) -> (B, H, W, C): b_i = a_i / (k + alpha * sum_j a_j^2)^beta.

    The sum is over the n maps (odd) around map i, at the same place; alpha is not divided by n.
    Krizhevsky et al. 2012, section 3.3. The sum is a product with a band matrix (C, C) and the
    gradient is written out: faster on a CPU than `tf.nn.local_response_normalization`.
    """

    def __init__(self, k=2.0, n=5, alpha=1e-4, beta=0.75, **kwargs):
        super().__init__(**kwargs)
        if n < 1 or n % 2 == 0:
            raise ValueError(f"expected an odd n of at least 1, received {n}")
        self.k, self.n, self.alpha, self.beta = k, n, alpha, beta

    def call(self, a):
        """(B, H, W, C) -> (B, H, W, C)."""
        maps = np.arange(a.shape[-1])
        near = np.abs(maps[:, None] - maps) <= self.n // 2
        band = ops.cast(self.alpha * near, a.dtype)

        @ops.custom_gradient
        def normalize(a):
            flat = ops.reshape(a, (-1, a.shape[-1]))
            base = self.k + ops.matmul(ops.square(flat), band)
            if self.beta == 0.75:  # two roots take far less time than a general power
                root = ops.rsqrt(base)
                factor = root * ops.sqrt(root)
            else:
                factor = ops.power(base, -self.beta)

            def gradient(*inputs, upstream=None):  # backends differ in how they pass it
                # db_i/da_j = factor_i [i = j] - 2 beta band_ij a_i a_j factor_i / base_i
                upstream = inputs[-1] if upstream is None else upstream
                upstream = ops.reshape(upstream, ops.shape(flat))
                shared = ops.matmul(upstream * flat * factor / base, band)
                own = upstream * factor - 2 * self.beta * flat * shared
                return ops.reshape(own, ops.shape(a))

            return ops.reshape(flat * factor, ops.shape(a)), gradient

        return normalize(a)
