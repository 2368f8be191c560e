"""One host: its bytes near and far, its names, its small files."""

import contestants
import works
from suite import SMALL, Case, at

MIB = 1 << 20


def cases(b):
    yield from reading(b)
    yield from reading_far(b)
    yield from writing(b)
    yield from names(b)
    yield from small(b)


def plotted(b):
    """MiB of what is read at every distance, so that the plot compares like with like."""
    return 16 if b.quick else 128


def reading(b):
    for mib in (128,) if b.quick else (1024, 128):
        name = f"{mib}m"
        who = {**contestants.hosts(b, tuned=True), "ssh cat": contestants.with_ssh_cat(b, name),
               "sftp": contestants.with_sftp(b, name), "page cache": lambda: contestants.Own(b.sshd.files)}
        yield Case(f"host: read {mib} MiB", who, works.read(name),
                   prepare=lambda name=name, mib=mib: b.make_file(name, mib), moved=mib * MIB,
                   target={"sshfs": 2.2, "sshfs tuned": 1.8} if mib == 1024 else {},
                   plot=("throughput", 0) if mib == plotted(b) else None)
    if b.quick:
        return
    jobs, reads = 16, 256
    yield Case(f"host: {jobs * reads:,} random reads of 4 KiB, 16 jobs of fio", contestants.hosts(b), works.program(
        "fio", "--name=it", "--filename=ROOT/1024m", "--rw=randread", "--bs=4k", f"--numjobs={jobs}",
        f"--number_ios={reads}", "--ioengine=psync", "--allow_file_create=0", "--thread"),
        prepare=lambda: b.make_file("1024m", 1024))


def reading_far(b):
    for rtt, mib in ((50, 16),) if b.quick else ((5, 128), (20, 128), (50, 1024), (50, 128), (100, 128)):
        name = f"{mib}m"
        who = {**contestants.hosts(b, rtt), "ssh cat": contestants.with_ssh_cat(b, name, rtt),
               "sftp": contestants.with_sftp(b, name, rtt)}
        yield Case(f"host: read {mib} MiB, rtt {rtt}", who, works.read(name), moved=mib * MIB,
                   prepare=lambda name=name, mib=mib: b.make_file(name, mib),
                   plot=("throughput", rtt) if mib == plotted(b) else None,
                   target={"sshfs": 35, "rclone": 4} if mib == 1024 else {})


def writing(b):
    for rtt, mib in ((0, 64), (50, 16)) if b.quick else ((0, 1024), (50, 1024), (50, 64)):
        yield Case(f"host: write {mib} MiB, fsync{at(rtt)}",
                   contestants.hosts(b, rtt, tuned=not rtt), works.write(mib), moved=mib * MIB,
                   prepare=lambda: b.sshd, target={"sshfs": 10} if rtt and mib == 1024 else {})


LSTAT = """
for i in range(mine, {count}, count):
    os.lstat(f"{{root}}/{folder}/f{{i:05}}")
"""
CAT = """
for i in range(mine, {count}, count):
    with open(f"{{root}}/{folder}/f{{i:05}}", "rb", buffering=0) as f:
        if len(f.read()) != {size}:
            raise RuntimeError(f.name)
"""


def names(b):
    count = 2000 if b.quick else 20000
    folder = f"many{count}"

    def prepare():
        b.make_many(folder, count, 0)

    yield Case(f"host: ls -l of {count:,}", contestants.hosts(b), works.program("ls", "-l", f"ROOT/{folder}"),
               prepare=prepare, target={"sshfs": 2})
    yield Case(f"host: {count:,} cold lstat, 16 processes", contestants.hosts(b),
               works.by_processes(16, LSTAT.format(count=count, folder=folder)), prepare=prepare,
               target={"sshfs": 4, "rclone": 2})


def small(b):
    count = 500 if b.quick else 2000

    def prepare():
        b.make_many(f"small{count}", count, SMALL)

    who = contestants.hosts(b)
    yield Case(f"host: cat of {count:,} small files in turn", who, works.each_read(f"small{count}", count, SMALL),
               prepare=prepare, target={"sshfs": 1.5}, plot=("latency", None, "cat"))
    yield Case(f"host: cat of {count:,} small files, 16 processes", who,
               works.by_processes(16, CAT.format(count=count, folder=f"small{count}", size=SMALL)), prepare=prepare,
               target={"sshfs": 1.5})
