"""One model of anomalib on folders of pictures, run by the Python of an environment that has it (no network is used).

    PYTHON bench/anomalib_peer.py [--size 128] [--maps FOLDER] Padim|Patchcore ROOT WEIGHTS TRAIN GOOD OTHER [OTHER ...]

Folders are below ROOT: TRAIN to learn from, GOOD and the OTHERs to be judged. The backbone is MobileNetV2 with the weights of a
local file. The last line printed is RESULT and JSON: seconds of fitting and of scoring, memory in MiB, the scores of each
folder and the names of its pictures in the same order, and the threshold that anomalib sets. The anomaly maps go to `--maps`,
NAME.npy in the size that the network sees.
"""

import argparse
import json
import logging
import os
import resource
import tempfile
import time
import warnings
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", TRUST_REMOTE_CODE="1", TQDM_DISABLE="1")
warnings.filterwarnings("ignore")
logging.getLogger("lightning").setLevel(logging.ERROR)

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torchvision  # noqa: E402
from anomalib import models  # noqa: E402
from anomalib.data import Folder  # noqa: E402
from anomalib.engine import Engine  # noqa: E402
from anomalib.post_processing import PostProcessor  # noqa: E402

EXTRA = {"Patchcore": {"coreset_sampling_ratio": 0.01}, "Padim": {"n_features": 100}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--maps", type=Path)
    for name in ("name", "root", "weights", "train", "good"):
        parser.add_argument(name)
    parser.add_argument("others", nargs="+")
    run(**vars(parser.parse_args()))


def run(
    name: str, root: str, weights: str, train: str, good: str, others: list[str], size: int, maps: Path | None
) -> None:
    torch.manual_seed(0)
    network = torchvision.models.mobilenet_v2(weights=None)
    state = torch.load(weights, weights_only=True)
    network.load_state_dict(
        {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    )
    data = Folder(name="peer", root=root, normal_dir=train, normal_test_dir=good, abnormal_dir=list(others), num_workers=0,
                  train_batch_size=32, eval_batch_size=32, val_split_mode="from_train", val_split_ratio=0.2, seed=0)  # fmt: skip
    kind = getattr(models, name)
    model = kind(backbone=network.eval(), layers=["features.6", "features.13"], pre_trained=False,
                 pre_processor=kind.configure_pre_processor(image_size=(size, size)),
                 post_processor=PostProcessor(enable_normalization=False), evaluator=False, visualizer=False,
                 **EXTRA[name])  # fmt: skip
    scores: dict[str, list[float]] = {os.path.basename(folder): [] for folder in (good, *others)}
    names: dict[str, list[str]] = {folder: [] for folder in scores}
    with tempfile.TemporaryDirectory() as work:
        engine = Engine(max_epochs=1, accelerator="cpu", devices=1, logger=False, default_root_dir=work, num_sanity_val_steps=0,
                        enable_progress_bar=False, enable_model_summary=False)  # fmt: skip
        begun = time.perf_counter()
        engine.fit(model=model, datamodule=data)
        fitted = time.perf_counter()
        batches = engine.predict(model=model, dataloaders=data.test_dataloader())
        done = time.perf_counter()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    for batch in batches:
        for number, (path, score) in enumerate(
            zip(map(Path, batch.image_path), batch.pred_score.reshape(-1).tolist(), strict=True)
        ):
            scores[path.parent.name].append(score)
            names[path.parent.name].append(path.stem)
            if maps is not None:
                np.save(maps / f"{path.stem}.npy", batch.anomaly_map[number].reshape(size, size).float().numpy())
    found = {"fit_s": fitted - begun, "score_s": done - fitted, "memory": memory,
             "threshold": float(model.post_processor.image_threshold), "scores": scores, "names": names}  # fmt: skip
    print("RESULT" + json.dumps(found))


if __name__ == "__main__":
    main()
