"""`fit` against `keras.Model.fit` on the same mini-batches, and what Keras promises."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from common.ingredients.callbacks import Evaluate
from common.system import UsageError
from common.training import context, evaluate, fit, loop

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 6)).astype(np.float32)
Y = RNG.integers(0, 3, 50).astype(np.int32)
X_VAL = RNG.normal(size=(23, 6)).astype(np.float32)
Y_VAL = RNG.integers(0, 3, 23).astype(np.int32)
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def build(seed=0, layers=()):
    rng = keras.random.SeedGenerator(seed)
    init = keras.initializers.GlorotUniform(seed=rng)
    return keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(8, activation="tanh", kernel_initializer=init),
            *layers,
            keras.layers.Dense(3, kernel_initializer=init),
        ]
    )


def train(model, x=X, y=Y, seed=1, optimizer=None, loss=LOSS, metrics=("accuracy",), **changed):
    """Compiles and fits within the context of a run, whose seed orders the examples."""
    optimizer = optimizer or keras.optimizers.SGD(0.1)
    model.compile(optimizer=optimizer, loss=loss, metrics=list(metrics))
    with context.running(context.Context(seed)):
        return fit(model, x, y, **({"batch_size": 10, "epochs": 3} | changed)).history


def plain_fit(model, optimizer, batch_size, epochs, seed):
    """What every tutorial writes, given the same order."""
    model.compile(optimizer=optimizer, loss=LOSS, metrics=["accuracy"])
    history = []
    for epoch in range(epochs):
        rows = loop.order(seed, epoch, len(X))
        logs = model.fit(X[rows], Y[rows], batch_size=batch_size, shuffle=False, verbose=0)
        history.append({name: values[0] for name, values in logs.history.items()})
    return {name: [logs[name] for logs in history] for name in history[0]}


def momentum():
    return keras.optimizers.SGD(0.1, momentum=0.9)


def adam():
    return keras.optimizers.Adam(0.01)


@pytest.mark.parametrize(
    ("optimizer", "batch_size"), [(momentum, 7), (momentum, 64), (adam, 10), (adam, 50)]
)
def test_equals_plain_fit(optimizer, batch_size):
    def model():
        return build(layers=[keras.layers.BatchNormalization(), keras.layers.Dropout(0.0)])

    ours, theirs = model(), model()
    history = train(ours, optimizer=optimizer(), batch_size=batch_size)
    expected = plain_fit(theirs, optimizer(), batch_size, epochs=3, seed=1)
    for mine, plain in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, plain, atol=1e-5)
    assert history.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(history[name], expected[name], atol=1e-5, err_msg=name)


def test_equals_plain_fit_for_a_convolution():
    images = RNG.normal(size=(20, 5, 5, 1)).astype(np.float32)

    def model():
        init = keras.initializers.GlorotUniform(seed=keras.random.SeedGenerator(0))
        return keras.Sequential(
            [
                keras.Input((5, 5, 1)),
                keras.layers.Conv2D(2, 3, kernel_initializer=init),
                keras.layers.Flatten(),
                keras.layers.Dense(3, kernel_initializer=init),
            ]
        )

    ours, theirs = model(), model()
    assert not loop.compiles_with_xla(ours)
    train(ours, images, Y[:20], epochs=1, batch_size=6)
    rows = loop.order(1, 0, 20)
    theirs.compile(optimizer=keras.optimizers.SGD(0.1), loss=LOSS)
    theirs.fit(images[rows], Y[:20][rows], batch_size=6, shuffle=False, verbose=0)
    for mine, plain in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, plain, atol=1e-5)


def test_xla_is_for_dense_nets_without_dropout():
    assert loop.compiles_with_xla(build(layers=[keras.layers.BatchNormalization()]))
    assert not loop.compiles_with_xla(build(layers=[keras.layers.Dropout(0.5)]))
    nested = keras.Sequential([keras.Input((8,)), keras.layers.GaussianNoise(0.1)])
    assert not loop.compiles_with_xla(build(layers=[nested]))


def test_validation_may_be_rarer_than_epochs():
    history = train(build(), epochs=5, validation_data=(X_VAL, Y_VAL), validation_freq=2)
    often = train(build(), epochs=5, validation_data=(X_VAL, Y_VAL))
    assert len(history["loss"]) == 5
    assert history["val_loss"] == pytest.approx(often["val_loss"][1::2])


def test_validation_equals_keras_evaluate_and_counts_the_last_batch(monkeypatch):
    monkeypatch.setattr(loop, "EVALUATION_BATCH", 10)  # 23 examples: two batches and a rest
    model = build()
    history = train(model, validation_data=(X_VAL, Y_VAL))
    expected = model.evaluate(X_VAL, Y_VAL, verbose=0, return_dict=True)
    assert history["val_loss"][-1] == pytest.approx(expected["loss"], abs=1e-6)
    assert history["val_accuracy"][-1] == pytest.approx(expected["accuracy"], abs=1e-6)
    again = evaluate(model, X_VAL, Y_VAL)
    assert again == pytest.approx(expected, abs=1e-6)


def test_every_example_is_evaluated_once():
    class Count(keras.metrics.Sum):
        def update_state(self, y_true, y_pred, sample_weight=None):
            return super().update_state(tf.ones_like(y_true, tf.float32))

    history = train(
        build(), metrics=[Count(name="n")], batch_size=7, validation_data=(X_VAL, Y_VAL)
    )
    assert history["n"] == [50] * 3
    assert history["val_n"] == [23] * 3


def test_validation_data_never_leaks_into_training():
    with_it, without = (build(layers=[keras.layers.BatchNormalization()]) for _ in range(2))
    other = Evaluate("other", X_VAL * 100, Y_VAL)
    train(with_it, validation_data=(X_VAL, Y_VAL), callbacks=[other])
    train(without)
    for mine, plain in zip(with_it.get_weights(), without.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, plain)


def test_another_evaluation_set_has_its_own_name_and_keras_numbers():
    model = build()
    own = Evaluate("train", X, Y)
    history = train(model, epochs=4, validation_data=(X_VAL, Y_VAL), callbacks=[own])
    assert {"loss", "val_loss", "train_loss", "train_accuracy"} <= history.keys()
    assert [len(history[name]) for name in ("val_loss", "train_loss")] == [4, 4]
    expected = model.evaluate(X, Y, verbose=0, return_dict=True)
    assert history["train_loss"][-1] == pytest.approx(expected["loss"], abs=1e-6)


def test_the_same_seed_gives_the_same_bits():
    layers = lambda: [keras.layers.Dropout(0.5, seed=3)]  # noqa: E731
    one, two, other = build(layers=layers()), build(layers=layers()), build(layers=layers())
    assert train(one) == train(two)
    train(other, seed=2)
    for mine, same, another in zip(
        one.get_weights(), two.get_weights(), other.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(mine, same)
        assert not np.array_equal(mine, another)


def test_dropout_draws_anew_in_every_step():
    """Inside a compiled loop a seed that is not state would give one mask forever."""
    model = keras.Sequential(
        [
            keras.Input((40,)),
            keras.layers.Dropout(0.5, seed=0),
            keras.layers.Dense(40, kernel_initializer="identity"),
        ]
    )

    def seen(unit):
        metric = lambda targets, outputs: outputs[:, unit]  # noqa: E731
        metric.__name__ = f"unit{unit}"
        return metric

    ones, still = np.ones((200, 40), np.float32), keras.optimizers.SGD(0.0)
    metrics = [seen(unit) for unit in range(5)]
    history = train(model, ones, ones, loss="mse", metrics=metrics, optimizer=still, batch_size=1)
    for unit in range(5):  # the mean of 200 draws from {0, 2}; one mask forever gives 0 or 2
        assert 0.5 < history[f"unit{unit}"][0] < 1.5


def test_uint8_pixels_enter_as_they_are():
    images = RNG.integers(0, 256, (50, 6), dtype=np.uint8)
    kept, floats = build(), build()
    train(kept, images, Y, optimizer=keras.optimizers.SGD(1e-3), validation_data=(images, Y))
    train(floats, images.astype(np.float32), Y, optimizer=keras.optimizers.SGD(1e-3))
    for mine, plain in zip(kept.get_weights(), floats.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, plain)


@pytest.mark.parametrize("n", [1, 2, 1000])
def test_order_is_a_permutation_of_seed_and_epoch(n):
    assert sorted(loop.order(3, 5, n)) == list(range(n))
    np.testing.assert_array_equal(loop.order(3, 5, n), loop.order(3, 5, n))
    if n > 2:
        assert not np.array_equal(loop.order(3, 5, n), loop.order(3, 6, n))
        assert not np.array_equal(loop.order(3, 5, n), loop.order(4, 5, n))


def test_early_stopping_restores_the_best_weights():
    stopping = keras.callbacks.EarlyStopping("val_loss", patience=3, restore_best_weights=True)
    model = build()
    history = train(
        model,
        optimizer=keras.optimizers.SGD(1.0),
        epochs=200,
        callbacks=[stopping],
        validation_data=(X_VAL, Y_VAL),
    )["val_loss"]
    assert len(history) == np.argmin(history) + 1 + 3 < 200
    assert evaluate(model, X_VAL, Y_VAL)["loss"] == pytest.approx(min(history), abs=1e-6)


def test_learning_rate_scheduler_sets_the_rate_of_the_step():
    model, frozen = build(), build()
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 if epoch == 0 else 0.0)
    train(model, callbacks=[schedule], epochs=3)
    train(frozen, epochs=1)
    for mine, plain in zip(model.get_weights(), frozen.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, plain)


def test_reduce_on_plateau_lowers_the_rate():
    plateau = keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.1, patience=1, min_delta=10)
    optimizer = keras.optimizers.SGD(0.1)
    history = train(
        build(), optimizer=optimizer, callbacks=[plateau], validation_data=(X_VAL, Y_VAL)
    )
    assert history["learning_rate"] == pytest.approx([0.1, 0.1, 0.01])


def test_tensorboard_writes_events(tmp_path):
    train(
        build(), callbacks=[keras.callbacks.TensorBoard(tmp_path)], validation_data=(X_VAL, Y_VAL)
    )
    events = list(tmp_path.rglob("events*"))
    assert {file.parent.name for file in events} == {"train", "validation"}
    assert all(file.stat().st_size > 100 for file in events)


def test_callbacks_see_batches_epochs_and_logs():
    seen = []
    spy = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: seen.append("begin"),
        on_train_batch_end=lambda batch, logs: seen.append(batch),
        on_epoch_end=lambda epoch, logs: seen.append(sorted(logs)),
        on_train_end=lambda logs: seen.append("end"),
    )
    train(build(), epochs=1, batch_size=7, callbacks=[spy], validation_data=(X_VAL, Y_VAL))
    names = ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert seen == ["begin", *range(8), names, "end"]


class Tested(keras.callbacks.Callback):
    def on_test_begin(self, logs=None):
        self.begun = True


@pytest.mark.parametrize(
    ("callback", "wants"),
    [
        (keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None), True),
        (keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None), False),
        (keras.callbacks.EarlyStopping(), False),
        (Tested(), True),
    ],
)
def test_only_callbacks_that_want_each_batch_or_test_go_to_keras(callback, wants):
    assert loop._has_batch_methods(callback) is wants


def test_a_train_step_of_ones_own_is_used():
    class Halved(keras.Sequential):
        def train_step(self, data):
            x, y = data
            return super().train_step((x * 0.0, y))

    model = Halved([keras.Input((6,)), keras.layers.Dense(3, kernel_initializer="zeros")])
    train(model)
    np.testing.assert_array_equal(model.get_weights()[0], np.zeros((6, 3)))


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 7])
def test_steps_per_epoch_sees_the_examples_that_keras_sees(steps):
    """Also where the data end inside an epoch, which is then cut short, with a warning."""
    x = np.arange(23, dtype=np.float32)[:, None]

    class Seen(keras.metrics.Metric):
        def __init__(self):
            super().__init__(name="seen")
            self.total = self.add_variable((), "zeros")

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.total.assign_add(keras.ops.sum(y_true))

        def result(self):
            return self.total

    def model():
        made = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        made.compile(keras.optimizers.SGD(0.0), "mse", metrics=[Seen()])
        return made

    how = {"batch_size": 5, "epochs": 6, "steps_per_epoch": steps, "shuffle": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = model().fit(x, x, verbose=0, **how).history["seen"]
        received = fit(model(), x, x, verbose=0, **how).history["seen"]
    assert received == expected
    if 5 % steps:
        with pytest.warns(UserWarning, match="ran out of data"):
            fit(model(), x, x, verbose=0, **how)


def test_steps_per_epoch_divides_the_same_training_differently():
    """Three passes of 4 mini-batches are six epochs of 2, and the weights end up the same."""
    ends = []
    for epochs, steps in ((3, None), (6, 2)):
        model = build()
        history = train(model, X[:40], Y[:40], epochs=epochs, steps_per_epoch=steps)
        assert len(history["loss"]) == epochs
        ends.append(model.get_weights())
    for one, other in zip(*ends, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_initial_epoch_numbers_the_epochs_as_keras_does():
    model, seen = build(), []
    see = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))
    history = train(model, epochs=5, initial_epoch=3, callbacks=[see])
    assert seen == [3, 4]
    assert len(history["loss"]) == 2


def test_without_a_context_the_order_is_decided_by_keras_random_seed():
    def run(seed):
        keras.utils.set_random_seed(seed)
        model = build()
        model.compile(keras.optimizers.SGD(0.1), LOSS)
        fit(model, X, Y, batch_size=10, verbose=0)
        return np.concatenate([w.ravel() for w in model.get_weights()])

    np.testing.assert_array_equal(run(1), run(1))
    assert not np.array_equal(run(1), run(2))


def test_without_a_context_progress_is_printed_as_keras_prints_it(capsys):
    model = build()
    model.compile(keras.optimizers.SGD(0.1), LOSS)
    fit(model, X, Y, epochs=2, verbose=2)
    assert "Epoch 2/2" in capsys.readouterr().out
    with context.running(context.Context(0)):
        fit(model, X, Y, epochs=2, verbose=2)
    assert capsys.readouterr().out == ""


class CountsBatches(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.n = 0

    def on_train_batch_end(self, batch, logs=None):
        self.n += 1


@pytest.mark.parametrize(
    "unknown",
    [
        {"sample_weight": np.ones(50)},
        {"validation_split": 0.2},
        {"class_weight": {0: 1.0, 1: 2.0, 2: 1.0}},
        {"x": tf.constant(X), "y": tf.constant(Y)},
        {
            "validation_data": tf.data.Dataset.from_tensors((X_VAL, Y_VAL)).repeat(),
            "validation_steps": 2,
        },
        {"callbacks": [CountsBatches()]},
    ],
    ids=lambda one: next(iter(one)),
)
def test_what_it_does_not_know_goes_to_keras(unknown, monkeypatch):
    handed = []
    original = keras.Sequential.fit

    def spy(model, *arguments, **settings):
        handed.append(settings)
        return original(model, *arguments, **settings)

    monkeypatch.setattr(keras.Sequential, "fit", spy)
    model = build()
    model.compile(keras.optimizers.SGD(0.1), LOSS, metrics=["accuracy"])
    how = {"x": X, "y": Y, "batch_size": 10, "verbose": 0} | unknown
    history = fit(model, **how).history
    assert len(history["loss"]) == 1
    assert len(handed) == 1
    if "callbacks" in unknown:
        assert unknown["callbacks"][0].n == 5
    handed.clear()
    fit(model, X, Y, batch_size=10, verbose=0)
    assert handed == []


def test_another_backend_trains_and_evaluates_by_keras(monkeypatch):
    """Within a run it reports progress; the order is that of `keras.utils.set_random_seed`."""
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(context, "REPORT_SECONDS", 0.0)
    said, found = [], []
    for with_run in (True, False):
        model = build()
        model.compile(keras.optimizers.SGD(0.1), LOSS, metrics=["accuracy"])
        keras.utils.set_random_seed(3)
        if with_run:
            with context.running(context.Context(0, report=said.append)):
                history = fit(model, X, Y, batch_size=10, epochs=4)
        else:
            history = model.fit(X, Y, batch_size=10, epochs=4, verbose=0)
        found.append((history.history, evaluate(model, X, Y)))
    assert found[0] == found[1]
    assert found[0][1] == model.evaluate(X, Y, verbose=0, return_dict=True)
    assert said == [0.25, 0.5, 0.75, 0.99]


def test_progress_counts_the_fits_of_a_run(monkeypatch):
    monkeypatch.setattr(context, "REPORT_SECONDS", 0.0)
    said = []
    run = context.Context(0, report=said.append, fits=2)
    run.begun = 1
    run.progress(0.5)
    run.begun = 2
    run.progress(0.5)
    run.begun = 3  # one more than expected
    run.progress(1.0)
    assert said == [0.25, 0.75, 0.99]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"y": Y[:-1]}, "as many inputs as targets"),
        ({"x": X[:0], "y": Y[:0]}, "as many inputs as targets"),
        ({"batch_size": 0}, "at least 1"),
        ({"epochs": 0}, "at least 1"),
        ({"validation_freq": 0}, "at least 1"),
        ({"steps_per_epoch": 0}, "at least 1"),
    ],
)
def test_nonsense_is_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        train(build(), **changed)


@pytest.mark.parametrize("batch_size", [5, 7, 50])
def test_an_array_mapped_from_a_file_trains_and_evaluates_like_one_in_memory(
    tmp_path, monkeypatch, batch_size
):
    images = RNG.integers(0, 256, (50, 6), dtype=np.uint8)
    np.save(tmp_path / "x.npy", images)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    monkeypatch.setattr(loop, "EVALUATION_BYTES", 8 * 6)
    settings = {"x": images, "batch_size": batch_size, "validation_data": (images, Y)}
    plain, streamed = build(), build()
    expected = train(plain, **settings)
    received = train(streamed, **settings | {"x": mapped, "validation_data": (mapped, Y)})
    assert received.keys() == expected.keys()
    for name, values in expected.items():
        assert received[name] == pytest.approx(values, rel=1e-5), name
    for mine, other in zip(plain.get_weights(), streamed.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-7)
    assert evaluate(streamed, mapped, Y) == pytest.approx(evaluate(plain, images, Y), rel=1e-5)


def test_a_metric_may_have_a_number_for_each_class():
    targets = keras.utils.to_categorical(Y, 3)
    each = keras.metrics.F1Score(average=None, name="f1")
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    history = train(build(), y=targets, loss=loss, metrics=[each])
    assert [one.shape for one in history["f1"]] == [(3,)] * 3


def test_backup_and_restore_goes_on_where_it_ended(tmp_path):
    def trained(epochs):
        model = build()
        model.compile(keras.optimizers.SGD(0.1), LOSS)
        backup = keras.callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)
        with context.running(context.Context(1)):
            fit(model, X, Y, batch_size=10, epochs=epochs, callbacks=[backup])
        return model.get_weights()

    trained(2)
    resumed, whole = trained(4), build()
    train(whole, epochs=4)
    for mine, its in zip(resumed, whole.get_weights(), strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-5)


def test_several_workers_cannot_share_what_goes_to_keras(monkeypatch):
    monkeypatch.setattr(loop.distribution, "has_workers", lambda: True)
    model = build()
    model.compile("sgd", LOSS)
    with pytest.raises(UsageError, match=r"fit: expected arrays .* received other arguments"):
        fit(model, X, Y, class_weight={0: 1.0, 1: 2.0, 2: 1.0})
