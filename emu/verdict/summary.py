"""What a run amounts to: the clients' numbers, anomalies, fidelity, expectations, a verdict.

Pure: it is handed what was measured. The keys are a contract for scripts (see the README).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from emu.model.expectations import Expected, evaluate, missed
from emu.model.verdicts import FAILED, PASSED, UNKNOWN, UNTRUSTED
from nodes.parts.histogram import LogHistogram

MAX_SHOWN_LOST: Final = 100
LOST: Final = "lost_acknowledged_writes"
OF_WRITES: Final = (LOST, "duplicated_writes")
UNTOLD: Final = "not known before the end"
"""What an expectation says that was not measured yet, in a run that was not ended in order."""
MAX_REASONS: Final = 5


def summarize(
    *,
    name: str,
    nodes: int,
    ready_s: float,
    ran_s: float,
    clients: Sequence[Mapping[str, Any]],
    fidelity: Mapping[str, Any],
    expectations: Iterable[Expected],
    failover_s: float | None = None,
    divergent_records: int = 0,
    faults: Sequence[Mapping[str, Any]] = (),
    anomalies: Sequence[Mapping[str, Any]] = (),
    permitted_anomalies: int = 0,
    judged: Sequence[Mapping[str, Any]] = (),
    lost: Sequence[Mapping[str, Any]] = (),
    undecided: Sequence[str] = (),
    sample: float = 1.0,
    not_run: Sequence[str] = (),
    alerts: Sequence[Mapping[str, Any]] | None = None,
    by_hand: Sequence[str] = (),
    complete: bool = True,
) -> dict[str, Any]:
    """One object for a run. `clients`: what each clients node's `finish` (or `summary`) answered,
    with its `tier` and `region`; `judged`: what came of each history; `lost`: the acknowledged
    writes that those lack; `not_run`: what the file's own timeline asked for and did not get;
    `alerts`: every firing (None: nobody looked); `by_hand`: what was changed beside the clients.

    In a `complete` run what was not measured counts as failed; in others it is unknown (`held` is
    None).
    """
    requests = sum(int(each.get("requests", 0)) for each in clients)
    failures = sum(int(each.get("errors", 0)) for each in clients)
    summary: dict[str, Any] = {
        "name": name,
        "nodes": nodes,
        "ready_s": round(ready_s, 3),
        "ran_s": round(ran_s, 3),
        "requests": requests,
        "errors": failures,
        "errors_by_code": _added(each.get("reasons", {}) for each in clients),
        "availability": round(1 - failures / requests, 6) if requests else None,
        "throughput_per_s": round(requests / ran_s, 1) if ran_s else 0.0,
        "latency_s": _latency(clients),
        "by_clients": list(_by_clients(clients)),
        **_writes(clients, judged, lost),
        "counted": _counted(judged),
        "divergent_records": divergent_records,
        "failover_s": _rounded(failover_s),
        "outage_s": _rounded(max((each.get("outage_s") or 0.0 for each in clients), default=0.0)),
        "loop_lag_s": fidelity["loop_lag_s"],
        "trustworthy": fidelity["trustworthy"],
        "reasons": fidelity["reasons"],
        "faults": [dict(each) for each in faults],
        "anomalies": [dict(each) for each in anomalies],
        "permitted_anomalies": permitted_anomalies,
        "judged": [dict(each) for each in judged],
        "undecided": list(undecided),
        "sample": sample,
        "not_run": list(not_run),
        "written_by_hand": list(by_hand),
        "alerts": None if alerts is None else [dict(each) for each in alerts],
    }
    summary["expectations"] = _expected(expectations, summary, complete)
    held = [each["held"] for each in summary["expectations"]]
    checked = False if anomalies else None if undecided else True
    summary["verdict"] = _verdict([*held, checked], summary["trustworthy"])
    summary["why"] = list(_why(summary, complete))
    return summary


def _expected(
    expectations: Iterable[Expected], summary: Mapping[str, Any], complete: bool
) -> list[dict[str, Any]]:
    judged, by_hand = evaluate(expectations, summary), summary["written_by_hand"]
    for each in judged:
        if each["actual"] is None and not complete:
            each["held"], each["told"] = None, UNTOLD
        elif each["held"] is False and by_hand and each["text"].startswith(OF_WRITES):
            each["held"] = None
            each["told"] += f", and beside the clients there was {', '.join(by_hand)}"
    return judged


def _by_clients(clients: Sequence[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    """Each population of clients in each region, what it read and what it wrote apart."""
    found: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for each in clients:
        for effect, part in each.get("by_effect", {}).items():
            found.setdefault((each["tier"], each["region"], effect), []).append(part)
    for (tier, region, effect), parts in found.items():
        yield {
            "clients": tier,
            "region": region,
            "effect": effect,
            "requests": sum(part["requests"] for part in parts),
            "errors": sum(part["errors"] for part in parts),
            "latency_s": _latency(parts),
        }


def _latency(parts: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Percentiles of all of them together."""
    latency = LogHistogram()
    for each in parts:
        if each.get("latency_wire"):
            latency.merge(LogHistogram.from_wire(each["latency_wire"]))
    return {"p50": _rounded(latency.quantile(0.5)), "p99": _rounded(latency.quantile(0.99))}


