"""Processes that train one network together: which one this is, its share of a batch, and what they add up.

Everything else in training is written for one process. Gradients, BatchNorm statistics, the loss and what it is
divided by are sums over all ranks, so that several processes train what one would, up to the rounding of sums. Rank 0
leads: it alone writes files, reports, and judges.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch import distributed as dist

from search.training.joint_norm import with_joint_norms

LOST_PEER = ("Connection closed by peer", "Connection reset by peer", "gloo/transport", "NCCL")


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among `count`; the default is one that trains alone and pays nothing for it.

    With a `count` above 1 the default process group of `torch.distributed` joins them, and every rank has to make the
    same calls in the same order.
    """

    rank: int = 0
    count: int = 1

    @classmethod
    def joined(cls) -> "Ranks":
        """As the process group that was set up says."""
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def leads(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0

    def places(self, batch: int) -> range:
        """The pictures of a batch that are this rank's; shares differ by one at most."""
        return range(batch * self.rank // self.count, batch * (self.rank + 1) // self.count)

    def total(self, values: Tensor) -> Tensor:
        """Sum over the ranks, elementwise, the same bits on each; without gradient."""
        if self.count == 1:
            return values
        summed = values.detach().clone()
        dist.all_reduce(summed)
        return summed

    def totals(self, parts: Mapping[str, float], device: torch.device) -> dict[str, float]:
        """Sums over the ranks by name; `device` is the one that the process group works on."""
        if self.count == 1:
            return dict(parts)
        summed = self.total(torch.tensor(list(parts.values()), device=device))
        return dict(zip(parts, summed.tolist(), strict=True))

    def network(self, detector: nn.Module) -> nn.Module:
        """What to call in a training step in place of `detector`, whose parameters get the gradient of all ranks.

        The BatchNorm layers of `detector` are replaced; parameters and buffers keep their names and order.
        """
        if self.count == 1:
            return detector
        network = with_joint_norms(detector)
        return nn.parallel.DistributedDataParallel(
            network,
            forward_sync_buffers=False,  # statistics are those of the whole batch on every rank
            # Keeps gradients in the buckets of the first step: other ones would change the order of sums after a
            # kill. Only CPUs repeat sums to the bit, so only they pay for it.
            find_unused_parameters=next(network.parameters()).device.type == "cpu",
        )

    def summed_gradient(self, loss: Tensor) -> Tensor:
        """The loss to go back from: DistributedDataParallel takes the mean over the ranks, our losses are sums."""
        return loss if self.count == 1 else loss * self.count

    def wait(self) -> None:
        """Until all ranks are here; on the CPU, so that a GPU rests meanwhile (NCCL's own barrier keeps it busy)."""
        if self.count > 1:
            dist.all_reduce(torch.zeros(1))


ALONE = Ranks()


def is_lost_peer(error: BaseException) -> bool:
    """Whether a rank failed only because another one did not answer any more."""
    return isinstance(error, dist.DistError) or any(words in str(error) for words in LOST_PEER)
