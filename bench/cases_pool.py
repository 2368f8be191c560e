"""The pool of hosts: in nanoseconds what costs no network (scoutfs-bench-pool drives the backend in one process,
without FUSE), connects of one host and of many, lost and idle sessions, memory, single operations beside the
network's own time, load at fixed rates; and through mounts what a user sees of it."""

import json
import os
import statistics
import subprocess
import tempfile
import time

import contestants
from contestants import Program
from procs import end, family, signal_all
from suite import Case, at

MIB = 1 << 20
SMALL, FILES = "pool", 5000  # the folder of small files; '#' is a number for scoutfs-bench-pool
FILE = ("-f", f"{SMALL}/#", "-F", FILES, "-l", "few")
CLOSED = 'sessions closed'


def cases(b):
    yield from local(b)
    yield from cold(b)
    yield from sessions(b)
    yield from operations(b)
    yield from load(b)


# the program

def prepare(b):
    files = b.sshd.files
    if os.path.exists(os.path.join(files, "few")):
        return
    for folder, count, size in ((SMALL, FILES, 4096), ("few", 20, 1)):
        os.mkdir(os.path.join(files, folder))
        for i in range(count):
            with open(os.path.join(files, folder, str(i)), "wb") as f:
                f.write(b"x" * size)
    b.make_file("1m", 1)


def ini(b, hosts=1, rtt=0, more="", black=None):
    """A scoutfs.ini of so many names of the host, web1 and on; "black" is a black hole."""
    port = b.ssh_port(rtt)
    path = os.path.join(b.make_folder("pool"), "scoutfs.ini")
    section = b.sshd.ini(port)
    lines = [f"[hosts]\nssh_config =\nknown_hosts = {b.known_hosts}\nmax_sessions = {max(100, hosts)}\n{more}\n"]
    lines += [section.replace("web1]", f"web{i}]") for i in range(1, hosts + 1)]
    if black:
        lines.append(b.sshd.ini(black).replace("web1]", "black]"))
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as f:
        f.write("".join(lines))
    return path


def ssh_config_ini(b, hosts):
    """One whose hosts are those of an ssh_config."""
    folder = b.make_folder("pool")
    with open(os.path.join(folder, "ssh_config"), "w", encoding="utf-8") as f:
        for i in range(hosts):
            f.write(f"Host web{i:05}\n  HostName 10.0.{i // 256}.{i % 256}\n  Port 22\n  User deploy\n"
                    f"  IdentityFile ~/.ssh/id_web{i}\n\n")
    path = os.path.join(folder, "scoutfs.ini")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as f:
        f.write(f"[hosts]\nssh_config = {folder}/ssh_config\n")
    return path


def measured(b, c, *words):
    """Runs scoutfs-bench-pool as c's program, or beside c's; {name of a series: it}, figures."""
    command = [os.path.join(b.builds, "scoutfs-bench-pool"), *map(str, words)]
    with tempfile.TemporaryFile("w+") as out:
        if isinstance(c, Program):
            c.run(*command, stdout=out)
        else:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, text=True,
                                  timeout=contestants.LIMIT, check=False)
            if done.returncode:
                raise RuntimeError(done.stderr[-300:])
        out.seek(0)
        found = json.loads(out.read())
    return {one["name"]: one for one in found["series"]}, found["figures"]


SCALE = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}


def told(series, unit, value="median", **more):
    """What a work returns, of a series of ns."""
    by = SCALE[unit]
    found = {f"{name} {unit}": round(series[name] / by, 3) for name in ("median", "p95", "p99")
             if name != value}
    return {"value": series[value] / by, "samples": [one / by for one in series["samples"]], **found, **more}


def alone(b):
    return lambda: Program(b)


def case(b, name, words, get, unit, **more):
    """A case of the program alone. words(): its arguments; get(series, figures): what the work returns."""
    def work(c):
        return get(*measured(b, c, *words()))
    return Case("pool: " + name, {"scoutfs": alone(b)}, work, prepare=lambda: prepare(b), before=None, unit=unit,
                **more)


