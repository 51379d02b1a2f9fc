"""From pictures to embeddings: against plain numpy, and independent of the size of a batch."""

import numpy as np
import pytest
import torch

from winnow.errors import DataError
from winnow.learn.encode import encode
from winnow.models.contract import Model, ModelOutput
from winnow.models.registry import build
from winnow.options import ModelOptions

PICTURES = np.random.default_rng(0).integers(0, 256, (37, 17, 14, 3), dtype=np.uint8)


class Table:
    """A pool in memory, with the columns that encode looks for; it counts what is asked of it at once."""

    size, channels, most = (17, 14), 3, 0

    def __len__(self):
        return len(PICTURES)

    def pixels(self, rows):
        self.most = max(self.most, len(rows))
        return PICTURES[rows]

    def column(self, name):
        return np.array([f"{name} {row}" for row in range(len(self))], dtype=object)


def network(**given):
    return build(ModelOptions(**{"latent": 5, "width": 3, "variational": True, **given}), (17, 14), 3)


def test_numbers_of_the_model_and_of_the_pixels():
    model, found = network(), encode(network(), PICTURES, device="cpu")
    with torch.no_grad():
        plain = model.eval()(torch.from_numpy(PICTURES.transpose(0, 3, 1, 2).astype(np.float32) / 255))
    np.testing.assert_allclose(found.vectors, plain.vectors, rtol=1e-4, atol=1e-6)
    for name in ("reconstruction", "top_error", "latent"):
        np.testing.assert_allclose(found.loss(name), getattr(plain, name), rtol=1e-4)
    unit = PICTURES.astype(np.float64) / 255
    np.testing.assert_allclose(found.loss("variance"), unit.var(axis=(1, 2)).mean(axis=1), rtol=1e-5)
    steps = [np.abs(np.diff(unit, axis=axis)).mean(axis=(1, 2, 3)) for axis in (1, 2)]
    np.testing.assert_allclose(found.loss("gradient"), sum(steps) / 2, rtol=1e-5)
    assert found.vectors.dtype == np.float32
    assert list(found.ids[:3]) == ["0", "1", "2"]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 16, 37, 1000])
def test_the_batch_size_changes_nothing(batch_size):
    model = network()
    whole, parts = encode(model, PICTURES, device="cpu"), encode(model, PICTURES, device="cpu", batch_size=batch_size)
    np.testing.assert_allclose(parts.vectors, whole.vectors, rtol=1e-5, atol=1e-6)
    for name, values in whole.losses.items():
        np.testing.assert_allclose(parts.loss(name), values, rtol=1e-5)


@pytest.mark.parametrize(("fit", "most"), [(40, 32), (20, 16), (5, 5), (0, 1)])
def test_a_batch_is_bounded_by_bytes(monkeypatch, fit, most):
    model, lengths = network(), []
    whole = encode(model, PICTURES, device="cpu")
    monkeypatch.setattr("winnow.learn.encode.BYTES_CPU", fit * 4 * PICTURES[0].size)
    model.register_forward_pre_hook(lambda _, given: lengths.append(len(given[0])))
    parts = encode(model, PICTURES, device="cpu")
    assert max(lengths) == most
    compare = np.testing.assert_array_equal if fit >= 16 else np.testing.assert_allclose
    compare(parts.vectors, whole.vectors, **({} if fit >= 16 else {"rtol": 1e-4, "atol": 1e-6}))
    for name, values in whole.losses.items():
        compare(parts.loss(name), values, **({} if fit >= 16 else {"rtol": 1e-5}))


def test_the_batch_of_a_cpu_is_bounded_by_its_caches_and_that_of_a_gpu_by_its_memory():
    from winnow.learn.encode import _batch_and_block

    for size, on_cpu, on_gpu in (
        ((64, 64), (32, 16), (64, 16)),
        ((96, 96), (16, 16), (64, 16)),
        ((384, 384), (1, 1), (64, 16)),
        ((2048, 2048), (1, 1), (16, 16)),
        ((4096, 4096), (1, 1), (5, 5)),
    ):
        source = Table()
        source.size = size
        assert _batch_and_block(64, source, torch.device("cpu")) == on_cpu
        assert _batch_and_block(64, source, torch.device("cuda")) == on_gpu


def test_neighbours_and_order_change_nothing():
    model = network()
    whole, few = encode(model, PICTURES, device="cpu"), encode(model, PICTURES, [30, 2, 2], device="cpu")
    np.testing.assert_allclose(few.vectors, whole.vectors[[30, 2, 2]], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(few.loss("top_error"), whole.loss("top_error")[[30, 2, 2]], rtol=1e-5)


def test_a_pool_has_ids_and_groups_and_is_read_in_batches():
    pool, rows = Table(), np.array([5, 1, 36])
    found = encode(network(), pool, rows, device="cpu", batch_size=16, seen=np.array([True, False, True]))
    assert list(found.ids) == ["id 5", "id 1", "id 36"]
    assert list(found.groups) == ["joined 5", "joined 1", "joined 36"]
    assert list(found.seen) == [True, False, True]
    encode(network(), pool, device="cpu", batch_size=16)
    assert pool.most == 16
    named = encode(network(), pool, rows, device="cpu", ids=["a", "b", "c"], groups=["g", "g", "h"])
    assert (list(named.ids), list(named.groups)) == (["a", "b", "c"], ["g", "g", "h"])


def test_an_auxiliary_model_adds_its_reconstruction():
    own, other = network(), network(variational=False, latent=2)
    found, alone = (
        encode(own, PICTURES, device="cpu", auxiliary={"other": other}),
        encode(other, PICTURES, device="cpu"),
    )
    np.testing.assert_array_equal(found.loss("other"), alone.loss("reconstruction"))
    assert found.vectors.shape == (37, 5)


def test_no_pictures_have_no_embeddings():
    found = encode(network(), PICTURES, np.arange(0), device="cpu")
    assert found.vectors.shape == (0, 5)
    assert found.loss("latent").shape == (0,)


class Broken(Model):
    """A model whose embedding of white pictures is not finite, without a reconstruction."""

    size, channels = (17, 14), 3

    def forward(self, images, decode=True, noise=None):
        return ModelOutput(1 / (1 - images.amax(dim=(2, 3))))

    def config(self):
        return {}


def test_an_embedding_that_is_not_finite_names_the_picture():
    pictures = PICTURES // 2
    pictures[11] = 255
    with pytest.raises(DataError, match=r"embedding of 'row 11' is not finite \(1 picture in all"):
        encode(Broken(), pictures, device="cpu", ids=[f"row {row}" for row in range(37)])


def test_pictures_or_models_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match=r"\(16, 14\).*\(17, 14\)"):
        encode(network(), PICTURES[:, :16], device="cpu")
    with pytest.raises(DataError, match="rebuilds no pictures"):
        encode(network(), PICTURES // 2, device="cpu", auxiliary={"other": Broken()})
