"""Callbacks under `keras.Model.fit` itself."""

import keras
import numpy as np

from common.ingredients.callbacks import Evaluate, Record

RNG = np.random.default_rng(0)


def compiled() -> keras.Model:
    initial = keras.initializers.HeNormal(seed=0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, kernel_initializer=initial)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, metrics=["accuracy"])
    return model


def examples(n: int) -> tuple[np.ndarray, np.ndarray]:
    return RNG.normal(size=(n, 4)).astype(np.float32), RNG.integers(0, 3, n)


def cross_entropy_and_accuracy(model: keras.Model, x, y) -> tuple[float, float]:
    """In NumPy."""
    kernel, bias = model.get_weights()
    z = x.astype(np.float64) @ kernel + bias
    losses = np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(y)), y]
    return losses.mean(), np.mean(z.argmax(axis=1) == y)


def test_evaluate_adds_what_the_weights_give_at_the_end_of_an_epoch():
    model, other = compiled(), examples(30)
    measured = Record(lambda: cross_entropy_and_accuracy(model, *other))
    callbacks = [Evaluate("other", *other), measured]
    history = model.fit(*examples(20), epochs=5, verbose=0, callbacks=callbacks).history
    expected = np.array(measured.values)
    assert len(expected) == 5
    np.testing.assert_allclose(history["other_loss"], expected[:, 0], rtol=1e-5)
    np.testing.assert_allclose(history["other_accuracy"], expected[:, 1], rtol=1e-5)
    assert len(history["loss"]) == len(history["accuracy"]) == 5


def test_evaluating_leaves_the_training_as_it_is():
    def train(callbacks: list) -> tuple[list, dict]:
        model = compiled()
        x, y = np.linspace(-1, 1, 80).reshape(20, 4), np.arange(20) % 3
        history = model.fit(x, y, 8, 3, verbose=0, shuffle=False, callbacks=callbacks).history
        return model.get_weights(), {name: history[name] for name in ("loss", "accuracy")}

    weights, history = train([])
    same, its = train([Evaluate("other", *examples(7))])
    assert history == its
    for one, other in zip(weights, same, strict=True):
        np.testing.assert_array_equal(one, other)


def test_callbacks_later_in_the_list_see_what_was_added():
    stop = keras.callbacks.EarlyStopping("other_accuracy", patience=1, mode="max")
    model, (x, y) = compiled(), examples(10)
    model.optimizer.learning_rate = 0.0  # so nothing improves
    callbacks = [Evaluate("other", x, y), stop]
    history = model.fit(x, y, epochs=9, verbose=0, callbacks=callbacks).history
    assert len(history["loss"]) == 2


def test_evaluate_may_be_replaced_by_a_faster_one():
    evaluate = Evaluate("other", *examples(3))
    evaluate.evaluate = lambda: {"loss": 7.0}
    logs = {"loss": 1.0}
    evaluate.on_epoch_end(0, logs)
    assert logs == {"loss": 1.0, "other_loss": 7.0}


def test_record_keeps_a_value_of_each_epoch():
    model = compiled()
    record = Record(lambda: model.get_weights()[1])
    model.fit(*examples(10), epochs=3, verbose=0, callbacks=[record])
    assert np.shape(record.values) == (3, 3)
    np.testing.assert_array_equal(record.values[-1], model.get_weights()[1])
    assert not np.array_equal(record.values[0], record.values[1])


def test_what_a_resumed_training_must_restore():
    assert Evaluate.remembers == ()
    assert Record.remembers == ("values",)
