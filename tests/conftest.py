import functools
import gc
import os
from collections.abc import Callable, Iterator

import pytest
from hypothesis import Phase, settings

import recipes  # noqa: F401  starts TensorFlow quietly
from common import data
from common.data import mnist5k
from tests.forks import Forks

gc.freeze()  # TensorFlow's many objects, which each full collection would look through
settings.register_profile("ours", deadline=None)
# Mutants must fail: no shrinking.
settings.register_profile("mutants", deadline=None, phases=(Phase.explicit, Phase.generate))
settings.load_profile("ours")
mnist5k.read = functools.cache(mnist5k.read)  # parsed once for all tests that load it
for array in (one for pair in mnist5k.read() for one in pair):
    array.flags.writeable = False


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Tests neither read nor fill the user's cache of decoded data; they share one of their own."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    if named := os.environ.get("TFDS_DATA_DIR"):  # some tests work in other folders
        os.environ["TFDS_DATA_DIR"] = os.path.abspath(named)


@pytest.fixture(scope="session")
def mnist() -> data.Dataset:
    """The real data set; where it is not found the test is skipped, and says so."""
    try:
        return data.load("mnist")
    except data.DataError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def cifar10() -> data.Dataset:
    try:
        return data.load("cifar10")
    except data.DataError as error:
        pytest.skip(str(error))


@pytest.fixture
def handed_to_fit(monkeypatch) -> Callable:
    """(recipe's module, config, arm, data, seed=0) -> the model and the arguments of its first fit.

    Positional arguments of `fit` are given by their names in `keras.Model.fit`.
    """

    class Called(Exception):
        pass

    def spy(model, *arguments, **settings):
        names = ("x", "y", "batch_size", "epochs", "verbose", "callbacks")
        raise Called(model, dict(zip(names, arguments, strict=False)) | settings)

    def call(module, config, arm, data, seed=0) -> tuple:
        monkeypatch.setattr(module, "fit", spy)
        with pytest.raises(Called) as called:
            module.train(config, arm, seed, data)
        return called.value.args

    return call


@pytest.fixture(scope="session")
def forks(own_cache, tmp_path_factory) -> Iterator[Forks]:
    """Starts processes that have TensorFlow loaded already."""
    started = Forks(tmp_path_factory.mktemp("forks"))
    yield started
    started.close()
