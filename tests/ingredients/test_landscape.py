"""Costs along directions against costs of nets that have the weights, and of closed forms."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.ingredients.landscape import Landscape, nonconvex, principal_plane, random_directions

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 5)).astype(np.float32)
Y = RNG.integers(0, 3, 20)
EACH = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None)


def small_net(normalization=False):
    normal = keras.initializers.RandomNormal(0, 1, seed=1)
    how = {"kernel_initializer": normal, "bias_initializer": normal}
    first, last = keras.layers.Dense(4, "relu", **how), keras.layers.Dense(3, **how)
    between = [keras.layers.BatchNormalization()] if normalization else []
    model = keras.Sequential([keras.Input((5,)), first, *between, last])
    if normalization:
        model.layers[1].moving_mean.assign(RNG.normal(size=4))
    return model


def parabola(height=1.0):
    """A model whose cost is height * w^2, at w = 0: one weight, one example, no bias."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.set_weights([np.zeros((1, 1))])
    x = np.full((1, 1), np.sqrt(height), dtype=np.float32)
    return Landscape(model, lambda y, z: keras.ops.sum((y - z) ** 2, axis=-1), x, 0 * x)


@pytest.mark.parametrize("normalization", [False, True])
def test_costs_are_those_of_a_net_that_has_the_weights(normalization):
    model = small_net(normalization)
    start, directions = model.get_weights(), random_directions(model.trainable_weights, 2, seed=0)
    near = Landscape(model, EACH, X, Y)
    places = RNG.normal(size=(7, 2))
    costs = near.costs(directions, places)
    for (a, b), cost in zip(places, costs, strict=True):
        for weight, one, two in zip(model.trainable_weights, *directions, strict=True):
            weight.assign(weight + a * one + b * two)
        assert float(np.mean(EACH(Y, model(X)))) == pytest.approx(cost, rel=1e-5)
        model.set_weights(start)
    np.testing.assert_array_equal(near.costs(directions, places), costs)  # nor did it move the net


def test_a_surface_has_the_first_direction_from_left_to_right():
    model = small_net()
    near, directions = Landscape(model, EACH, X, Y), random_directions(model.get_weights(), 2, 0)
    surface = near.surface(directions, [0.0, 1.0, 2.0], [0.0, 5.0])
    assert surface.shape == (2, 3)
    np.testing.assert_allclose(surface[0], near.costs(directions[:1], [[0], [1], [2]]), rtol=1e-6)
    np.testing.assert_allclose(surface[:, 0], near.costs(directions[1:], [[0], [5]]), rtol=1e-6)


@pytest.mark.parametrize("model", [small_net(), small_net(normalization=True)])
def test_a_direction_of_length_zero_is_refused(model):
    near = Landscape(model, EACH, X, Y)
    nowhere = [np.zeros(one.shape) for one in model.trainable_weights]
    good = random_directions(nowhere, 1, seed=0, normalized=False)
    with pytest.raises(ValueError, match=r"^expected directions of positive length, received one"):
        near.costs([*good, nowhere], [[1.0, 1.0]])
    with pytest.raises(ValueError, match=r"^expected directions of positive length, received one"):
        near.width(random_directions(nowhere, 1, seed=0), 0.1)  # as long as weights that are 0


@settings(max_examples=25)
@given(st.floats(0.01, 100), st.floats(0.01, 10))
def test_the_width_of_a_parabola(height, rise):
    """height * w^2 = rise, on both sides; a line between two places misses it by 1 % at most."""
    expected = 2 * np.sqrt(rise / height)
    found = parabola(height).width([[np.ones((1, 1))]], rise)
    assert found == pytest.approx(min(expected, 20), rel=0.01)


