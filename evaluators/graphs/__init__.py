"""Rewriting of exported ONNX graphs: half precision for NVIDIA, suppression for deployment."""
