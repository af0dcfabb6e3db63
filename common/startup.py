"""Importing this module starts TensorFlow as all recipes need it: without its notices, with oneDNN.

It must be imported before anything else imports TensorFlow or Keras.
"""

import os
import tempfile

# Notices that TensorFlow's C++ code prints before it knows its log level: on machines without a
# GPU, and where oneDNN computes. Everything else that it prints is passed on.
_NOTICES = (b"cudart_stub.cc", b"InitializeLog()", b"oneDNN custom operations are on")

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Whatever ~/.keras/keras.json says.
os.environ["KERAS_BACKEND"] = os.environ.get("KERAS_BACKEND") or "tensorflow"
# On by default on some processors only; without it convolutions take twice the time on others.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
_stderr = os.dup(2)
with tempfile.TemporaryFile() as _captured:
    os.dup2(_captured.fileno(), 2)
    try:
        import tensorflow
    finally:
        os.dup2(_stderr, 2)
        os.close(_stderr)
        _captured.seek(0)
        for _line in _captured:
            if not any(notice in _line for notice in _NOTICES):
                os.write(2, _line)
# A recipe that predicts with several nets would be warned of each new program.
tensorflow.get_logger().setLevel("ERROR")
