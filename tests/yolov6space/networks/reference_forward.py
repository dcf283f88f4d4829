"""The upstream network as functional operations on its own tensors: an independent truth for the importer.

Written from the published architecture and the tensor names only; shares nothing with `yolov6space.networks`.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

Act = Callable[[Tensor], Tensor]


class Reference:
    """Forward pass over upstream tensors. `act` is the activation of blocks and SPPF."""

    def __init__(self, tensors: Mapping[str, Tensor], act: Act) -> None:
        self.t, self.act = tensors, act

    def norm(self, x: Tensor, name: str) -> Tensor:
        t = self.t
        return F.batch_norm(
            x, t[f"{name}.running_mean"], t[f"{name}.running_var"], t[f"{name}.weight"], t[f"{name}.bias"],
            training=False, eps=1e-3,
        )  # fmt: skip

    def conv(self, x: Tensor, name: str, stride: int = 1) -> Tensor:
        """`name.conv` and, unless folded, `name.bn`."""
        weight = self.t[f"{name}.conv.weight"]
        x = F.conv2d(x, weight, self.t.get(f"{name}.conv.bias"), stride, weight.shape[-1] // 2)
        return self.norm(x, f"{name}.bn") if f"{name}.bn.weight" in self.t else x

    def rep(self, x: Tensor, name: str, stride: int = 1) -> Tensor:
        if f"{name}.rbr_reparam.weight" in self.t:
            weight, bias = self.t[f"{name}.rbr_reparam.weight"], self.t[f"{name}.rbr_reparam.bias"]
            return self.act(F.conv2d(x, weight, bias, stride, 1))
        if f"{name}.block.conv.weight" in self.t:
            return self.act(self.conv(x, f"{name}.block", stride))
        total = self.conv(x, f"{name}.rbr_dense", stride) + self.conv(x, f"{name}.rbr_1x1", stride)
        if f"{name}.rbr_identity.weight" in self.t:
            total = total + self.norm(x, f"{name}.rbr_identity")
        return self.act(total)

    def chain(self, x: Tensor, name: str, unit: Callable[[Tensor, str], Tensor]) -> Tensor:
        x = unit(x, f"{name}.conv1")
        index = 0
        while any(key.startswith(f"{name}.block.{index}.") for key in self.t):
            x = unit(x, f"{name}.block.{index}")
            index += 1
        return x

    def bottleneck(self, x: Tensor, name: str) -> Tensor:
        return self.rep(self.rep(x, f"{name}.conv1"), f"{name}.conv2") + self.t[f"{name}.alpha"] * x

    def stage(self, x: Tensor, name: str) -> Tensor:
        if f"{name}.cv3.conv.weight" not in self.t:
            return self.chain(x, name, self.rep)
        deep = self.chain(self.act(self.conv(x, f"{name}.cv1")), f"{name}.m", self.bottleneck)
        side = self.act(self.conv(x, f"{name}.cv2"))
        return self.act(self.conv(torch.cat((deep, side), 1), f"{name}.cv3"))

    def sppf(self, x: Tensor, name: str) -> Tensor:
        maps = [self.act(self.conv(x, f"{name}.cv1"))]
        for _ in range(3):
            maps.append(F.max_pool2d(maps[-1], 5, 1, 2))
        return self.act(self.conv(torch.cat(maps, 1), f"{name}.cv2"))

    def up(self, x: Tensor, name: str) -> Tensor:
        name = f"{name}.upsample_transpose"
        return F.conv_transpose2d(x, self.t[f"{name}.weight"], self.t[f"{name}.bias"], 2)

    def features(self, images: Tensor) -> list[Tensor]:
        x = self.rep(images, "backbone.stem", 2)
        maps = {}
        for level in (2, 3, 4, 5):
            x = self.stage(self.rep(x, f"backbone.ERBlock_{level}.0", 2), f"backbone.ERBlock_{level}.1")
            maps[level] = x
        c5 = self.sppf(maps[5], "backbone.ERBlock_5.2")
        lateral5 = F.relu(self.conv(c5, "neck.reduce_layer0"))
        f4 = self.stage(torch.cat((self.up(lateral5, "neck.upsample0"), maps[4]), 1), "neck.Rep_p4")
        lateral4 = F.relu(self.conv(f4, "neck.reduce_layer1"))
        p3 = self.stage(torch.cat((self.up(lateral4, "neck.upsample1"), maps[3]), 1), "neck.Rep_p3")
        down = F.relu(self.conv(p3, "neck.downsample2", 2))
        p4 = self.stage(torch.cat((down, lateral4), 1), "neck.Rep_n3")
        down = F.relu(self.conv(p4, "neck.downsample1", 2))
        return [p3, p4, self.stage(torch.cat((down, lateral5), 1), "neck.Rep_n4")]

    def outputs(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits B,A,C and box outputs B,A,R."""
        logits, boxes = [], []
        for level, feature in enumerate(self.features(images)):
            stem = F.silu(self.conv(feature, f"detect.stems.{level}"))
            for branch, out in (("cls", logits), ("reg", boxes)):
                x = F.silu(self.conv(stem, f"detect.{branch}_convs.{level}"))
                name = f"detect.{branch}_preds.{level}"
                x = F.conv2d(x, self.t[f"{name}.weight"], self.t[f"{name}.bias"])
                out.append(x.permute(0, 2, 3, 1).flatten(1, 2))
        return torch.cat(logits, 1), torch.cat(boxes, 1)
