"""The model repository for Triton: its configuration is a ModelConfig as Triton's own schema has it, and fits the file beside it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import onnx
import pytest

from winnow.deploy.triton import check_repository, write_repository
from winnow.errors import OptionError
from winnow.options import IngestOptions

from exported import COLOURS, write_exported


@pytest.fixture(scope="module")
def schema() -> ModuleType:
    """Triton's model_config.proto, of its client, whose other half would need gRPC."""
    pytest.importorskip("tritonclient.http")
    root = importlib.util.find_spec("tritonclient")
    assert root is not None and root.submodule_search_locations
    path = Path(root.submodule_search_locations[0]) / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def repository(folder: Path, name: str = "größe 1", **given: object) -> tuple[Path, list[str]]:
    file = write_exported(folder / "file.onnx", **given)  # type: ignore[arg-type]
    proto = onnx.load(file)
    about = json.loads({one.key: one.value for one in proto.metadata_props}["winnow"])
    outputs = [one.name for one in proto.graph.output]
    return write_repository(folder / "repository", name, file.read_bytes(), about, outputs), outputs


@pytest.mark.parametrize("kind", ["classes and score", "patches with maps"])
def test_the_configuration_is_tritons_and_fits_the_file(kind: str, schema: ModuleType, tmp_path: Path) -> None:
    from google.protobuf import text_format

    patches = IngestOptions(size=(16, 24), patches=True, grey=True, workers=1)
    given = {} if kind.startswith("classes") else {"classes": None, "ingest": patches, "levels": (0.3, 0.6)}
    for _ in range(2):  # the second in the place of the first
        folder, outputs = repository(tmp_path, **given)
    config = text_format.Parse((folder / "config.pbtxt").read_text(encoding="utf-8"), schema.ModelConfig())
    proto = onnx.load(folder / "1" / "model.onnx")
    assert config.name == folder.name == "größe 1" and config.backend == "onnxruntime"
    assert config.max_batch_size == 16 and config.HasField("dynamic_batching")
    assert config.dynamic_batching.max_queue_delay_microseconds == 2000
    for told, real in zip((*config.input, *config.output), (*proto.graph.input, *proto.graph.output), strict=True):
        shape = [side.dim_value or -1 for side in real.type.tensor_type.shape.dim][1:]
        own = list(told.reshape.shape) if told.HasField("reshape") else list(told.dims)
        assert told.name == real.name and (own == shape or -1 in own) and len(own) == len(shape) and len(told.dims) >= 1
        kinds = {onnx.TensorProto.UINT8: schema.TYPE_UINT8, onnx.TensorProto.FLOAT: schema.TYPE_FP32}
        assert told.data_type == kinds[real.type.tensor_type.elem_type]
    assert [one.name for one in config.output] == outputs
    if given:
        assert list(config.input[0].dims) == [16, 24, 1] and not (folder / "classes.txt").exists()
    else:
        assert config.output[0].label_filename == "classes.txt" and list(config.output[0].dims) == [3]
        assert (folder / "classes.txt").read_text(encoding="utf-8").splitlines() == COLOURS


def test_a_model_of_somebody_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "config.pbtxt").write_text('name: "shop"\n', encoding="utf-8")
    with pytest.raises(OptionError, match=r"was not written by Winnow.*\n.*--triton"):
        check_repository(tmp_path, "shop")
    folder, _ = repository(tmp_path)
    check_repository(folder.parent, folder.name)
    for name in ("", "a/b", ".hidden"):
        with pytest.raises(OptionError, match="not the name of a model"):
            check_repository(tmp_path, name)
