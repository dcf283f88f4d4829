"""A PyTorch network behind the interface of an engine."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from yolov6space.networks import Detector


class TorchEngine:
    """Runs a detector's deploy form (float32) on the device of its weights; the detector stays as it is."""

    def __init__(self, detector: "Detector", batch: int) -> None:
        from yolov6space.networks import DeployGraph, fuse

        self._graph = DeployGraph(fuse(detector)).eval()
        self._device = next(self._graph.parameters()).device
        self._batch = batch

    @property
    def batch(self) -> int:
        return self._batch

    def infer(self, images: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Images (B, 3, H, W) -> boxes (B, A, 4), scores (B, A, C); see `Engine`."""
        import torch

        with torch.inference_mode():
            boxes, scores = self._graph(torch.from_numpy(images).to(self._device))
        return boxes.float().cpu().numpy(), scores.float().cpu().numpy()
