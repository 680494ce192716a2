"""The compiler ``tflm``: a C++ module that runs the model in TensorFlow Lite Micro."""
