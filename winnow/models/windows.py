"""Means over a picture and over small windows of it, and their highest values: small defects drown in a mean over the whole."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

WINDOW = 8
"""Height and width of a window in pixels; windows start every `STRIDE` pixels."""
STRIDE = 4
HIGHEST = 8
"""Windows whose mean is a picture's `top_local_error`."""


def picture_means(values: Tensor) -> Tensor:
    """Return the mean (n, 1, 1, 1) of each picture's values (n, c, h, w), line by line.

    A sum of a million terms at once is one in a hundred thousand off in onnxruntime, which borders of the places of dense features
    amplify a thousand times; and torch's threads divide the sum of a single picture.
    """
    return values.mean(dim=3, keepdim=True).mean(dim=2, keepdim=True).mean(dim=1, keepdim=True)


def window_means(values: Tensor) -> Tensor:
    """Return the means (n, h', w') of values (n, h, w) over windows."""
    # A convolution: on CPUs ten times as fast as torch's average pooling.
    square = values.new_full((1, 1, WINDOW, WINDOW), 1 / WINDOW**2)
    return functional.conv2d(values[:, None], square, stride=STRIDE)[:, 0]


def local_error(residual: Tensor) -> Tensor:
    """Return the mean squared residual (n, h', w') in windows of residuals (n, c, h, w), averaged over channels.

    The residual's own mean over each picture and channel is taken off first: strips and rolls differ in brightness, and
    a model that has not seen a brightness is wrong by the same amount everywhere.
    """
    centred = residual - residual.mean(dim=(2, 3), keepdim=True)
    return window_means(centred.square().mean(dim=1))


def top_local_error(windows: Tensor) -> Tensor:
    """Return the mean (n,) of the `HIGHEST` values of each map (n, h', w'), of all when there are fewer."""
    flat = windows.flatten(1)
    return flat.topk(min(HIGHEST, flat.shape[1]), dim=1).values.mean(dim=1)


def enlarged(windows: Tensor, height: int, width: int) -> Tensor:
    """Return maps (n, height, width) at the picture's resolution from values of windows (n, h', w'), linear between centres."""
    # Repeated at the border, each value stands for STRIDE pixels, and the first repeated one begins at the picture's edge
    # less half of a stride.
    padded = functional.pad(windows[:, None], (1, 2, 1, 2), mode="replicate")
    size = [STRIDE * padded.shape[2], STRIDE * padded.shape[3]]
    fine = functional.interpolate(padded, size=size, mode="bilinear", align_corners=False)
    start = STRIDE + STRIDE // 2 - WINDOW // 2
    return fine[:, 0, start : start + height, start : start + width].contiguous()
