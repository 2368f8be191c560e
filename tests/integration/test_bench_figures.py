"""What the bench makes of what it measured, and which cases it has: without servers, and without a clock."""

import collections
import importlib
import os
import re
import subprocess
import sys
import types

import pytest

from mount import TOP
from procs import wait_for

sys.path.append(os.path.join(TOP, "bench"))

import cases_day  # noqa: E402
import cases_pool  # noqa: E402
import cases_registry  # noqa: E402
import contestants  # noqa: E402
import measure  # noqa: E402
import plots  # noqa: E402
import run  # noqa: E402
import table  # noqa: E402
import works  # noqa: E402
from suite import Case  # noqa: E402


class Nobody:
    """A contestant that does nothing; fault is how it ended."""

    def __init__(self, fault=""):
        self.root, self.fault = None, fault
        self.closed = 0

    def cpu(self):
        return 0.0

    def peak(self):
        return 0.0

    def close(self):
        self.closed += 1


def bench(quick=False, folder="/nowhere"):
    return types.SimpleNamespace(quick=quick, folder=str(folder), clear=lambda: None, cpu=lambda: {})


def rounds(tell, count, opener=Nobody, **more):
    """The results of a case whose work tells what tell() does."""
    case = Case("pool: it", {"scoutfs": opener}, lambda _: tell(), before=None, **more)
    return measure.summary(case, measure.measure(bench(), case, count))["results"]["scoutfs"]


def every_case(quick):
    return [case for suite in run.SUITES for case in importlib.import_module(suite).cases(bench(quick))]


def test_each_number_is_the_median_of_its_own():
    told = iter([{"value": 3, "p95": 5}, {"value": 1, "p95": 9}, {"value": 2, "p95": 7, "p99": 8}])
    ours = rounds(lambda: next(told), 3)
    assert ours["median"] == 2 and ours["more"] == {"p95": 7, "p99": 8}
    assert len(ours["spans"]) == 3 and all(began <= ended for began, ended in ours["spans"])


def test_words_are_said_once_if_all_rounds_agree():
    told = iter(["yes", "no", "yes", "yes"])
    assert rounds(lambda: {"verified": next(told)}, 2)["more"] == {"verified": "no/yes"}
    assert rounds(lambda: {"verified": next(told)}, 2)["more"] == {"verified": "yes"}


def test_a_case_is_told_in_one_line():
    told = iter([2, 10, 4, 8, 3, 9])
    case = Case("pool: it", {"scoutfs": Nobody, "sshfs": Nobody}, lambda _: {"value": next(told)}, before=None, unit="ms")
    found = measure.summary(case, measure.measure(bench(), case, 3))
    assert table.short_row(found) == "| pool: it | 3.00 ms (2.00 to 4.00) | sshfs 3.00 (2.67 to 3.33) |"
    found["results"]["sshfs"] = {"failed": "OSError: late"}
    assert table.short_row(found).endswith("| sshfs failed |")
    assert "| OSError: late |" in table.rows(found)[1]
    found["results"]["scoutfs"] = {"failed": "OSError: late"}
    assert table.short_row(found) == "| pool: it | failed | sshfs failed |"


@pytest.mark.parametrize("error", [subprocess.TimeoutExpired("rsync", 60), ValueError("no number"),
                                   subprocess.CalledProcessError(1, "cp"), TimeoutError("late")])
def test_one_that_fails_or_hangs_is_told_and_ends_nothing(error):
    def fail(*_):
        raise error
    name = type(error).__name__
    case = Case("pool: it", {"scoutfs": Nobody, "sshfs": (Nobody, fail)}, lambda _: None, before=None)
    found = measure.summary(case, measure.measure(bench(), case, 2))["results"]
    assert "median" in found["scoutfs"] and found["sshfs"]["failed"].startswith(name)
    assert rounds(dict, 1, prepare=fail)["failed"].startswith(name)


