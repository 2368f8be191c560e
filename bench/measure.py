"""Rounds: opens the contestants of a case in turn, lets them work, and keeps what it took."""

import statistics
import subprocess
import time

from botocore.exceptions import BotoCoreError, ClientError

import process_table
import works

FAILURES = (RuntimeError, OSError, ValueError, subprocess.SubprocessError, BotoCoreError, ClientError)
KEPT = ("value", "seconds", "cpu_s", "peak_mib")  # by names of their own; what else a work tells is "more"


def once(b, case, opener):
    """One round of one contestant, or of its own work: {"value", "span" (by the monotonic clock), "cpu_s",
    "peak_mib", "servers_cpu_s", …}."""
    opener, work = opener if isinstance(opener, tuple) else (opener, case.work)
    b.clear()
    contestant = opener()
    try:
        if case.before:
            case.before(contestant)
        servers, used = b.cpu(), contestant.cpu()
        start = time.monotonic()
        told = work(contestant) or {}
        seconds = time.monotonic() - start
        after = b.cpu()
        found = {"value": seconds, "seconds": seconds, **told, "span": [start, start + seconds],
                 "cpu_s": contestant.cpu() - used, "peak_mib": contestant.peak(),
                 "servers_cpu_s": {name: after[name] - servers.get(name, 0) for name in after}}
    finally:
        contestant.close()
        works.reap()
        process_table.bury()
    if contestant.fault:
        raise RuntimeError(contestant.fault)
    return found


def measure(b, case, rounds):
    """{contestant: ([what once() returned…], why there is no more of it, or "")}. Whoever fails takes no further part."""
    try:
        if case.prepare:
            case.prepare()
    except FAILURES as e:
        return dict.fromkeys(case.contestants, ([], failure(e)))
    found = {who: ([], "") for who in case.contestants}
    for _ in range(rounds):
        for who, opener in case.contestants.items():
            runs, fault = found[who]
            if fault:
                continue
            try:
                runs.append(once(b, case, opener))
            except FAILURES as e:
                found[who] = runs, failure(e)
    return found


def failure(error):
    return f"{type(error).__name__}: {error}"


def more(runs):
    """Each number that a work told beside what is measured: its own median of all rounds. Words: all that came."""
    found = {}
    for name in dict.fromkeys(name for run in runs for name in run):
        values = [run[name] for run in runs if name in run]
        if name in KEPT or not all(isinstance(value, (str, int, float)) for value in values):
            continue
        words = any(isinstance(value, str) for value in values)
        found[name] = "/".join(sorted({str(value) for value in values})) if words else statistics.median(values)
    return found


def summary(case, found):
    """The case as JSON has it, and as the table and the plots read it."""
    results = {}
    for who, (runs, fault) in found.items():
        results[who] = {"failed": fault} if fault else {}
        if not runs:
            continue
        values = [run["value"] for run in runs]
        cpu = statistics.median(run["cpu_s"] for run in runs)
        results[who].update({
            "median": statistics.median(values), "least": min(values), "most": max(values), "values": values,
            "cpu_s": cpu, "peak_mib": statistics.median(run["peak_mib"] for run in runs),
            "servers_cpu_s": {name: statistics.median(run["servers_cpu_s"].get(name, 0) for run in runs)
                              for name in runs[0]["servers_cpu_s"]},
            "more": more(runs), "spans": [run["span"] for run in runs],
            "samples": [sample for run in runs for sample in run.get("samples", ())]})
        if case.moved:
            seconds = statistics.median(run["seconds"] for run in runs)
            results[who].update(mb_per_s=case.moved / 1e6 / seconds, cpu_s_per_gb=cpu / (case.moved / 1e9))
    ours = results.get("scoutfs", {}).get("median")
    for result in results.values():
        if ours and "median" in result:
            result["ratio"] = result["median"] / ours
    return {"name": case.name, "unit": case.unit, "moved": case.moved, "note": case.note,
            "target": case.target, "plot": case.plot, "results": results}
