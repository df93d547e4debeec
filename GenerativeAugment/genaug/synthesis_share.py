"""One more worker of a synthesis: `python -m genaug.synthesis_share SHARE`, started by `synthesis_workers` only."""

from __future__ import annotations

import sys
import threading
import traceback
from pathlib import Path
from typing import Any, Literal

from genaug.case import Case
from genaug.cohort import Cohort
from genaug.files import read_json, write_json
from genaug.importing import collector_off
from genaug.jobs.events import EventReporter, Failed
from genaug.jobs.failures import explain
from genaug.parameters import SynthesisParameters
from genaug.processes import stop_with_input, tell
from genaug.progress import Reporter
from genaug.strict import Strict


class Claims:
    """Which network batches of a job a worker makes: the next one that no other worker has claimed.

    So a worker that starts late or is slow makes fewer. The claim is an empty file that only one process can create.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, batch: int) -> bool:
        """Claim the batch of that number; False when another worker has it."""
        try:
            (self._folder / str(batch)).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


class Share(Strict):
    """What a worker is told: the whole job, cases first to last, of which it makes what it claims."""

    package: Path
    output: Path
    parameters: SynthesisParameters
    first: int
    last: int
    claims: Path
    seed: int
    threads: int
    route: Literal["native", "onednn"]
    given: Cohort | None
    slabs: dict[str, Any] | None = None


class Made(Strict):
    """What a worker has made, by index."""

    cases: dict[int, Case]


def main() -> int:
    """Make cases of the share that is named on the command line; the exit code is 0 when no case of the job is left."""
    path = Path(sys.argv[1])
    stop = threading.Event()
    stop_with_input(stop)
    events = EventReporter(tell, stop=stop)
    try:
        made = _make(read_json(path, Share), events)
        write_json(path.parent / "made.json", made.model_dump(mode="json"))
        events.flush()
    except BaseException as error:
        traceback.print_exc()
        tell(Failed.of(explain(error, path, path.parent / "log.txt")))
        return 1
    return 0


def _make(share: Share, reporter: Reporter) -> Made:
    with collector_off():
        from genaug.convolution import following
        from genaug.devices import computing_threads
        from genaug.package import load_package
        from genaug.slabs import SlabPlan, disk_of, in_slabs
        from genaug.synthesis import make_cases

    plan = None if share.slabs is None else SlabPlan.model_validate(share.slabs)
    # One route for all workers: it settles how many cases a network batch has, and so which batch has which number.
    with computing_threads(share.threads), following(share.route), in_slabs(plan, disk_of(share.output)):
        package = load_package(share.package, "cpu")
        indices, claim = range(share.first, share.last + 1), Claims(share.claims)
        return Made(
            cases=make_cases(package, share.output, share.parameters, indices, share.seed, reporter, share.given, claim)
        )


if __name__ == "__main__":
    sys.exit(main())