# the suite

def local(b):
    count = 100 if b.quick else 1000
    for name in ("short path", "305 bytes", "no such host", "longer than PATH_MAX"):
        yield case(b, f"path to its host, {name}", lambda: ("route", "-n", count, ini(b)),
                   lambda s, _, name=name: told(s[name], "ns"), "ns")
    for name in ("alone", "64 at once"):
        yield case(b, f"a request to a session that is up, {name}",
                   lambda: ("acquire", *FILE, "-n", 20 * count, ini(b)),
                   lambda s, _, name=name: told(s[name], "ns"), "ns")
    for hosts in (100, 10000) if b.quick else (100, 1000, 10000):
        def words(what, hosts=hosts):
            return (what, "-n", 20, "-r", 5, ssh_config_ini(b, hosts))
        yield case(b, f"reading an ssh_config of {hosts:,} hosts", lambda words=words: words("config"),
                   lambda s, f: told(s["load"], "ms", hosts=f["hosts"]), "ms")
        yield case(b, f"one of {hosts:,} hosts by its name", lambda words=words: words("config"),
                   lambda s, _: told(s["find a host"], "ns"), "ns")
        yield case(b, f"ls of {hosts:,} hosts, none connected", lambda words=words: words("list"),
                   lambda s, _: told(s["listing of hosts"], "ms"), "ms")


def burst(series, figures):
    """Requests for a host that is being connected to wait for that one connect."""
    demand(figures, {"connects a round": 1, "failed connects": 0})
    return told(series["all"], "ms", **{"p95 of each ms": round(series["each"]["p95"] / 1e6, 3),
                                        "p99 of each ms": round(series["each"]["p99"] / 1e6, 3),
                                        "stats/s": round(series["throughput"]["median"]),
                                        "connects": figures["connects a round"]})


def demand(figures, wanted):
    """RuntimeError unless these are so: then it is no time of what the case is about."""
    wrong = [f"{name}: {figures[name]:g}, not {value}" for name, value in wanted.items() if figures[name] != value]
    if wrong:
        raise RuntimeError("; ".join(wrong))


def cold(b):
    rounds = 3 if b.quick else 10
    rtts = (0,) if b.quick else (0, 50, 200)
    for rtt in rtts:
        connect = case(b, f"first stat of a host{at(rtt)}",
                       lambda rtt=rtt: ("connect", *FILE, "-r", rounds, ini(b, rtt=rtt)),
                       lambda s, _: told(s["all"], "ms"), "ms")

        def ssh(program, rtt=rtt):
            words, port = contestants.ssh_words(b, rtt)
            program.run("ssh", "-p", port, *words, f"{b.sshd.user}@127.0.0.1", "true")
        connect.contestants["ssh true"] = (alone(b), in_ms(ssh))
        yield connect
    yield case(b, "100 first stats of one host at once",
               lambda: ("burst", *FILE, "-n", 100, "-r", rounds, ini(b)),
               burst, "ms")
    for rtt in rtts:
        for hosts in (10, 100):
            yield Case(f"pool: {hosts} hosts at once{at(rtt)}", {"scoutfs": alone(b)},
                       lambda c, hosts=hosts, rtt=rtt: many_hosts(b, c, hosts, rtt), before=None,
                       prepare=lambda: prepare(b), unit="ms")


def in_ms(work):
    """The same work for a case of ms."""
    def timed(c):
        start = time.monotonic()
        work(c)
        return {"value": (time.monotonic() - start) * 1e3}
    return timed


def many_hosts(b, c, hosts, rtt):
    one, _ = measured(b, c, "hosts", *FILE, "-r", 3, ini(b, 1, rtt))
    before = b.cpu()["sshd"]
    many, figures = measured(b, c, "hosts", *FILE, "-r", 1, ini(b, hosts, rtt))
    demand(figures, {"connects a round": hosts, "failed connects": 0})
    spent = b.cpu()["sshd"] - before
    times = many["all"]["median"] / one["all"]["median"]
    return told(many["all"], "ms", **{"times one host's": round(times, 2), "p95 of each ms": round(
        many["each"]["p95"] / 1e6, 1), "sshd CPU ms a host": round(spent * 1000 / hosts, 1),
        "failed connects": figures["failed connects"]})


