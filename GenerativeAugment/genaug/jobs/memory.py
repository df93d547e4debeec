"""The most memory a job held, in a process that may have run larger jobs before it."""

from __future__ import annotations

import sys
import threading
from types import TracebackType

import psutil

SAMPLE_SECONDS = 0.05


class PeakMemory:
    """Context manager; afterwards `rss_bytes` and `gpu_bytes` hold the peaks inside it.

    The operating system's high-water mark is exact but belongs to the whole life of the process. Where the job raised
    it, it is the job's; where it did not, the largest of 20 samples a second stands in.
    """

    rss_bytes: int = 0
    gpu_bytes: int | None = None

    def __enter__(self) -> PeakMemory:
        self._process = psutil.Process()
        self._before = _high_water(self._process)
        self.rss_bytes = int(self._process.memory_info().rss)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="peak-memory", daemon=True)
        self._thread.start()
        _reset_gpu_peak()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.measure()
        self._done.set()
        self._thread.join()

    def measure(self) -> None:
        """Bring both peaks up to date."""
        after = _high_water(self._process)
        self.rss_bytes = after if after > self._before else max(self.rss_bytes, int(self._process.memory_info().rss))
        self.gpu_bytes = _gpu_peak()

    def _sample(self) -> None:
        while not self._done.wait(SAMPLE_SECONDS):
            self.rss_bytes = max(self.rss_bytes, int(self._process.memory_info().rss))


def _high_water(process: psutil.Process) -> int:
    """Largest resident set of this process so far, in bytes."""
    if sys.platform == "win32":
        return int(process.memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _reset_gpu_peak() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _gpu_peak() -> int | None:
    """Peak bytes torch held on the current CUDA device; None without one. Never imports torch."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return int(torch.cuda.max_memory_allocated())
