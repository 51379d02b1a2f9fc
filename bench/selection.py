"""Choosing pictures to label: what the labels are worth, beside other tools, with junk in the pool, and how fast.

python bench/selection.py [--quick] [--seeds 5] [--to FOLDER] [--peers PYTHON] [--parts quality,junk,speed]

`--peers` is a Python that has scikit-learn, apricot-select, scikit-activeml and lightly-mundig (the extra `bench`).
Quality: a logistic regression (balanced, C = 1, standardised codes) on frozen MobileNetV2 codes of the chosen pictures,
judged on the test split, which no choice was made by. Each seed leaves out a tenth of the pool at random.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import time
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from common import TEST_CLIPS, Path as _Path, arguments, finish, need, table  # noqa: F401
