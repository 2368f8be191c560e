"""Many hosts: the first touch of all of them, what their sessions hold of memory, and a black hole among them."""

import concurrent.futures
import functools
import os
import subprocess
import sys

import contestants
import works
from procs import signal_all
from suite import SMALL, Case, at


def cases(b):
    for rtt in (50,) if b.quick else (0, 50, 200):
        for count in (10,) if b.quick else (1, 10, 100):
            yield first_touch(b, count, rtt)
    yield first_crowd(b)
    for count in (10,) if b.quick else (1, 10, 100):
        yield memory(b, count)
    yield beside_a_black_hole(b)


def mounting(b, opener, rtt, count):
    """A peer connects when it mounts: so its mounting is in its time, all at once."""
    return lambda: contestants.Many([lambda: opener(b, b.ssh_port(rtt), wait=False)] * count)


def mounted(c):
    if isinstance(c, contestants.Many):
        c.start()
    return c


def first_touch(b, count, rtt):
    def ours(hosts):
        return lambda: contestants.scoutfs(b, b.ssh_port(rtt), hosts=hosts, root=("hosts",))

    who = {"scoutfs": ours(count)}
    for name, opener in {**contestants.mounts_of_hosts(b), "rclone": contestants.rclone_sftp}.items():
        who[name] = mounting(b, opener, rtt, count)
    if count > 1:
        who["scoutfs, 1 host"] = ours(1), lambda c: contestants.touch(contestants.roots(c, 1))
    hosts = f"{count} hosts" if count > 1 else "1 host"
    return Case(f"host: first touch of {hosts}{at(rtt)}", who,
                lambda c: contestants.touch(contestants.roots(mounted(c), count)), before=None,
                prepare=lambda: b.sshd, plot=("hosts", count, f"rtt {rtt}"),
                target={"scoutfs, 1 host": 0.5} if rtt == 50 and count == 100 else {})


def first_crowd(b):
    """A hundred who look at files of their own, of a host that nobody has asked for anything yet."""
    def work(c):
        root = contestants.roots(mounted(c), 1)[0]
        with concurrent.futures.ThreadPoolExecutor(100) as pool:
            list(pool.map(lambda i: os.stat(f"{root}/crowd/f{i:05}"), range(100)))

    who = {"scoutfs": lambda: contestants.scoutfs(b, b.sshd.port, root=("hosts",))}
    who.update({name: mounting(b, opener, 0, 1) for name, opener in contestants.mounts_of_hosts(b).items()})
    return Case("host: first touch of 1 host by 100 at once", who, work, before=None,
                prepare=lambda: b.make_many("crowd", 100, SMALL))


def memory(b, count):
    """Resident memory of all processes; that which they share counted once is PSS."""
    def held(c):
        rss, pss = c.held()
        return {"value": rss, "PSS": pss}

    return Case(f"host: memory of {count} session{'s' if count > 1 else ''} to as many hosts",
                contestants.of_many_hosts(b, count), held,
                before=lambda c: contestants.touch(contestants.roots(c, count)), prepare=lambda: b.sshd, unit="MiB",
                target={"sshfs": 10} if count == 100 else {}, plot=("memory", count))


HANG = """
import itertools, os, sys
for i in itertools.count():
    try:
        os.stat(f"{sys.argv[1]}/{sys.argv[2]}-{i}")
    except OSError:
        pass
"""


class Hole:
    """A host that answered and then does no more, with 16 processes at it, for whatever is measured meanwhile."""

    def __init__(self, link, root):
        self.link = link
        os.stat(f"{root}/new")  # its session is up
        link.freeze()
        self.processes = [subprocess.Popen([sys.executable, "-S", "-c", HANG, root, str(i)],
                                           stdin=subprocess.DEVNULL, start_new_session=True)
                          for i in range(16)]

    def close(self):
        self.link.thaw()
        signal_all([process.pid for process in self.processes], 9)
        for process in self.processes:
            process.wait()


def with_hole(opener, link, root, others=()):
    """The contestant, which ends the hole with itself; root(contestant) is where the black host is."""
    def open_it():
        c = opener()
        try:
            hole = Hole(link(), root(c))
        except BaseException:
            c.close()
            raise
        close = c.close

        def close_all():
            hole.close()
            for other in others:
                other(c)
            close()
        c.close = close_all
        return c
    return open_it


def beside_a_black_hole(b):
    count = 500 if b.quick else 2000

    def link():
        b.ssh_port(0.0, name="black")  # known_hosts learns of it
        return b.link(b.sshd.port, 0.0, name="black")

    def ours():
        return contestants.scoutfs(b, b.sshd.port, root=("hosts", "web1"), black=link().port)

    def theirs(opener):
        c = opener(b, b.sshd.port)
        c.black = opener(b, link().port)
        return c

    def alone(opener):
        return lambda: opener(b, b.sshd.port)

    who = {"scoutfs": with_hole(ours, link, lambda c: f"{c.point}/hosts/black"), "scoutfs, alone": ours}
    for name, opener in contestants.mounts_of_hosts(b).items():
        who[name] = with_hole(functools.partial(theirs, opener), link, lambda c: c.black.root,
                              [lambda c: c.black.close()])
        who[f"{name}, alone"] = alone(opener)
    return Case("host: p95 of cat while another host is a black hole", who,
                works.each_read(f"small{count}", count, 4096, p95=True), unit="ms",
                prepare=lambda: b.make_many(f"small{count}", count, 4096), target={"scoutfs, alone": 1 / 1.2},
                plot=("black-hole", None))