def test_an_end_that_is_a_fault_fails_the_round():
    nobody = Nobody("scoutfs had to be killed")
    assert rounds(dict, 3, lambda: nobody)["failed"] == "RuntimeError: scoutfs had to be killed"
    assert nobody.closed == 1


def test_who_fails_keeps_what_was_good_and_takes_no_further_part():
    def work(_):
        value = next(told)
        if not value:
            raise OSError("late")
        return {"value": value}

    told = iter([2, 10, 4, 12, 0, 11])  # scoutfs and sshfs in turn, scoutfs's third fails
    case = Case("pool: it", {"scoutfs": Nobody, "sshfs": Nobody}, work, before=None)
    found = measure.summary(case, measure.measure(bench(), case, 3))
    ours = found["results"]["scoutfs"]
    assert ours["values"] == [2, 4] and ours["failed"] == "OSError: late"
    assert found["results"]["sshfs"]["ratio"] == 11 / 3
    assert run.failures([found]) == [("scoutfs", "pool: it")]
    assert "3.00 s (2.00 to 4.00), then OSError: late |" in table.rows(found)[0]
    assert "| 3.00 s (2.00 to 4.00), then failed |" in table.short_row(found)


def test_scoutfs_alone_counts_as_scoutfs():
    failed = {"failed": "OSError"}
    cases = [{"name": "a", "results": {"scoutfs": {}, "sshfs, alone": failed}},
             {"name": "b", "results": {"scoutfs": {}, "scoutfs, alone": failed}}]
    assert run.failures(cases) == [("sshfs, alone", "a"), ("scoutfs, alone", "b")]
    assert [run.program(who) for who in ("sshfs, alone", "curl, 3 MiB", "rclone full")] == ["sshfs", "curl", "rclone"]


@pytest.mark.skipif(not contestants.TIME, reason="time is not installed")
def test_a_program_that_ends_at_once_has_its_own_memory_and_words():
    """Its memory is not Python's, and added up only of those that ran at once."""
    at_once, in_turn = contestants.Program(None), contestants.Program(None)
    for _ in range(3):
        at_once.start("true")
        in_turn.run("true")
    at_once.join(but=1)
    at_once.join()
    assert 0 < 2 * in_turn.peak() < at_once.peak() < 15
    in_turn.run(sys.executable, "-c", "x = b'x' * (1 << 27)")
    assert 128 < in_turn.peak() < 256
    with pytest.raises(RuntimeError, match="^sh: no$"):
        in_turn.run("sh", "-c", "printf no >&2; exit 3")


@pytest.mark.parametrize("status", [0, 1])
def test_how_scoutfs_ends_is_looked_at(tmp_path, status):
    """It is never mounted here, but a program that ends by itself."""
    c = contestants.Scoutfs(str(tmp_path), ["sh", "-c", f"exit {status}"], wait=False)
    wait_for(lambda: c.process.poll() is not None, 20, "sh")
    c.close()
    assert bool(c.fault) == bool(status)


def plotted(quick):
    """Every case that has a plot, as if it had been measured."""
    result = {"median": 1, "mb_per_s": 1, "samples": [1, 2]}
    return [{"name": case.name, "plot": case.plot, "moved": case.moved, "results": dict.fromkeys(case.contestants, result)}
            for case in every_case(quick) if case.plot]


@pytest.mark.parametrize("quick", [True, False])
def test_a_picture_has_few_lines_each_of_one_kind(quick):
    """A distribution is of one case alone; and at all distances the same number of bytes is read."""
    points, cases = collections.Counter(), plotted(quick)
    for case in cases:
        kind, x, *rest = case["plot"]
        assert kind in plots.PLOTS and len(rest) <= 1, case["name"]
        points[kind, None if kind in plots.DISTRIBUTIONS else x, *rest] += 1
    assert max(points.values()) == 1, points
    assert len({case["moved"] for case in cases if case["plot"][0] == "throughput"}) == 1
    for drawn, lines in plots.figures(cases).items():
        assert len(lines) <= 12, drawn
        looks = {len({line.split(", ")[0] for line in lines}), len({line.partition(", ")[2] for line in lines})}
        assert max(looks) <= plots.COLOURS and min(looks) <= len(plots.STYLES), drawn
        assert len(lines) > 1 or quick, drawn


