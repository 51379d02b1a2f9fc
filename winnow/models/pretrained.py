"""Networks pretrained on ImageNet, cut at one layer: their embeddings need no training."""

from __future__ import annotations

import math
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from winnow.errors import ModelError, did_you_mean, in_one_line
from winnow.models.contract import Model, ModelOutput
from winnow.options import ModelOptions

# torchvision's networks and the layer whose output is the embedding; every other name is timm's.
TORCHVISION = {"vgg16": "classifier.1", "mobilenet_v2": "features", "squeezenet1_1": "features"}
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Pretrained(Model):
    """Embeddings of a frozen network: its last layer before the classes, or any layer by name. It has no decoder.

    `backbone`: vgg16 (4096 ReLU values of the first fully connected layer), mobilenet_v2 (1280, pooled),
    squeezenet1_1 (512, pooled), or a timm name. `layer`: a node of the network ("features.7", "layer2"); nothing after
    it is run or kept. Maps (n, d, h, w) are averaged over height and width, tokens (n, t, d) over tokens. Pictures in
    [0, 1] are normalised inside as the network's authors did; one grey channel is repeated to three. A vision transformer
    takes the pictures at `size`, enlarged to whole patches; another timm network of one size gets them interpolated to that.
    The weights are random until `load_weights`.
    Raises `ModelError` for an unknown backbone or layer, or pictures too small for it.
    """

    frozen = True
    mean: Tensor
    std: Tensor

    def __init__(self, size: Sequence[int], channels: int, backbone: str = "mobilenet_v2", layer: str = "") -> None:
        super().__init__()
        self.size, self.channels = (int(size[0]), int(size[1])), int(channels)
        self.backbone, self.layer = backbone, layer
        network = _torchvision(backbone) if backbone in TORCHVISION else _timm(backbone)
        about: dict[str, Any] = getattr(network, "pretrained_cfg", {})
        self.input_size: tuple[int, int] | None = None
        if about.get("fixed_input_size", False):
            self.input_size = at_size(network, self.size) or tuple(about["input_size"][1:])
        # Of a vision transformer the rows and columns of its patches.
        self.grid: tuple[int, int] | None = getattr(getattr(network, "patch_embed", None), "grid_size", None)
        self.register_buffer("mean", torch.tensor(about.get("mean", IMAGENET_MEAN)).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(about.get("std", IMAGENET_STD)).view(1, 3, 1, 1), persistent=False)
        # timm's window transformers keep the channels last in their maps.
        self.spatial = (1, 2) if getattr(network, "output_fmt", "NCHW") == "NHWC" else (2, 3)
        cut = layer or self.usual_layer(network)
        self.network = self.until(network.eval(), cut) if cut else network
        self.requires_grad_(False).eval()
        self._probe()

    @classmethod
    def from_options(cls, size: Sequence[int], channels: int, options: ModelOptions) -> Pretrained:
        """Return the network that `options` describe, with the weights of `options.weights` or, without a file, of the hub."""
        model = cls(size, channels, options.backbone, options.layer)
        model.load_weights(options.weights)
        return model

    def config(self) -> dict[str, Any]:
        """Return the arguments, as JSON values, with which the class builds a network of the same shape."""
        return {"backbone": self.backbone, "layer": self.layer}

    def until(self, network: nn.Module, layer: str) -> nn.Module:
        """Return the part of the network up to a layer; `ModelError` where it has none of that name or cannot be divided."""
        return _cut(network, self.backbone, layer)

    def usual_layer(self, network: nn.Module) -> str:
        """Return the layer that is meant where none is named; "" for all of the network."""
        return TORCHVISION.get(self.backbone, "")

    def train(self, mode: bool = True) -> Pretrained:
        """Stay in evaluation mode: a frozen network's batch averages and dropout must not change."""
        return super().train(False)

    def load_weights(self, file: Path | None = None) -> None:
        """Load the weights of a .pth or .safetensors file or, without one, of the hub (cached by its library).

        Values become float32. The file may hold more than is needed, or only the part of the network that is kept.
        Raises `ModelError` when the file holds no weights or lacks some, or without a file and without a connection.
        """
        if file is None:
            found = _from_hub(self.backbone)
        else:
            found = read_weights(Path(file))
        source = f"the hub's weights of {self.backbone}" if file is None else str(file)
        wanted = self.network.state_dict()
        found = self._positioned(found, wanted)
        counters = [name for name in wanted if name.endswith("num_batches_tracked")]
        wrong = [name for name in wanted if name not in counters and name not in found]
        problem = "lacks"
        if not wrong:
            wrong = [name for name in wanted if name not in counters and found[name].shape != wanted[name].shape]
            problem = "has another shape for"
        if wrong:
            few = ", ".join(wrong[:3]) + (", ..." if len(wrong) > 3 else "")
            raise ModelError(
                f"{source} {problem} {len(wrong)} of the {len(wanted) - len(counters)} values that "
                f"'{self.backbone}' needs: {few}.",
                _remedy(self.backbone, found),
            )
        self.network.load_state_dict({name: found.get(name, value).to(value.dtype) for name, value in wanted.items()})

    def _positioned(self, found: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return weights with the position embeddings (1, extra + places, d) of a square grid interpolated to that of this network."""
        own, theirs = wanted.get("pos_embed"), found.get("pos_embed")
        if own is None or theirs is None or self.grid is None or own.ndim != 3 or theirs.ndim != 3:
            return found
        extra = own.shape[1] - self.grid[0] * self.grid[1]  # of class and register tokens
        side = math.isqrt(max(0, theirs.shape[1] - extra))
        if (own.shape == theirs.shape and self.grid == (side, side)) or theirs.shape[1] != extra + side**2:
            return found
        from timm.layers import resample_abs_pos_embed

        fitted = resample_abs_pos_embed(theirs.float(), list(self.grid), [side, side], extra)
        return found | {"pos_embed": fitted}

    def forward(self, images: Tensor, decode: bool = True, noise: Tensor | None = None) -> ModelOutput:
        """Return embeddings of `images` (n, channels, h, w) in [0, 1]; there is nothing to decode or to sample."""
        out = self.features(images)
        if out.ndim == 4:
            out = out.mean(dim=self.spatial)
        elif out.ndim == 3:
            out = out.mean(dim=1)
        return ModelOutput(out.float())

    def features(self, images: Tensor) -> Tensor:
        """Return what the layer gives for `images` (n, channels, h, w): (n, d), a map (n, d, h, w) or tokens (n, t, d)."""
        if images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        if self.input_size is not None and tuple(images.shape[2:]) != self.input_size:
            images = F.interpolate(images, self.input_size, mode="bilinear", antialias=True)
        out = self.network((images - self.mean) / self.std)
        if isinstance(out, dict):
            out = out["embedding"]
        return out[0] if isinstance(out, list) else out

    def _probe(self) -> ModelOutput:
        """Run one black picture through the network, so that a size it cannot take is an error here and not hours later."""
        try:
            with torch.no_grad():
                return self(torch.zeros(1, self.channels, *self.size))
        except (RuntimeError, ValueError, AssertionError) as error:
            height, width = self.size
            raise ModelError(
                f"'{self.backbone}' cannot take pictures of {height}x{width} ({in_one_line(error)}).",
                "Use a larger --size, such as 96 96, or another --backbone.",
            ) from error


def _torchvision(name: str) -> nn.Module:
    from torchvision import models

    # VGG's own initialisation takes seconds for weights that are replaced anyway.
    extra = {"init_weights": False} if name == "vgg16" else {}
    return models.get_model(name, weights=None, **extra)


def _unknown(name: str) -> ModelError:
    import timm

    return ModelError(f"There is no backbone '{name}'.", did_you_mean(name, [*TORCHVISION, *timm.list_models()]))


def _timm(name: str, pretrained: bool = False) -> nn.Module:
    import timm

    if not timm.is_model(name):
        raise _unknown(name)
    return timm.create_model(name, pretrained=pretrained, num_classes=0)


def at_size(network: nn.Module, size: tuple[int, int]) -> tuple[int, int] | None:
    """Make a vision transformer one for pictures of `size`, each side enlarged to whole patches, and return that size.

    None for a network without position embeddings of its patches, which takes the size that it was trained for.
    """
    if getattr(network, "pos_embed", None) is None or not hasattr(network, "set_input_size"):
        return None
    patch: Any = network.patch_embed.patch_size  # type: ignore[union-attr]
    height, width = (math.ceil(side / of) * of for side, of in zip(size, patch, strict=True))
    network.set_input_size(img_size=(height, width))  # type: ignore[operator]
    return height, width


def _remedy(backbone: str, found: dict[str, Tensor]) -> str:
    """Return what to do about weights that do not fit a backbone: they may be those of another that a recipe takes."""
    for name in (*TORCHVISION, "tf_efficientnet_lite0"):
        with torch.device("meta"):
            held = (_torchvision(name) if name in TORCHVISION else _timm(name)).state_dict()
        needed = {key: value.shape for key, value in held.items() if not key.startswith("classifier.") and value.ndim}
        if name != backbone and all(key in found and found[key].shape == shape for key, shape in needed.items()):
            return f"These are the weights of '{name}': add --backbone {name}, or give those of '{backbone}'."
    return f"Give the weights of '{backbone}' itself, or the --backbone they belong to."


def _cut(network: nn.Module, backbone: str, layer: str) -> nn.Module:
    """Return the part of the network up to `layer`; the layers after it are neither run nor kept."""
    import warnings

    from torch.fx.proxy import TraceError
    from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

    try:
        with warnings.catch_warnings():  # of nodes that differ in training mode, which is never entered here
            warnings.simplefilter("ignore", UserWarning)
            return create_feature_extractor(network, {layer: "embedding"}).eval()
    except TraceError as error:  # a ValueError too
        raise _not_apart(backbone, error) from error
    except ValueError:
        nodes = get_graph_node_names(network)[1]
        modules = [name for name, _ in network.named_modules() if name]
        known = [
            name
            for name in dict.fromkeys([*modules, *nodes])
            if any(node == name or node.startswith(name + ".") for node in nodes)
        ]
        remedy = did_you_mean(layer, known)
        if not remedy.startswith("Did"):
            remedy = f"Its layers are: {', '.join(known[:12])}, ..."
        raise ModelError(f"'{backbone}' has no layer '{layer}'.", remedy) from None
    except (RuntimeError, TypeError, NotImplementedError, AttributeError) as error:  # of torch.fx
        raise _not_apart(backbone, error) from error


def _not_apart(backbone: str, error: Exception) -> ModelError:
    return ModelError(
        f"The layers of '{backbone}' cannot be taken apart ({in_one_line(error)}).",
        "Leave --layer out to use its last layer, or choose another --backbone.",
    )


def weights_at_hand(backbone: str) -> str:
    """Say where the weights of a backbone are to be had without a file: "the hub's cache", "the hub", or "" for nowhere.

    Downloads nothing: looks into the cache, and else asks once whether the hub answers. Raises `ModelError` for a
    backbone of which no weights exist.
    """
    place = _place(backbone)
    if place.cached:
        return "the hub's cache"
    return "the hub" if _answers(place.host) else ""


@dataclass(frozen=True)
class _Place:
    """Where the hub keeps weights: `wanted` says it in words, `file` is their name, `host` who to ask, `cached` if they are here."""

    wanted: str
    file: str
    host: str
    cached: bool


def _place(backbone: str) -> _Place:
    if backbone in TORCHVISION:
        from torchvision.models import get_model_weights

        return _of_url(get_model_weights(backbone).DEFAULT.url)
    import timm

    about: Any = timm.get_pretrained_cfg(backbone)
    if about is None:
        raise _unknown(backbone)
    if not about.has_weights:
        raise ModelError(
            f"timm has no weights for '{backbone}'.",
            "Choose another --backbone, or give a file with --weights FILE.",
        )
    if not about.hf_hub_id:
        return _of_url(about.url)
    from huggingface_hub import constants, try_to_load_from_cache

    cached = isinstance(try_to_load_from_cache(about.hf_hub_id, "model.safetensors"), str)
    wanted = f"model.safetensors of the Hugging Face model {about.hf_hub_id}"
    return _Place(wanted, "model.safetensors", constants.ENDPOINT, cached)


def _of_url(url: str) -> _Place:
    file = url.rsplit("/", 1)[-1]
    return _Place(url, file, url, (Path(torch.hub.get_dir()) / "checkpoints" / file).is_file())


def _answers(url: str) -> bool:
    """Send one request, before the hub's library, which tries twelve times over a minute when there is no network."""
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    try:
        urlopen(Request(url, method="HEAD"), timeout=10).close()
    except HTTPError:
        return True  # an answer, whatever it says, is a network
    except OSError:
        return False
    return True


def _from_hub(backbone: str) -> dict[str, Tensor]:
    place = _place(backbone)
    try:
        if not place.cached and not _answers(place.host):
            raise OSError("no network")
        if backbone in TORCHVISION:
            from torchvision.models import get_model_weights

            return dict(get_model_weights(backbone).DEFAULT.get_state_dict(progress=False, check_hash=True))
        return dict(_timm(backbone, pretrained=True).state_dict())
    except Exception as error:  # the libraries behind both hubs raise a dozen unrelated classes
        raise ModelError(
            f"The weights of '{backbone}' could not be downloaded ({in_one_line(error)}).",
            f"On a machine with network fetch {place.wanted}, copy it here and give: --weights {place.file}. "
            "Without weights: --model autoencoder, or --from-scratch with the recipes oneclass, inspect and select.",
        ) from error


def read_weights(file: Path) -> dict[str, Tensor]:
    """Read tensors by name from a .safetensors or PyTorch file; run no code from it. `ModelError` says what is wrong."""
    if not file.is_file():
        raise ModelError(f"There is no file of weights {file}.", "Check the path given to --weights.")
    with file.open("rb") as stream:
        head = stream.read(64).lstrip()
    if not head:
        raise ModelError(f"{file} is empty.", "Copy or download the file of weights again.")
    if head.startswith((b"<", b"version https://git-lfs")):
        raise ModelError(f"{file} is a web page or a pointer, not weights.", "Download the file itself.")
    try:
        if file.suffix.lower() == ".safetensors":
            from safetensors.torch import load_file

            content: Any = load_file(file)
        else:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{file} is not a file of plain weights: reading it would run code, or it is damaged.",
            "Save the network's state_dict() and give that, as .pth or .safetensors.",
        ) from error
    except Exception as error:  # safetensors and zip readers raise their own classes
        raise ModelError(
            f"{file} cannot be read as weights: it is cut off, or a file of another kind ({in_one_line(error)}).",
            "Give a .safetensors or .pth file of a state_dict; copy it again if it may be cut off.",
        ) from error
    for wrapper in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not any(isinstance(value, Tensor) for value in content.values()):
        raise ModelError(
            f"{file} holds no weights by name (a state_dict).", "Save the network's state_dict() and give that."
        )
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
