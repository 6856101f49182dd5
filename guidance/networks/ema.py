"""An exponential moving average of a network's weights, which averages out the noise of short trainings."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WeightEMA:
    """The exponential moving average of all weights of a network.

    `decay` in [0, 1) is the share of the old average that each step keeps; it is less over the first steps.
    """

    def __init__(self, network: nn.Module, decay: float = 0.999):
        self.decay = decay
        self.weights = {name: weight.detach().clone() for name, weight in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move the average toward the weights after the step with index `step`."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, weight in network.state_dict().items():
            self.weights[name].lerp_(weight, 1 - decay)

    def on_cpu(self) -> dict[str, Tensor]:
        """A copy of the averaged weights on the CPU."""
        return {name: weight.cpu().clone() for name, weight in self.weights.items()}
