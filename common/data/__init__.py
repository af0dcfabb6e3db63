"""Data sets as NumPy arrays: found or downloaded, verified, in published order, and cached."""

from common.data.datasets import NAMES, PART_OF, Data, Dataset, load
from common.data.tfds import DataError

__all__ = ["NAMES", "PART_OF", "Data", "DataError", "Dataset", "load"]
