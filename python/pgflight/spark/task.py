"""The task that runs this code."""

from __future__ import annotations

import random
import uuid
from typing import Tuple


def identity() -> Tuple[int, str]:
    """Returns the number of the task's partition, and the id of this attempt at it.

    Other engines with Spark's interface, such as Sail, say neither. Then both are made up here: a partition that runs
    twice counts as two, and the driver commits the one whose receipt the engine passes on.
    """
    from pyspark import TaskContext

    context = TaskContext.get()
    if context is None:
        return random.getrandbits(31), str(uuid.uuid4())
    return context.partitionId(), str(context.taskAttemptId())
