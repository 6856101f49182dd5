"""A moving average of a network's weights, which is what a short training makes of many noisy steps."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MovingAverage:
    """The exponential moving average of all weights of a network, with the decay `keep`; faster while it is young."""

    def __init__(self, network: nn.Module, keep: float = 0.999):
        self.keep = keep
        self.weights = {name: weight.detach().clone() for name, weight in network.state_dict().items()}

    @torch.no_grad()
    def follow(self, network: nn.Module, step: int) -> None:
        """Move towards the weights after the step of that index."""
        keep = min(self.keep, (1 + step) / (10 + step))
        for name, weight in network.state_dict().items():
            self.weights[name].lerp_(weight, 1 - keep)

    def on_cpu(self) -> dict[str, Tensor]:
        """A copy of the averaged weights on the CPU."""
        return {name: weight.cpu().clone() for name, weight in self.weights.items()}