def _why(summary: Mapping[str, Any], complete: bool) -> Iterable[str]:
    """What the verdict rests on, where that is not plain: a reason each, the gravest first."""
    verdict, anomalies = summary["verdict"], summary["anomalies"]
    if verdict == FAILED:
        yield from (f"{each['kind']}: {each['text']}" for each in anomalies[:MAX_REASONS])
        if len(anomalies) > MAX_REASONS:
            yield f"and {len(anomalies) - MAX_REASONS} more anomalies"
    for each in summary["expectations"]:
        if each["held"] is False:
            yield missed(each)
    if verdict == UNKNOWN:
        if not complete:
            yield "the run was not judged to its end"
        for each in summary["expectations"]:
            if each["held"] is None and each["told"] != UNTOLD:
                yield f"{each['text']}: {each['told']}"
    if verdict in (FAILED, UNKNOWN):
        yield from summary["undecided"]
    if verdict == UNTRUSTED:
        yield from summary["reasons"]
    spoken_of = any(each["text"].startswith(LOST) for each in summary["expectations"])
    if verdict == PASSED and summary[LOST] and summary["written_by_hand"]:
        yield f"what is lost may be the doing of {', '.join(summary['written_by_hand'])}"
    elif verdict == PASSED and summary[LOST] and not spoken_of:
        yield (
            "nothing forbids the lost writes: what was asked for may lose them (`ack`), and no "
            "`expect:` speaks of them (`- lost_acknowledged_writes == 0`)"
        )


def _writes(
    clients: Sequence[Mapping[str, Any]],
    judged: Sequence[Mapping[str, Any]],
    lost: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """What became of the writes: of users as they say, of other clients as their histories say."""
    counted = [
        *clients,
        *(each for each in judged if each["lost"] is not None and not each["counts_itself"]),
    ]
    return {
        "acknowledged_writes": sum(int(each.get("acknowledged", 0)) for each in counted),
        "lost_acknowledged_writes": _sum_known(each.get("lost") for each in counted),
        "lost_writes": [dict(each) for each in lost[:MAX_SHOWN_LOST]],
        "duplicated_writes": _sum_known(each.get("duplicated") for each in clients),
    }


def _counted(judged: Sequence[Mapping[str, Any]]) -> dict[str, int | None]:
    """What the models of kinds count, by their own words."""
    names = dict.fromkeys(name for each in judged for name in each["counted"])
    return {name: _sum_known(each["counted"].get(name) for each in judged) for name in names}


def _verdict(held: Sequence[bool | None], trustworthy: bool) -> str:
    if False in held:
        return FAILED
    if None in held:
        return UNKNOWN
    return PASSED if trustworthy else UNTRUSTED


def _sum_known(values: Iterable[Any]) -> int | None:
    """None where nobody could tell: an unknown loss is not zero."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _added(maps: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in maps:
        for key, value in each.items():
            total[key] = total.get(key, 0) + value
    return dict(sorted(total.items()))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
