"""The loss that training minimises: weighted and averaged from the losses of the pictures of a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from winnow.options import TrainOptions

# Mean squared rounding error of pixels kept as bytes: below it there is nothing to learn, and the logarithm diverges.
ROUNDING = 1.0 / 255**2 / 12


def total_loss(
    reconstruction: Tensor, latent: Tensor | None, values: int, dimensions: int, options: TrainOptions
) -> Tensor:
    """Return the loss of a batch from `reconstruction` (n,) mean squared errors and `latent` (n,) divergences or None.

    `values` is how many numbers a picture has, `dimensions` how many its embedding has.

    "squared": the squared error summed over the picture, averaged over the batch. "mean": its mean over the picture's
    values, so that the latent loss weighs `values` times as much. "sigma": values/2 log(mean squared error of the batch),
    the optimal-sigma VAE of Rybkin et al. 2021 (arXiv 2006.13202, section 3.2), where the noise of the decoder is
    estimated and not chosen. Each adds latent_weight x max(latent, free_bits x dimensions), a picture at a time: free
    bits (Kingma et al. 2016, arXiv 1606.04934, appendix C.8) over all dimensions, as in Afolabi 2020.
    """
    error = reconstruction.mean()
    if options.loss == "sigma":
        loss = 0.5 * values * error.clamp(min=ROUNDING).log()
    else:
        loss = error if options.loss == "mean" else values * error
    if latent is not None:
        assert options.latent_weight != "auto"  # `winnow.steps.train` has chosen one
        loss = loss + options.latent_weight * latent.clamp(min=options.free_bits * dimensions).mean()
    return loss


def batch_losses(
    reconstruction: Tensor, latent: Tensor | None, values: int, dimensions: int, options: TrainOptions
) -> tuple[Tensor, Tensor]:
    """Return `total_loss`, and (3,) for the log: that loss, mean reconstruction, mean latent (0 without one)."""
    loss = total_loss(reconstruction, latent, values, dimensions, options)
    parts = [loss, reconstruction.mean(), latent.mean() if latent is not None else loss.new_zeros(())]
    return loss, torch.stack([part.detach() for part in parts])
