"""The process at the other end of `Processes`: lines of JSON in, lines of JSON out.

Nothing is pickled and the caller's main module is not imported again. What tasks print goes to the standard error.
The process ends after the job at hand when its caller has gone.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from typing import IO, Any

__all__ = ["main"]


class Child:
    """State of a worker process.

    Parameters
    ----------
    lines : what the caller says. out : what it hears.
    """

    def __init__(self, lines: IO[bytes], out: IO[bytes]) -> None:
        self._lines = lines
        self._out = out
        self._batches: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._stop = threading.Event()

    def _say(self, **message: Any) -> None:
        try:
            self._out.write(json.dumps(message).encode() + b"\n")
            self._out.flush()
        except OSError:
            self._stop.set()

    def _listen(self) -> None:
        """Thread: commands of the caller; the end of the stream is the end of the caller."""
        from fullwell.pipeline.executors.worker import prefetch

        for line in self._lines:
            message = json.loads(line)
            if "ahead" in message:
                prefetch(message["ahead"])
            elif "stop" in message:
                self._stop.set()
            else:
                self._batches.put(message)
        self._stop.set()
        self._batches.put(None)

    def _run(self, message: dict[str, Any], cache: Any) -> None:
        from fullwell.pipeline.executors.worker import run_jobs
        from fullwell.pipeline.jobs import Job

        jobs = [Job.from_dict(j) for j in message["jobs"]]
        for done in run_jobs(jobs, cache):
            self._say(done=done.to_dict())
            if self._stop.is_set():
                break
        self._say(end=message["batch"])

    def work(self) -> None:
        """Batches until there are no more; the first line is the setup."""
        from fullwell.base.errors import FullwellError
        from fullwell.pipeline.executors.worker import Cache, load

        setup = json.loads(self._lines.readline() or b"{}")
        try:
            load(setup.get("modules", ()))
        except FullwellError as err:
            self._say(error=[err.problem, err.remedy])
            return
        cache = Cache(setup.get("cache_bytes", 0))
        threading.Thread(target=self._listen, name="listen", daemon=True).start()
        self._say(ready=os.getpid())
        while (message := self._batches.get()) is not None:
            if self._stop.is_set():
                self._say(end=message["batch"])
            else:
                self._run(message, cache)


def main() -> None:
    """Entry of the process: keeps its standard output to itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    Child(sys.stdin.buffer, out).work()


if __name__ == "__main__":
    main()
