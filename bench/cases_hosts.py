"""Hosts: bytes near and far, names, many hosts at once, their memory, and a black hole among them."""

import contestants
import works
from suite import Case

MIB = 1 << 20


def cases(b):
    yield from reading(b)
    yield from writing(b)
    yield from names(b)


def reading(b):
    mib = 256 if b.quick else 1024
    near = {**contestants.hosts(b, full=not b.quick), "ssh cat": contestants.with_ssh_cat(b, f"{mib}m"),
            "sftp": contestants.with_sftp(b, f"{mib}m")}
    yield Case(f"host: read {mib} MiB", near, works.read(f"{mib}m"), prepare=lambda: b.make_file(f"{mib}m", mib),
               moved=mib * MIB, target={"sshfs": 2.2, "sshfs tuned": 1.8}, plot=("throughput", 0))


def writing(b):
    mib = 256 if b.quick else 512
    yield Case(f"host: write {mib} MiB, fsync", contestants.hosts(b), works.write(mib), moved=mib * MIB,
               prepare=lambda: b.sshd)


def names(b):
    count = 2000 if b.quick else 20000
    yield Case(f"host: ls -l of {count:,}", contestants.hosts(b), works.program("ls", "-l", f"ROOT/many{count}"),
               prepare=lambda: b.make_many(f"many{count}", count, 0), target={"sshfs": 2})
