"""What a case is, and how a suite adds its cases.

A suite is a module cases_<word>.py, named in run.py's SUITES, with one function:

    def cases(b):
        yield Case("host: read 1024 MiB, rtt 50", contestants.hosts(b, rtt=50), works.read("1024m"),
                   prepare=lambda: b.make_file("1024m", 1024), moved=1 << 30,
                   target={"sshfs": 35}, plot=("throughput", 50))

b (servers.py) has the servers, which start when they are first asked for: so cases(b) itself asks for none,
but in the functions that it passes on. b.quick asks for fewer cases and for smaller sizes (QUICK=1).

What is measured is less the better. Without more words it is the time that work(contestant) takes, in
seconds. A work that measures something else (a Case with unit="ms", "ns", "MiB"…) or in another way
returns a dict: its "value" is what is measured, "samples" is a list for plots of distributions, and
whatever else it names is kept in the JSON and shown in the table if it is a word or a number.
A work that fails raises; that is shown, too, and of scoutfs it makes the run fail.

Every round opens each contestant afresh (contestants.py), so that nothing is cached; then `before` runs,
which by default makes a connection, then the clock. CPU and memory are those of the contestant's
processes, whatever it measures.
"""

import os

SMALL = 4096  # bytes of a small file of a host


def at(rtt):
    """How a case's name ends."""
    return f", rtt {rtt}" if rtt else ""


def connect(contestant):
    """Who connects when first asked does so now, as the others have done before; and who has several
    connections makes them, for files that are open at once."""
    files = []
    try:
        for i in range(4 if contestant.root else 0):
            files.append(os.open(f"{contestant.root}/warm{i}", os.O_RDONLY))
    except FileNotFoundError:
        pass  # the registry has none; but it was asked
    finally:
        for file in files:
            os.close(file)


class Case:
    def __init__(self, name, contestants, work, *, prepare=None, before=connect, unit="s", moved=0,
                 target=None, plot=None, note=""):
        self.name = name                # "host: …", "models: …", "pool: …": ONLY=word looks for it here
        self.contestants = contestants  # {name: open, or (open, work)}; in turn, "scoutfs" first
        self.work = work                # work(contestant), unless the contestant has its own
        self.prepare = prepare          # once, before the first round
        self.before = before            # before(contestant): after open, not measured
        self.unit = unit                # of what is measured
        self.moved = moved              # bytes, for MB/s and CPU per GB
        self.target = target or {}      # {contestant: its value over scoutfs's, at least}
        self.plot = plot                # (a key of plots.PLOTS, x) or (…, x, what a picture of its own is called)
        self.note = note                # what the reader of the table has to know
