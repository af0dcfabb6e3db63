"""Importing this module starts TensorFlow as all recipes need it: without its notices, with oneDNN.

It must be imported before anything else imports TensorFlow or Keras.
"""

import os
import sys
import tempfile

# Notices that TensorFlow's C++ code prints before Python can set its log level: on machines without
# a GPU, and where oneDNN computes. Everything else that it prints is passed on.
_NOTICES = (b"cudart_stub.cc", b"InitializeLog()", b"oneDNN custom operations are on")


def start_tensorflow() -> None:
    """Imports TensorFlow with our settings."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    # On by default on some processors only; without it convolutions take twice the time on others.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            import tensorflow

            # A recipe that predicts with several nets would be warned of each new program.
            tensorflow.get_logger().setLevel("ERROR")
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            captured.seek(0)
            lines = [line for line in captured if not any(each in line for each in _NOTICES)]
            os.write(2, b"".join(lines))


start_tensorflow()
