"""One worker of a synthesis: `python -m genaug.synthesis_share SHARE`, started by `synthesis_workers` only."""

from __future__ import annotations

import sys
import threading
import traceback
from pathlib import Path
from typing import Any

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


class Share(Strict):
    """What one worker does: `parameters` as they are for the whole job, of which it makes the cases first to last."""

    package: Path
    output: Path
    parameters: SynthesisParameters
    first: int
    last: int
    seed: int
    threads: int
    given: Cohort | None
    slabs: dict[str, Any] | None = None


class Made(Strict):
    """What one worker has made."""

    cases: list[Case]


def main() -> int:
    """Make the cases of the share that is named on the command line; the exit code is 0 when all are there."""
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
        from genaug.devices import computing_threads
        from genaug.package import load_package
        from genaug.slabs import SlabPlan, disk_of, in_slabs
        from genaug.synthesis import make_cases

    plan = None if share.slabs is None else SlabPlan.model_validate(share.slabs)
    with computing_threads(share.threads), in_slabs(plan, disk_of(share.output)):
        package = load_package(share.package, "cpu")
        indices = range(share.first, share.last + 1)
        return Made(
            cases=make_cases(package, share.output, share.parameters, indices, share.seed, reporter, share.given)
        )


if __name__ == "__main__":
    sys.exit(main())
