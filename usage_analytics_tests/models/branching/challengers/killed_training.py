"""Trains on the files of a folder, in a process of its own, and dies by SIGKILL after so many batches.

python -m usage_analytics_tests.models.branching.challengers.killed_training FOLDER STATE_FOLDER BATCHES
"""

import os
import signal
import sys
from pathlib import Path

from usage_analytics.models.branching.challengers.gru_training import GruSettings, Standing, train_gru
from usage_analytics.models.branching.challengers.training_batches import BatchSettings
from usage_analytics_tests.models.branching.challengers.planted_sessions import FIT, VALIDATION

SETTINGS = GruSettings(units=8, rate=1e-2, epochs=2, batches=BatchSettings(predictions=256, block=2000, longest=16))
CHECKPOINT_STEPS = 7


def train(folder: Path, state: Path, left: int) -> None:
    def watch(_: Standing) -> None:
        nonlocal left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    train_gru(sorted(folder.glob("*.parquet")), state, FIT, VALIDATION, SETTINGS, CHECKPOINT_STEPS, watch)


if __name__ == "__main__":
    train(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
