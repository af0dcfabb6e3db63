"""Training: `fit` in compiled epochs, resumed to the bit, on one device or many.

In a program of your own:

    from common.training import fit  # before TensorFlow is imported

    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = fit(model, x, y, batch_size=100, epochs=10, validation_data=(x_test, y_test)).history

`once` lets arms of a recipe share a net that is trained before them.
"""

import common.startup  # noqa: F401  before TensorFlow is imported elsewhere
from common.training.context import once
from common.training.loop import evaluate, fit

__all__ = ["evaluate", "fit", "once"]
