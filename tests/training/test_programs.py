"""Programs are shared by models that are alike, and by no others."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers, ops

from common.training import context, fit, programs

SGD, L2 = keras.optimizers.SGD, keras.regularizers.L2
RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 6)).astype(np.float32)
Y = RNG.integers(0, 3, 50).astype(np.int32)


@pytest.fixture(autouse=True)
def forgotten():
    programs._KEPT.clear()


def net(*middle, seed=0, activation="tanh", units=8, how=None, **compiled):
    """A small compiled net, whose hidden layer is made with `how` and followed by `middle`."""
    initial = keras.initializers.GlorotUniform(keras.random.SeedGenerator(seed))
    hidden = layers.Dense(units, activation, kernel_initializer=initial, **(how or {}))
    last = layers.Dense(3, kernel_initializer=initial)
    model = keras.Sequential([keras.Input((6,)), hidden, *middle, last])
    return finish(model, **compiled)


def finish(model, optimizer=None, loss=None, **compiled):
    loss = loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    compiled = {"metrics": ["accuracy"]} | compiled
    model.compile(optimizer or keras.optimizers.SGD(0.1), loss, **compiled)
    return model


def trained(model, batch_size=10, **changed):
    with context.running(context.Context(1)):
        history = fit(model, X, Y, batch_size, 3, validation_data=(X, Y), **changed).history
    return [np.array(values) for values in (*history.values(), *model.get_weights())]


def squares(targets, outputs):
    return ops.sum((ops.one_hot(ops.reshape(targets, (-1,)), 3) - outputs) ** 2, axis=-1)


class Steady(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule of one's own that depends on nothing but its state."""

    def __init__(self, rate):
        super().__init__()
        self.rate = rate

    def __call__(self, step):
        return ops.array(self.rate)

    def get_config(self):
        return {}  # which is not asked


ALIKE = {
    "seed": lambda seed: net(seed=seed),
    "learning rate": lambda seed: net(optimizer=keras.optimizers.Adam(0.1 / (1 + seed))),
    "initial weights": lambda seed: net(how={"bias_initializer": ["zeros", "ones"][seed]}),
    "seed of dropout": lambda seed: net(layers.Dropout(0.5, seed=seed), seed=seed),
    "batch normalization": lambda seed: net(layers.BatchNormalization(), seed=seed),
    "model of a model": lambda seed: net(keras.Sequential([layers.Dense(4)]), seed=seed),
    "schedule": lambda seed: net(
        seed=seed,
        optimizer=keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 9), 0.9),
    ),
    "loss of one's own": lambda seed: net(seed=seed, loss=squares),
    "schedule of one's own": lambda seed: net(seed=seed, optimizer=SGD(Steady(0.1))),
    "own initializer": lambda seed: net(
        how={"bias_initializer": lambda shape, dtype=None: ops.full(shape, seed, dtype)}
    ),
}


