"""LitServe on an exported file, for bench/serve.py: the same decoding and file, batches of 16, 2 ms.

python bench/serve_litserve.py FILE.onnx
"""

from __future__ import annotations

import base64
import socket
import sys
from typing import Any

import litserve
import numpy as np

from winnow.deploy.runtime import Deployed
from winnow.pool.in_memory import read_picture


class Api(litserve.LitAPI):
    """Class, probability, score and p-value of a picture."""

    def setup(self, device: str) -> None:
        """Load the file."""
        self.model = Deployed.open(sys.argv[1], threads=1)

    def decode_request(self, request: dict[str, str]) -> Any:
        """Decode a picture."""
        return read_picture(base64.b64decode(request["image"]), "", self.model.ingest)[0].pixels(slice(None))[0]

    def batch(self, inputs: list[Any]) -> Any:
        """Stack pictures."""
        return np.stack(inputs)

    def predict(self, pixels: Any) -> dict[str, Any]:
        """Judge a batch."""
        return self.model(pixels)

    def unbatch(self, output: dict[str, Any]) -> list[Any]:
        """Part what was found."""
        return [{name: values[place] for name, values in output.items()} for place in range(len(output["score"]))]

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """Say what was found, in about as many words as winnow serve."""
        best = int(output["probabilities"].argmax())
        assert self.model.classes is not None and self.model.threshold is not None
        return {
            "class": self.model.classes[best],
            "probabilities": {
                name: float(p) for name, p in zip(self.model.classes, output["probabilities"], strict=True)
            },
            "score": float(output["score"]),
            "p_value": float(output["p_value"]),
            "belongs": bool(output["score"] <= self.model.threshold),
        }


if __name__ == "__main__":
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    print(f"127.0.0.1:{port}", flush=True)
    server = litserve.LitServer(Api(max_batch_size=16, batch_timeout=0.002), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=port, log_level="critical", generate_client_file=False)
