"""Counting in a process that was forked while another thread was counting."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="not applicable: no fork() on Windows")

PATIENCE = 60.0
FORKED = """
import os, signal, threading
from prometheus_client.mmap_dict import MmapedDict
from pytest_aistorage import AIProgress, open_storage
from pytest_aistorage.metrics import MetricsStorage

storage = MetricsStorage(open_storage("memory://"))
counting, write = threading.Event(), MmapedDict.write_value

def slowly(*arguments):
    if threading.current_thread() is not threading.main_thread():
        counting.set()
        threading.Event().wait(0.2)
    write(*arguments)

MmapedDict.write_value = slowly
thread = threading.Thread(target=storage.get_progress, args=("resnet",))
thread.start()
assert counting.wait(60)
if (child := os.fork()) == 0:
    signal.alarm(10)
    storage.get_progress("resnet")
    os._exit(0)
thread.join()
assert os.waitpid(child, 0)[1] == 0
"""


def test_child_does_not_wait_for_a_thread_of_its_parent(tmp_path: Path) -> None:
    """prometheus-client counts under a lock, which nobody would release in the child."""
    subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKED],
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
        timeout=PATIENCE,
        check=True,
    )