@pytest.mark.parametrize("make", ALIKE.values(), ids=ALIKE)
def test_models_that_are_alike_share_programs_to_the_bit(make):
    keras.utils.set_random_seed(0)
    first = trained(make(0))
    assert len(programs._KEPT) == 2  # training and evaluation
    keras.utils.set_random_seed(1)
    shared = trained(make(1))
    assert len(programs._KEPT) == 2
    programs._KEPT.clear()
    keras.utils.set_random_seed(1)
    alone = trained(make(1))
    assert any((a != b).any() for a, b in zip(first, shared, strict=True))
    for a, b in zip(shared, alone, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_model_that_has_trained_before_is_as_before():
    once = net()
    trained(once)
    other = net(seed=3)
    before = [value.copy() for value in once.get_weights()]
    trained(other)
    for a, b in zip(before, once.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def skipping(k):
    """Three hidden layers, the k-th of which is added to the last."""
    x = inputs = keras.Input((6,))
    outputs = []
    for _ in range(3):
        x = layers.Dense(8, "relu")(x)
        outputs.append(x)
    return finish(keras.Model(inputs, layers.Dense(3)(x + outputs[k])))


def frozen():
    model = net()
    model.layers[0].trainable = False
    return finish(model)


def namesakes():
    """A loss and a schedule that differ from those above in what they do, not in their names."""

    def squares(targets, outputs):
        return 2 * ops.sum((ops.one_hot(ops.reshape(targets, (-1,)), 3) - outputs) ** 2, axis=-1)

    class Steady(keras.optimizers.schedules.LearningRateSchedule):
        def __init__(self, rate):
            self.rate = rate

        def __call__(self, step):
            return 2 * ops.array(self.rate)

        def get_config(self):
            return {}

    squares.__qualname__, Steady.__call__.__qualname__ = "squares", "Steady.__call__"
    return squares, Steady


NAMESAKE, OTHER_STEADY = namesakes()
OTHERS = {
    "itself": net,
    "activation": lambda: net(activation="relu"),
    "width": lambda: net(units=9),
    "bias": lambda: net(how={"use_bias": False}),
    "penalty": lambda: net(how={"kernel_regularizer": L2(0.1)}),
    "larger penalty": lambda: net(how={"kernel_regularizer": L2(0.2)}),
    "constraint": lambda: net(how={"kernel_constraint": keras.constraints.MaxNorm(1)}),
    "looser constraint": lambda: net(how={"kernel_constraint": keras.constraints.MaxNorm(2)}),
    "precision": lambda: net(how={"dtype": "float64"}),
    "mixed precision": lambda: net(how={"dtype": "mixed_bfloat16"}),
    "dropout": lambda: net(layers.Dropout(0.5)),
    "less dropout": lambda: net(layers.Dropout(0.4)),
    "noise": lambda: net(layers.GaussianNoise(0.5)),
    "batch normalization": lambda: net(layers.BatchNormalization()),
    "its momentum": lambda: net(layers.BatchNormalization(momentum=0.9)),
    "its epsilon": lambda: net(layers.BatchNormalization(epsilon=0.1)),
    "scale": lambda: net(layers.Rescaling(2.0)),
    "scales": lambda: net(layers.Rescaling(np.arange(8.0))),
    "other scales": lambda: net(layers.Rescaling(np.arange(8.0)[::-1])),
    "slope": lambda: net(layers.LeakyReLU(0.1)),
    "smaller slope": lambda: net(layers.LeakyReLU(0.2)),
    "frozen": frozen,
    "skip": lambda: skipping(0),
    "other skip": lambda: skipping(1),
    "sum": lambda: skipping(2),
    "loss": lambda: net(loss=keras.losses.SparseCategoricalCrossentropy()),
    "name of a loss": lambda: net(loss="mse"),
    "metrics": lambda: net(metrics=[]),
    "name of a metric": lambda: net(metrics=[keras.metrics.SparseCategoricalAccuracy("right")]),
    "weight of the loss": lambda: net(loss_weights=[2.0]),
    "momentum": lambda: net(optimizer=SGD(0.1, 0.5)),
    "more momentum": lambda: net(optimizer=SGD(0.1, 0.9)),
    "Nesterov": lambda: net(optimizer=SGD(0.1, 0.9, True)),
    "clipping": lambda: net(optimizer=SGD(0.1, clipnorm=1.0)),
    "average": lambda: net(optimizer=SGD(0.1, use_ema=True)),
    "optimizer": lambda: net(optimizer=keras.optimizers.Adam(0.1)),
    "schedule": lambda: net(
        optimizer=SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 9, 0.5))
    ),
    "other schedule": lambda: net(
        optimizer=SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 9, 0.6))
    ),
    "own loss": lambda: net(loss=squares),
    "other loss of that name": lambda: net(loss=NAMESAKE),
    "own schedule": lambda: net(optimizer=SGD(Steady(0.1))),
    "its state": lambda: net(optimizer=SGD(Steady(0.2))),
    "other schedule of that name": lambda: net(optimizer=SGD(OTHER_STEADY(0.1))),
}


def test_all_that_a_program_depends_on_tells_models_apart():
    found = {name: programs.structure(make(), "train_step") for name, make in OTHERS.items()}
    assert None not in found.values()
    assert len(set(found.values())) == len(OTHERS)
    again = {name: programs.structure(make(), "train_step") for name, make in OTHERS.items()}
    assert again == found  # though Keras has counted the names of their layers up


def test_the_smallest_number_of_keras_tells_models_apart():
    before, usual = programs.structure(net(), "train_step"), keras.config.epsilon()
    keras.config.set_epsilon(1e-3)
    try:
        assert programs.structure(net(), "train_step") != before
    finally:
        keras.config.set_epsilon(usual)


def test_the_same_net_on_other_shapes_has_other_programs():
    trained(net())
    trained(net(), batch_size=25)
    assert len(programs._KEPT) == 3  # one evaluation
    trained(net(), steps_per_epoch=2)
    assert len(programs._KEPT) == 5  # epochs of 20 and of 10 images


def relu(x):  # the name is that of Keras's
    return ops.tanh(x)


class Own(layers.Dense):
    pass


class OwnModel(keras.Sequential):
    def train_step(self, data):
        return super().train_step(data)


def two_outputs():
    x = keras.Input((6,))
    model = keras.Model(x, [layers.Dense(3)(x), layers.Dense(3)(x)])
    return finish(model, metrics=None, loss="sparse_categorical_crossentropy")


def adapted():
    layer = layers.Normalization()
    layer.adapt(X)
    return finish(keras.Sequential([keras.Input((6,)), layer, layers.Dense(3)]))


SCALE = 2.0


