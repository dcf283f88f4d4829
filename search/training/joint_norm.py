"""BatchNorm over the pictures of all ranks of the process group.

On GPUs this is torch's SyncBatchNorm, which refuses CPUs; `JointBatchNorm` does the same there.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist


def with_joint_norms(network: nn.Module) -> nn.Module:
    """`network` itself, its BatchNorm layers replaced by ones that share parameters, buffers and names with them."""
    if next(network.parameters()).is_cuda:
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return converted
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, JointBatchNorm.of(child))
    return network


class JointBatchNorm(nn.BatchNorm2d):
    """In training, normalises with mean and variance of the pictures of all ranks; statistics are float32.

    In eval mode it is its base class.
    """

    @classmethod
    def of(cls, norm: nn.BatchNorm2d) -> "JointBatchNorm":
        """One that takes the place of `norm`."""
        joint = cls(norm.num_features, norm.eps, norm.momentum)
        for name, parameter in norm.named_parameters():
            setattr(joint, name, parameter)
        for name, buffer in norm.named_buffers():
            setattr(joint, name, buffer)
        return joint.train(norm.training)

    def forward(self, input: Tensor) -> Tensor:
        """B,C,H,W to the same."""
        if not self.training:
            return super().forward(input)
        values = input.float()
        own_mean = values.mean((0, 2, 3))
        own_squares = (values - own_mean[:, None, None]).square().sum((0, 2, 3))
        own_count = own_mean.new_full((1,), values.numel() / self.num_features)
        told = _gathered(torch.cat((own_count, own_mean, own_squares)))
        count, means, squares = told.split((1, self.num_features, self.num_features), dim=1)
        total = count.sum()
        mean = (count * means).sum(0) / total
        variance = (squares + count * (means - mean).square()).sum(0) / total
        self._remember(mean.detach(), variance.detach() * total / (total - 1))
        factor = self.weight * (variance + self.eps).rsqrt()
        shift = self.bias - mean * factor
        return (values * factor[:, None, None] + shift[:, None, None]).to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)


def _gathered(values: Tensor) -> Tensor:
    """Those of all ranks, a row each."""
    rows: Tensor = _Gathered.apply(values)
    return rows


class _Gathered(torch.autograd.Function):
    """What all ranks make of a row is added up on the way back."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        rows = [torch.empty_like(values) for _ in range(dist.get_world_size())]
        dist.all_gather(rows, values)
        return torch.stack(rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        summed = gradients[0].clone()
        dist.all_reduce(summed)
        return summed[dist.get_rank()]
