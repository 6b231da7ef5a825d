"""Batch normalisation over the batches of all processes.

Torch's own works on GPUs only. With it, a network that n processes train sees the same
statistics and gets the same gradients as in one process.
"""

from typing import Any

import torch
from torch import Tensor, distributed, nn


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all processes; so is its gradient."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        del ctx
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        del ctx
        total = upstream.clone()
        distributed.all_reduce(total)
        return total


class SynchronisedBatchNorm(nn.BatchNorm1d):
    """As :class:`torch.nn.BatchNorm1d`, with mean and variance over all processes."""

    def forward(self, values: Tensor) -> Tensor:
        """(n, dim) from ``values`` (n, dim); n may differ from process to process."""
        if not self.training:
            return super().forward(values)
        exact = values.to(self.weight.dtype)  # not the half precision of autocast
        count = exact.new_tensor([float(len(exact))])
        total = _apply(torch.cat([exact.sum(0), count]))
        n = total[-1].detach()
        mean = total[:-1] / n
        centred = exact - mean
        variance = _apply((centred * centred).sum(0)) / n
        self._remember(mean.detach(), variance.detach() * n / (n - 1).clamp_min(1.0))
        scaled = centred * torch.rsqrt(variance + self.eps)
        return (scaled * self.weight + self.bias).to(values.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        momentum = self.momentum if self.momentum is not None else 0.1
        for buffer, new in ((self.running_mean, mean), (self.running_var, variance)):
            if buffer is not None:
                buffer.lerp_(new, momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)


def _apply(values: Tensor) -> Tensor:
    result: Tensor = _Sum.apply(values)  # type: ignore[no-untyped-call]
    return result


def synchronise(network: nn.Module) -> None:
    """Replace every batch normalisation in ``network`` in place, weights and names kept."""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.BatchNorm1d:
                new = SynchronisedBatchNorm(
                    child.num_features,
                    eps=child.eps,
                    momentum=child.momentum,
                    device=child.weight.device,
                    dtype=child.weight.dtype,
                )
                new.load_state_dict(child.state_dict())
                setattr(parent, name, new)
