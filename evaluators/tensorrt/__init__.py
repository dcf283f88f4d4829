"""NVIDIA's compilers, TensorRT and TensorRT-RTX, behind one build path."""
