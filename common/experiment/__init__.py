"""Experiments: arms and seeds trained, judged by findings, drawn, and run from the command line."""

import common.startup  # noqa: F401  before TensorFlow is imported elsewhere
from common.data import Data
from common.experiment import figures
from common.experiment.command import main
from common.experiment.recipe import Outcome, Recipe
from common.experiment.results import Results
from common.hyperparameters import Examples, Photographs

__all__ = ["Data", "Examples", "Outcome", "Photographs", "Recipe", "Results", "figures", "main"]
