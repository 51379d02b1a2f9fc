"""An exported file served over HTTP, on onnxruntime alone."""
