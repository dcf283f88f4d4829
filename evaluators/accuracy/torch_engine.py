"""A PyTorch network behind the interface of an engine."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from foundation.errors import UserError

if TYPE_CHECKING:
    from evaluators.artefact import Artefact
    from yolov6space.networks import Detector


class TorchEngine:
    """Runs a detector's deploy form (float32) on the device of its weights; the detector stays as it is."""

    any_size = True  # inputs may have any multiples of the largest stride as sides

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


def torch_engine_of(artefact: "Artefact") -> TorchEngine:
    """The network an artefact was made from, in float32 whatever the precision of the artefact.

    Raises:
        UserError: the weights are not those of the candidate.
    """
    from safetensors.torch import load_file

    from yolov6space.networks import build

    detector = build(artefact.candidate.model, len(artefact.meta.class_names))
    try:
        detector.load_state_dict(load_file(artefact.weights))
    except RuntimeError as error:
        raise UserError(
            f"{artefact.weights}: not the weights of its candidate.json; export it again"
        ) from error
    return TorchEngine(detector.eval(), artefact.meta.batch)
