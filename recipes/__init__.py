"""One file, one technique, one claim. Importing the package starts TensorFlow without its noise."""

from common.startup import start_tensorflow

start_tensorflow()