def sessions(b):
    hosts = 20 if b.quick else 100
    yield Case("pool: a stat whose session was cut", {"scoutfs": alone(b)}, lambda c: stale(b, c), before=None,
               prepare=lambda: prepare(b), unit="ms")
    who = {**contestants.hosts(b, with_rclone=not b.quick),
           "sshfs": lambda: contestants.sshfs(b, b.sshd.port, "-o", "reconnect")}
    who.pop("sshfs tuned", None)
    yield Case("pool: a cat whose session was cut", who, lambda c: cut(b, c), prepare=lambda: prepare(b), unit="ms",
               note="sshfs with -o reconnect")
    yield Case(f"pool: the slowest stat of a host while {hosts - 1} sessions fall idle", {"scoutfs": alone(b)},
               lambda c: swept(b, c, hosts), before=None, prepare=lambda: prepare(b), unit="ms")
    yield Case("pool: p95 of a host beside a black hole", {"scoutfs": alone(b)}, lambda c: beside(b, c), before=None,
               prepare=lambda: prepare(b), unit="ms")
    for count in (1, 10, 100):
        if not b.quick or count < 100:
            memory = case(b, f"memory for {count} sessions", lambda count=count: ("memory", *FILE, ini(b, count)),
                          lambda _, f: {"value": (f["bytes connected"] - f["bytes before"]) / MIB,
                                        "KiB a session": round(f["bytes a session"] / 1024),
                                        "KiB of heap": round(f["heap bytes a session"] / 1024),
                                        "MiB in all": round(f["bytes connected"] / MIB, 1)}, "MiB")
            yield memory
    yield growth(b, 10000 if b.quick else 100000)