def reads_a_global(targets, outputs):
    return ops.mean(SCALE * outputs)


def calls_a_function(targets, outputs):
    return ops.mean(relu(outputs))


def has_a_default(targets, outputs, scale=2.0):
    return ops.mean(scale * outputs)


def has_a_keyword(targets, outputs, *, scale=2.0):
    return ops.mean(scale * outputs)


def has_a_function_in_it(targets, outputs):
    return ops.mean((lambda x: SCALE * x)(outputs))


def of_a_closure():
    scale = 2.0
    return lambda targets, outputs: ops.mean(scale * outputs)


class Inherits(Steady):
    pass


class HasAMethod(keras.optimizers.schedules.LearningRateSchedule):
    def rate(self):
        return SCALE

    def __call__(self, step):
        return self.rate()

    def get_config(self):
        return {}


class HasAConstant(keras.optimizers.schedules.LearningRateSchedule):
    rate = 0.1

    def __call__(self, step):
        return self.rate

    def get_config(self):
        return {}


class ReadsAGlobal(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return SCALE

    def get_config(self):
        return {}


UNKNOWN = {
    "own activation": lambda: net(activation=relu),
    "own layer": lambda: net(Own(8)),
    "own model": lambda: finish(OwnModel([keras.Input((6,)), layers.Dense(3)])),
    "function": lambda: net(layers.Lambda(lambda x: 2 * x)),
    "function named": lambda: net(layers.Lambda(relu)),
    "activation of its own": lambda: net(layers.Activation(relu)),
    "adapted": adapted,
    "loss made anew": lambda: net(loss=lambda y, z: ops.mean(z)),
    "loss that reads a global": lambda: net(loss=reads_a_global),
    "loss that calls a function": lambda: net(loss=calls_a_function),
    "loss with a default": lambda: net(loss=has_a_default),
    "loss with a keyword": lambda: net(loss=has_a_keyword),
    "loss with a function in it": lambda: net(loss=has_a_function_in_it),
    "loss of a closure": lambda: net(loss=of_a_closure()),
    "losses in a list": lambda: net(loss=[squares]),
    "own metric": lambda: net(metrics=[lambda y, z: ops.mean(z)]),
    "schedule that inherits": lambda: net(optimizer=SGD(Inherits(0.1))),
    "schedule with a method": lambda: net(optimizer=SGD(HasAMethod())),
    "schedule with a constant": lambda: net(optimizer=SGD(HasAConstant())),
    "schedule that reads a global": lambda: net(optimizer=SGD(ReadsAGlobal())),
    "schedule with a state that is not plain": lambda: net(optimizer=SGD(Steady(np.ones(1)))),
    "rate by a function": lambda: net(optimizer=SGD(lambda: 0.1)),
    "decaying weights": lambda: net(optimizer=keras.optimizers.AdamW(0.1)),
    "scaled loss": lambda: net(optimizer=keras.optimizers.LossScaleOptimizer(SGD(0.1))),
    "two outputs": two_outputs,
}


@pytest.mark.parametrize("make", UNKNOWN.values(), ids=UNKNOWN)
def test_a_model_with_parts_that_a_configuration_does_not_tell_shares_nothing(make):
    assert programs.structure(make(), "train_step") is None


def test_such_a_model_trains_with_a_program_of_its_own():
    first, second = (net(layers.Lambda(lambda x, k=k: k * x)) for k in (0.0, 1.0))
    assert (trained(first)[0] != trained(second)[0]).any()
    assert not programs._KEPT


def test_a_step_that_was_replaced_shares_nothing():
    model = net()
    model.train_step = lambda data: keras.Model.train_step(model, data)
    assert programs.structure(model, "train_step") is None


def test_only_so_many_programs_are_kept(monkeypatch):
    monkeypatch.setattr(programs, "MOST", 3)
    for units in (1, 2, 1, 3):  # each has two
        trained(net(units=units))
    kept = {key[2][3][0] for key in programs._KEPT}  # shape of the first kernel
    assert (len(programs._KEPT), kept) == (3, {(6, 1), (6, 3)})


KINDS = st.sampled_from(
    [
        ("Dense", 4, "relu"),
        ("Dense", 4, "tanh"),
        ("Dense", 5, "relu"),
        ("Dropout", 0.5),
        ("ReLU", 1.0),
        ("ReLU",),
        ("BatchNormalization",),
    ]
)


@given(st.lists(KINDS, max_size=4), st.lists(KINDS, max_size=4))
@settings(deadline=None, max_examples=60)
def test_structures_are_equal_if_and_only_if_the_layers_are(one, other):
    said = [
        programs.structure(
            net(*(getattr(layers, name)(*how) for name, *how in kinds)), "train_step"
        )
        for kinds in (one, other)
    ]
    assert (said[0] == said[1]) == (one == other)
