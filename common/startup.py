"""Starts TensorFlow as all recipes need it: without its noise, and with oneDNN."""

import os
import sys
import tempfile

# Notices that TensorFlow's C++ part prints before Python can set its log level: on machines without
# a GPU, and where oneDNN computes. Everything else that it prints is passed on.
_NOISE = (b"cudart_stub.cc", b"InitializeLog()", b"oneDNN custom operations are on")


def start_tensorflow() -> None:
    """Imports TensorFlow; must come before anything else imports it or Keras."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    # On by default on some processors only; without it convolutions take twice the time on others.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            import tensorflow  # noqa: F401
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            said = [line for line in held if not any(noise in line for noise in _NOISE)]
            os.write(2, b"".join(said))
