"""A step of a training in pieces of its batch, which several processes share: the same bytes whatever their number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from winnow import torchrun
from winnow.errors import OptionError
from winnow.learn.processes import Processes

FEWEST = 4  # pieces of a batch that is large enough for them
PICTURES = 16  # in a piece, where that makes more than the fewest


def pieces_of(batch: int) -> int:
    """Return into how many pieces, a power of two, torchrun's processes cut a batch: four, or as many as have 16 pictures; without
    torchrun 1. It depends on nothing else, so that any number of them adds up the same."""
    if not torchrun.is_launched():
        return 1
    return 1 << (min(batch, max(FEWEST, batch // PICTURES)).bit_length() - 1)


def check_shared(pieces: int, batch: int, processes: int, looks: bool = False, option: str = "--batch-size") -> None:
    """Raise `OptionError` unless so many processes can share the pieces of a batch evenly; `looks`: the network looks at the batch.

    `option` sets the size of a batch.
    """
    if processes == 1 or pieces % processes == 0:
        return
    if looks:
        raise OptionError(
            "The network's batch normalisation looks at the whole batch, so that one process must train it.",
            "Leave torchrun out, or use another --architecture.",
        )
    if pieces == 1:
        raise OptionError(
            f"{processes} processes cannot share the batches of this training, which takes each in one piece.",
            "Go on with it without torchrun, or train anew, without --resume.",
        )
    possible = ", ".join(str(1 << power) for power in range(pieces.bit_length()))
    larger = f", or give {option} {PICTURES * processes}" if processes & (processes - 1) == 0 else ""
    raise OptionError(
        f"{processes} processes cannot share a batch of {batch} pictures evenly: it is cut into {pieces} pieces.",
        f"Start one of {possible} processes{larger}.",
    )


def looks_at_the_batch(model: nn.Module) -> bool:
    """Return whether layers of a network that is trained look at the whole batch."""
    normalisations = (nn.modules.batchnorm._BatchNorm, nn.SyncBatchNorm)
    return any(isinstance(layer, normalisations) for layer in model.modules())


def learn_in_pieces(
    inputs: Sequence[Any],
    losses: Callable[..., Sequence[Tensor]],
    loss: Callable[..., tuple[Tensor, Tensor]],
    parameters: Sequence[nn.Parameter],
    pieces: int,
    processes: Processes,
) -> Tensor:
    """Put the gradient of a batch's loss into `parameters`, each process by its share of the pieces; return the numbers for the log.

    `inputs` are arrays or tensors of n pictures, the whole batch in every process. `losses(*inputs of a piece)` returns
    tensors of values of its pictures, `loss(*tensors of all pictures)` the loss and the numbers. Losses that are no sum over
    pictures, such as the logarithm of a mean, come out right too: the loss is computed of the values of all, and its
    gradient by them is what each piece goes back with. The gradients of pieces are added in pairs, then pairs of pairs.
    """
    n, share = len(inputs[0]), pieces // processes.size
    bounds = [n * number // pieces for number in range(pieces + 1)]
    own = bounds[processes.rank * share : (processes.rank + 1) * share + 1]
    parts = [slice(start, end) for start, end in pairwise(own)]
    found = [losses(*(values[part] for values in inputs)) for part in parts]
    whole = [processes.total(_spread(values, parts, n)).requires_grad_() for values in zip(*found, strict=True)]
    value, numbers = loss(*whole)
    value.backward()
    slopes = [values.grad for values in whole]

    def gradient(first: int, last: int) -> list[Tensor]:
        """Return the gradients of the own pieces from `first` to before `last`, one for each parameter."""
        if last - first > 1:
            middle = (first + last) // 2
            left, right = gradient(first, middle), gradient(middle, last)
            torch._foreach_add_(left, right)
            return left
        roots = [
            (values, slope[parts[first]])
            for values, slope in zip(found[first], slopes, strict=True)
            if slope is not None and values.requires_grad
        ]
        for parameter in parameters:
            parameter.grad = None
        torch.autograd.backward([root for root, _ in roots], [slope for _, slope in roots])
        found[first] = ()  # its activations
        return [torch.zeros_like(one) if one.grad is None else one.grad for one in parameters]

    summed = gradient(0, share)
    if processes.size > 1:
        flat = processes.sum_in_pairs(torch.cat([values.flatten() for values in summed]))
        for values, total in zip(summed, flat.split([values.numel() for values in summed]), strict=True):
            values.copy_(total.view(values.shape))
    for parameter, values in zip(parameters, summed, strict=True):
        parameter.grad = values
    return numbers


def _spread(values: Sequence[Tensor], parts: Sequence[slice], n: int) -> Tensor:
    """Return values of the pictures of some parts at their places among n, zeros elsewhere."""
    whole = values[0].new_zeros((n, *values[0].shape[1:]))
    for part, some in zip(parts, values, strict=True):
        whole[part] = some.detach()
    return whole