def growth(b, count):
    """Resident memory after so many operations; and what it has grown by since the first tenth of them."""
    def by_mount(c):
        measured(b, c, "growth", *FILE, "-n", count // 10, *of_a_mount(c))
        first = c.held()[0]
        measured(b, c, "growth", *FILE, "-n", count - count // 10, *of_a_mount(c))
        return {"value": c.held()[0], "grown MiB": round(c.held()[0] - first, 3)}

    def by_program(c):
        series, figures = measured(b, c, "growth", *FILE, "-n", count, ini(b))
        return {"value": series["resident after each tenth"]["max"] / MIB,
                "grown MiB": round(figures["bytes grown after the first tenth"] / MIB, 3),
                "grown MiB of heap": round(figures["heap bytes grown after the first tenth"] / MIB, 3)}

    who = {name: (opener, by_mount) for name, opener in contestants.hosts(b, with_rclone=not b.quick).items()}
    return Case(f"pool: memory after {count:,} operations", {**who, "pool alone": (alone(b), by_program)}, None,
                prepare=lambda: prepare(b), unit="MiB")


def stale(b, c):
    """The program says "cut" when its session is up; the server's processes of it are killed then."""
    rounds = 10
    process = c.start(os.path.join(b.builds, "scoutfs-bench-pool"), "stale", *map(str, FILE), "-r", str(rounds), ini(b),
                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process.stdin, process.stdout:
        line = process.stdout.readline()
        while line == "cut\n":
            signal_all(family(b.sshd.process.pid)[1:], 9)
            process.stdin.write("\n")
            process.stdin.flush()
            line = process.stdout.readline()
        said = line + process.stdout.read()
    c.join()
    found = json.loads(said)
    demand(found["figures"], {"connects": rounds + 1})
    series = {one["name"]: one for one in found["series"]}
    return told(series["session lost"], "ms", **{
        "with a session ms": round(series["session up"]["median"] / 1e6, 3), "connects": found["figures"]["connects"]})


def cut(b, c):
    """Until a file is read that nobody has looked at; and how often that failed before."""
    samples, failed, rounds = [], 0, 10

    def cat(i):
        with open(f"{c.root}/{SMALL}/{i}", "rb") as f:
            f.read()

    for i in range(rounds):
        cat(i)
        signal_all(family(b.sshd.process.pid)[1:], 9)
        start = time.monotonic()
        while True:
            try:
                cat(rounds + i)
                break
            except OSError:
                failed += 1
                if time.monotonic() - start > 60:
                    raise
        samples.append((time.monotonic() - start) * 1e3)
    return {"value": statistics.median(samples), "samples": samples, "failed reads": failed}


def swept(b, c, hosts):
    found, figures = measured(b, c, "sweep", *FILE, "-s", 4, ini(b, hosts, more="idle_timeout = 2s"))
    demand(figures, {CLOSED: hosts - 1})
    kept, figures_kept = measured(b, c, "sweep", *FILE, "-s", 4, ini(b, hosts, more="idle_timeout = 1h"))
    demand(figures_kept, {CLOSED: 0})
    one, other = found["stat of the host in use"], kept["stat of the host in use"]
    return told(one, "ms", "max", **{"without ms": round(other["max"] / 1e6, 3), CLOSED: figures[CLOSED]})


def beside(b, c):
    hole = b.link(b.sshd.port, 0, 0, "black hole of the pool")
    hole.freeze()
    try:
        path = ini(b, 1, more="connect_timeout = 4s", black=hole.port)
        found, _ = measured(b, c, "beside", *FILE, "-n", 2000, path, "web1", "black")
    finally:
        hole.thaw()
    one, other = found["beside"], found["alone"]
    return told(one, "ms", "p95", **{"alone ms": round(other["p95"] / 1e6, 3),
                                     "times alone": round(one["p95"] / other["p95"], 2)})


def of_a_mount(c):
    """Where the program finds a contestant's files: a directory, and the host's folder in it."""
    return os.path.dirname(c.root), os.path.basename(c.root)


def mounted_and_alone(b, work, rtt=0):
    """Who does work(contestant, where), the latter being words for the program: whoever mounts the host, and the pool
    alone."""
    who = {name: (opener, lambda c: work(c, of_a_mount(c)))
           for name, opener in contestants.hosts(b, rtt, with_rclone=not b.quick).items()}
    return {**who, "pool alone": (alone(b), lambda c: work(c, (ini(b, rtt=rtt),)))}


def echo(b, rtt):
    """The port of one that sends back what it is sent, that far away."""
    if "echo" not in b.__dict__:
        process = subprocess.Popen([os.path.join(b.builds, "scoutfs-bench-pool"), "echo"], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, text=True, start_new_session=True)
        b.stack.callback(end, process)
        b.__dict__["echo"] = int(process.stdout.readline())
    return b.link(b.echo, rtt).port if rtt else b.echo


def operations(b):
    for rtt in (0,) if b.quick else (0, 50):
        count = 20 if rtt else 100 if b.quick else 500
        for kind in ("stat", "cat", "ls"):
            def work(c, where, kind=kind, rtt=rtt, count=count):
                ping, _ = measured(b, c, "ping", "-n", 50, "-p", echo(b, rtt))
                found, _ = measured(b, c, "latency", *FILE, "-k", kind, "-n", count, *where)
                network = ping["ping"]["median"] / 1e6
                over = found[kind]["median"] / 1e6 - network
                return told(found[kind], "ms", **{"network's own ms": round(network, 3), "over it ms": round(over, 3)})

            yield Case(f"pool: {kind} of one file after the other{at(rtt)}" if kind != "ls" else
                       f"pool: ls of a folder again and again{at(rtt)}", mounted_and_alone(b, work, rtt), None,
                       prepare=lambda: prepare(b), unit="ms",
                       plot=("latency", None, f"{kind}{at(rtt)}") if kind == "stat" else None)
    yield from transfers(b, "1 MiB", 1, mounted=True)
    yield from transfers(b, *(("256 MiB", 256) if b.quick else ("1 GiB", 1024)))
    yield four_at_once(b)
    yield mixed(b)


def four_at_once(b):
    def four(c, where):
        found, _ = measured(b, c, "four", *FILE, "-n", 50 if b.quick else 200, *where)
        return told(found["at once"], "ms", **{"in turn ms": round(found["in turn"]["median"] / 1e6, 3)})

    return Case("pool: four operations at once", mounted_and_alone(b, four), None, prepare=lambda: prepare(b),
                unit="ms")


def mixed(b):
    """A peer mounts each of the two hosts."""
    def mix(c, where):
        series, figures = measured(b, c, "mixed", *FILE, "-b", "1m", "-n", 30 if b.quick else 200, *where)
        p95 = {f"p95 {name} ms": round(one["p95"] / 1e6, 2) for name, one in series.items() if "host 1" in name}
        return {"value": 1000 / figures["operations a second"], "operations/s": round(
            figures["operations a second"]), **p95}

    def connect_both(c):
        if not isinstance(c, Program):
            contestants.touch(contestants.roots(c, 2))

    who = contestants.of_many_hosts(b, 2)
    who["pool alone"] = (alone(b), lambda c: mix(c, (ini(b, 2),)))
    return Case("pool: an operation of five mixed on two hosts", who,
                lambda c: mix(c, ("/", *(root.lstrip("/") for root in contestants.roots(c, 2)))),
                prepare=lambda: prepare(b), before=connect_both, unit="ms")


def transfers(b, name, mib, mounted=False):
    """Each time a file is read, or one is written and removed, by who is connected. Through a mount nobody has read
    the file before; a large one's reading is a case of a host's."""
    rounds = 10 if mib == 1 else 3
    files = rounds if mounted else 1
    few = ("-l", "few")  # which both list first

    def read(c, where):
        found, _ = measured(b, c, "latency", *few, "-k", "cat", "-f", f"{mib}m-#", "-F", files, "-n", rounds, *where)
        return contestants.per_round(found["cat"]["median"] / 1e9, rounds)

    def write(c, where):
        found, _ = measured(b, c, "transfer", *few, "-k", "write", "-b", f"{mib}m-0", "-r", rounds, *where)
        return contestants.per_round(found["seconds"]["median"], rounds)

    def read_by_ssh(program):
        return contestants.in_connected_ssh(b, program, rounds, f"cat {b.sshd.files}/{mib}m-0")

    def write_by_ssh(program):
        new = f"{b.sshd.files}/new/ssh"
        return contestants.in_connected_ssh(b, program, rounds, f"cat >{new} && rm {new}", f"{b.sshd.files}/{mib}m-0")

    def prepare_files():
        prepare(b)
        for i in range(files):
            b.make_file(f"{mib}m-{i}", mib)

    for kind, work, ssh in (("read", read, read_by_ssh), ("write", write, write_by_ssh)):
        if kind == "read" or not b.quick:
            who = mounted_and_alone(b, work)
            if not mounted:
                who = {"scoutfs": who["pool alone"]}
            yield Case(f"pool: {kind} {name}{'' if mounted else ' without a mount'}", {**who, "ssh cat": (alone(b), ssh)},
                       None, prepare=prepare_files, moved=rounds * mib * MIB)


def load(b):
    """At 5,000 a second it is each file's turn once a second: sshfs, which believes attributes for 20 s, asks its server
    once for each file, scoutfs, which believes them for 1 s, more often."""
    seconds = 1 if b.quick else 5
    for rate in (100, 5000) if b.quick else (10, 100, 500, 1000, 5000):
        def work(c, where, rate=rate):
            found, figures = measured(b, c, "load", *FILE, "-R", rate, "-s", seconds, *where)
            return told(found[f"{rate}/s"], "ms", "p95", **{"answered/s": round(figures[f"answered of {rate}/s"])})

        yield Case(f"pool: p95 at {rate:,} stats a second", mounted_and_alone(b, work), None,
                   prepare=lambda: prepare(b), unit="ms")