def test_a_width_ends_where_the_cost_is_no_number():
    weights, rises = [np.ones((1, 1))], []

    class Cliff(Landscape):
        def costs(self, directions, places):
            rises.append(places)
            return np.where(np.abs(places[:, 0]) < 0.5, 0.0, np.nan)

    near = Cliff(small_net(), EACH, X, Y)
    assert 0.8 < near.width([weights], 0.1) <= 1.0
    assert len(rises) == 2


@pytest.mark.parametrize("shape", [(30, 4), (3, 3, 5, 4)])
def test_filters_are_as_long_as_the_nets_own(shape):
    weights = [RNG.normal(size=shape) * [1, 10, 0.1, 0], RNG.normal(size=4)]
    for kernel, bias in random_directions(weights, 3, seed=0):
        lengths = [
            np.sqrt(np.sum(one**2, axis=tuple(range(one.ndim - 1)))) for one in (kernel, weights[0])
        ]
        np.testing.assert_allclose(*lengths, rtol=1e-12)
        assert kernel.shape == shape
        assert not bias.any()


def test_directions_that_are_not_normalized_are_standard_normal():
    directions = random_directions([np.zeros((200, 100)), np.zeros(100)], 2, 0, normalized=False)
    drawn = np.stack([kernel for kernel, _ in directions])
    assert abs(drawn.mean()) < 0.02
    assert drawn.std() == pytest.approx(1, abs=0.02)
    assert abs(np.corrcoef(*drawn.reshape(2, -1))[0, 1]) < 0.03
    assert not any(bias.any() for _, bias in directions)


@settings(max_examples=25)
@given(st.floats(0.01, 100))
def test_a_rescaled_net_has_the_same_costs_along_normalized_directions_only(factor):
    model = small_net()
    end = model.get_weights()
    rescaled = [factor * end[0], factor * end[1], end[2] / factor, end[3]]
    places, costs = np.linspace(-1, 1, 5)[:, None], {}
    for weights in (end, rescaled):
        model.set_weights(weights)
        near = Landscape(model, EACH, X, Y)
        for normalized in (True, False):
            drawn = random_directions(weights, 1, 0, normalized)
            costs.setdefault(normalized, []).append(near.costs(drawn, places))
    np.testing.assert_allclose(*costs[True], rtol=1e-4)
    if not 0.5 < factor < 2:
        assert np.max(np.abs(costs[False][0] / costs[False][1] - 1)) > 0.05


def test_a_path_on_a_plane_lies_on_its_principal_plane():
    one, two = (RNG.normal(size=(3, 4)) for _ in range(2))
    along = np.array([[3, 0], [2, 1], [1, 1.5], [0, 0]])
    path = [[1 + a * one + b * two, np.full(2, 7.0)] for a, b in along]
    directions, places, share = principal_plane(path)
    assert share == pytest.approx(1)
    flat = np.stack([np.concatenate([part.ravel() for part in parts]) for parts in directions])
    np.testing.assert_allclose(flat @ flat.T, np.eye(2), atol=1e-12)
    for (a, b), weights in zip(places, path, strict=True):
        for part, origin, d, e in zip(weights, path[-1], *directions, strict=True):
            np.testing.assert_allclose(origin + a * d + b * e, part, atol=1e-12)


def test_the_share_of_a_path_is_that_of_its_two_largest_components():
    path = [[np.diag([3.0, 2.0, 1.0])[i]] for i in range(3)] + [[np.zeros(3)]]
    assert principal_plane(path)[2] == pytest.approx(13 / 14)


def test_a_saddle_bends_down_everywhere_and_a_bowl_nowhere():
    x, y = np.meshgrid(np.linspace(-1, 1, 8), np.linspace(-1, 1, 8))
    assert nonconvex(x**2 + 3 * y**2 + x * y) == 0
    assert nonconvex(x**2 - y**2) == 1
    assert nonconvex(x**2 + y**2 + 3 * x * y) == 1  # only along the diagonal
    assert nonconvex(np.sin(3 * x) + y**2) == pytest.approx(np.mean(x[0, 1:-1] > 0))
