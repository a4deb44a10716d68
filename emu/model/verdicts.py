"""The verdicts on a run, and what else its last screen says: what each word means."""

from __future__ import annotations

from typing import Final

PASSED: Final = "passed"
FAILED: Final = "failed"
UNTRUSTED: Final = "untrusted"
UNKNOWN: Final = "unknown"
VERDICTS: Final = {
    PASSED: "Everything that was expected was seen.",
    FAILED: "Not everything that was expected was seen: something must not be, or was missed.",
    UNTRUSTED: "All was as expected, but this computer was too busy to be believed: what was "
    "measured may be its doing, not the site's.",
    UNKNOWN: "Nothing that was expected was missed, but the run was ended before all of it was "
    "measured, or was too short to judge it by.",
}
"""What each verdict means."""
WORDS: Final = {
    "errors": "Requests (of clients: operations) that failed with all their retries, that nobody "
    "knows the outcome of, or that were not even sent.",
    "availability": "The share of the requests that were answered well.",
    "acknowledged writes": "Those that clients were told to be done; all are read back at the end.",
    "lost": "Acknowledged, and not there at the end.",
    "trusted": "This computer kept up: what was measured is the site's doing. A verdict other than "
    "`untrusted` is trusted.",
    "loop lag": "How late emu itself came to a timer that was due, in 99 of 100 cases (p99): all "
    "nodes share its loop, so beyond 5 ms no time that was measured means much.",
    "withheld": "Time in which this computer did not let emu run: the cluster's time stood still.",
    "held": "What was expected was seen.",
    "p50": "Half of them took no longer than that (the median).",
    "p99": "99 of 100 took no longer than that.",
    "outage": "The longest time from one success to the next with failures between.",
    "anomalies": "What clients saw and no correct site could have shown them.",
}
"""What else is on the last screen of a run."""
