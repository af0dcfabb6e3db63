"""Small nets for digits, from softmax regression to convolutions, that several recipes share."""

import keras
from keras import layers, ops


def nielsen_net(hidden, seed, outputs=10, **dense):
    """(B, 28, 28) pixels in 0..255 -> (B, outputs) logits of sigmoids; parameters from N(0, 1).

    The net of Nielsen, Neural Networks and Deep Learning (2015), with one layer of `hidden` sigmoid
    units. `dense` is what both of its layers also take: regularizers, constraints, initializers.
    """
    normal = keras.initializers.RandomNormal(stddev=1.0, seed=keras.random.SeedGenerator(seed))
    dense = {"kernel_initializer": normal, "bias_initializer": normal} | dense
    return keras.Sequential(
        [
            keras.Input((28, 28)),
            layers.Rescaling(1 / 255),
            layers.Flatten(),
            layers.Dense(hidden, "sigmoid", **dense),
            layers.Dense(outputs, **dense),  # the sigmoid of the outputs is part of the cost
        ]
    )


def digit_net(kind, seed):
    """(B, 28, 28) pixels in 0..255 -> (B, 10) logits.

    `kind` is softmax, ReLU (two layers of 256), conv (16 and 32 maps), or maxout (two layers of 240
    units, each the largest of 5 sums, with dropout).
    """
    if kind not in ("softmax", "ReLU", "conv", "maxout"):
        raise ValueError(f"expected softmax, ReLU, conv or maxout, received {kind}")
    generator = keras.random.SeedGenerator(seed)
    he = {"kernel_initializer": keras.initializers.HeNormal(seed=generator)}
    x = inputs = keras.Input((28, 28))
    x = layers.Reshape((28, 28, 1))(layers.Rescaling(1 / 255)(x))
    for maps in (16, 32) if kind == "conv" else ():
        x = layers.MaxPooling2D()(layers.Conv2D(maps, 3, activation="relu", **he)(x))
    x = layers.Flatten()(x)
    for i in range(2):
        if kind == "ReLU":
            x = layers.Dense(256, "relu", **he)(x)
        elif kind == "maxout":
            x = layers.Dropout(0.5 if i else 0.2, seed=10 * seed + i)(x)
            x = layers.Dense(240 * 5, **he)(x)
            x = ops.max(ops.reshape(x, (-1, 240, 5)), axis=-1)
    glorot = keras.initializers.GlorotUniform(seed=generator)
    return keras.Model(inputs, layers.Dense(10, kernel_initializer=glorot)(x))