def test_all_pictures_are_drawn_beside_their_legends(tmp_path, monkeypatch):
    figure = pytest.importorskip("matplotlib.figure").Figure
    saved, save = [], figure.savefig
    monkeypatch.setattr(figure, "savefig", lambda it, *args, **more: (save(it, *args, **more), saved.append(it)))
    cases = plotted(False)
    paths = plots.draw(cases, str(tmp_path / "run"))
    assert sorted(paths) == sorted(str(path) for path in tmp_path.iterdir())
    assert str(tmp_path / "run-latency-cat-rtt-50.svg") in paths
    drawn = plots.figures(cases)
    assert len(paths) == len(saved) == len(drawn)
    for it, lines in zip(saved, drawn.values()):
        axes = it.axes[0]
        legend = axes.get_legend()
        assert [text.get_text() for text in legend.get_texts()] == list(lines)
        assert legend.get_window_extent().x0 > axes.get_window_extent().x1
        assert legend.get_window_extent().y0 > axes.get_window_extent().y0


def test_a_distribution_goes_up_once():
    def case(kind, *samples):
        results = {"scoutfs": {"samples": samples}}
        return {"plot": next(one.plot for one in every_case(False) if one.plot and one.name == kind), "results": results}
    found = plots.figures([case("pool: stat of one file after the other", 1, 2, 3),
                           case("pool: stat of one file after the other, rtt 50", 51, 52)])
    assert found == {("latency", "stat"): {"scoutfs": [(1, 1 / 3), (2, 2 / 3), (3, 1)]},
                     ("latency", "stat, rtt 50"): {"scoutfs": [(51, 1 / 2), (52, 1)]}}


@pytest.mark.parametrize("missing", [None, "small500", "tree200-40", "turn40", "n0-git"])
def test_a_command_that_fails_on_nine_hosts_is_a_failure(tmp_path, missing):
    """As when one of the folders is not there."""
    words = re.findall(r"\b(small500|tree200-40|turn40)\b", cases_day.EVERYTHING)
    for name in {*words, "new"} - {missing}:
        os.makedirs(tmp_path / name)
        (tmp_path / name / "f").write_text("line 7 of it\n")
    if missing != "n0-git":
        subprocess.run(["git", "init", "-q", tmp_path / "new" / "n0-git"], check=True)
    script = cases_day.EVERYTHING.replace("ROOT", str(tmp_path)).replace("NAME", "n0")
    done = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, timeout=60, check=False,
                          env={**os.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path)})
    assert (done.returncode != 0) == bool(missing), done.stderr


def test_a_bulk_reader_that_fails_is_a_failure(tmp_path):
    """There are folders for ls, but no file for the four."""
    case = cases_day.while_reading(bench(True), 0)
    for i in range(10):
        os.makedirs(tmp_path / "tree200-40" / f"d{i:03}")
    with pytest.raises(RuntimeError, match="dd"):
        case.work(types.SimpleNamespace(root=str(tmp_path)))
    works.reap()


def test_a_share_is_of_the_most_connections_that_were_open():
    seen = []

    def metric(_):
        seen.append(len(seen) + 2 if len(seen) < 2 else 1)
        return seen[-1]

    c = types.SimpleNamespace(metric=metric)
    found = cases_registry.and_connections(lambda _: wait_for(lambda: len(seen) > 2, 20, "looks"), 10**9)(c)
    assert found["connections"] == 3
    assert found["share of their 60 MB/s"] == round(10**9 / found["seconds"] / (3 * 60_000_000), 3)


def test_a_figure_that_is_not_what_the_case_is_about_is_a_failure():
    cases_pool.demand({"connects": 1.0, "more": 7.0}, {"connects": 1})
    with pytest.raises(RuntimeError, match="connects: 2, not 1"):
        cases_pool.demand({"connects": 2.0}, {"connects": 1})
