import pytest

from common.data import DataError, Dataset, load


@pytest.fixture(scope="session")
def mnist(own_cache) -> Dataset:
    """The real data set; where it is not found the test says so and is skipped."""
    try:
        return load("mnist")
    except DataError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def cifar10(own_cache) -> Dataset:
    try:
        return load("cifar10")
    except DataError as error:
        pytest.skip(str(error))
