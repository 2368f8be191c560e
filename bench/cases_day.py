"""A person's day on one host: what people type, near and at 50 ms. And on nine hosts, while a tenth is a black hole.

At 50 ms tar, rsync and git have 200 files in 10 folders, and 16 processes one each: what there is near would take
hours.
"""

import concurrent.futures
import functools
import os
import shutil
import subprocess
import time

import contestants
import works
from cases_many import with_hole
from procs import run, wait_for
from suite import SMALL, Case, at, connect

MIB = 1 << 20


def cases(b):
    for rtt in (0, 50):
        yield from with_tree(b, rtt)
        if b.quick and rtt:
            return
        if not b.quick:
            yield listing(b, rtt)
        yield many_processes(b, rtt)
        yield while_reading(b, rtt)
        yield git_status(b, rtt)
        yield unpacking(b, rtt)
    yield copy_beside_itself(b)
    yield nine_of_ten(b)


def tree(b, files, folders):
    """So many small files in as many folders."""
    return lambda: b.make_many(f"tree{files}-{folders}", files, SMALL, per_folder=files // folders)


def with_tree(b, rtt):
    """What walks a tree and reads all of it."""
    who, out = contestants.hosts(b, rtt), os.path.join(b.folder, "out")
    whole = (50, 10) if b.quick and rtt else (200, 40) if b.quick else (1000, 40)
    part = (200, 10) if rtt else whole
    walks = [
        ("find over {folders} folders", whole, ("find", "TREE", "-type", "f")),
        ("cp -r of {files:,} files", whole, ("cp", "-r", "TREE", out)),
        ("grep -r over {files:,} files", whole, ("grep", "-rc", "line 7 of", "TREE")),
        ("tar c of {files:,} files", part, ("tar", "-C", "TREE", "-cf", f"{out}/tar", ".")),
        ("rsync -a of {files:,} files, down", part, ("rsync", "-a", "TREE/", out))]
    for what, (files, folders), command in walks[:1 if rtt else 3] if b.quick else walks:
        words = [word.replace("TREE", f"ROOT/tree{files}-{folders}") for word in command]
        yield Case(f"day: {what.format(files=files, folders=folders)}{at(rtt)}", who, works.program(*words),
                   prepare=tree(b, files, folders), moved=0 if command[0] == "find" else files * SMALL)
    few = 10 if b.quick else 100
    if rtt or not b.quick:
        yield Case(f"day: cat of {few} files in turn{at(rtt)}", who, works.each_read(f"turn{few}", few, SMALL),
                   prepare=lambda: b.make_many(f"turn{few}", few, SMALL), moved=few * SMALL,
                   plot=("latency", None, f"cat{at(rtt)}") if rtt else None)
    up = 200

    def prepare():
        top = b.make_many(f"up{up}", up, SMALL, per_folder=20)
        if not os.path.exists(f"{b.folder}/up{up}"):
            run("cp", "-r", top, b.folder)

    if not (b.quick and rtt):
        yield Case(f"day: rsync -a of {up} files, up{at(rtt)}", who,
                   works.program("rsync", "-a", f"{b.folder}/up{up}/", "ROOT/new/up"), prepare=prepare,
                   moved=up * SMALL)


def listing(b, rtt):
    count = 2000 if b.quick else 20000
    return Case(f"day: ls -l of {count:,}, then again{at(rtt)}", contestants.hosts(b, rtt),
                works.shell(f"ls -l ROOT/many{count} && ls -l ROOT/many{count}"),
                prepare=lambda: b.make_many(f"many{count}", count, 0))


WORK_ON = """
for i in range(mine, {count}, count):
    path = f"{{root}}/new/f{{i}}"
    with open(path, "wb") as f:
        f.write(b"x" * 4096)
    os.rename(path, path + ".done")
    with open(path + ".done", "rb") as f:
        if len(f.read()) != 4096:
            raise RuntimeError(path)
    os.unlink(path + ".done")
"""


def many_processes(b, rtt):
    count = 16 if rtt else 640
    return Case(f"day: 16 processes write, rename, read, remove {count} files{at(rtt)}",
                contestants.hosts(b, rtt), works.by_processes(16, WORK_ON.format(count=count)),
                prepare=lambda: b.sshd)


def bytes_read(process):
    """By read(2), also when it has ended and nobody has waited for it."""
    with open(f"/proc/{process.pid}/io", encoding="ascii") as f:
        return int(f.readline().removeprefix("rchar:"))


def while_reading(b, rtt):
    """ls -l of folders, while four read a quarter of a large file each."""
    mib, folders = (256, 10) if b.quick else (1024, 10 if rtt else 40)

    def moved(reader):
        """Bytes so far; RuntimeError if it has failed."""
        so_far = bytes_read(reader) if reader.returncode is None else 0
        if reader.poll():
            raise RuntimeError(f"dd: status {reader.returncode}")
        return mib // 4 * MIB if reader.returncode == 0 else so_far

    def work(c):
        readers = [subprocess.Popen(["dd", f"if={c.root}/{mib}m", "of=/dev/null", "bs=1M", f"skip={mib // 4 * i}",
                                     f"count={mib // 4}"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                   for i in range(4)]
        try:
            wait_for(lambda: min(map(moved, readers)) >= MIB, contestants.LIMIT, "a MiB of each dd")
            before, start = sum(map(moved, readers)), time.monotonic()
            for i in range(folders):
                works.do("ls", "-l", f"{c.root}/tree200-40/d{i:03}")
            seconds = time.monotonic() - start
            bulk = sum(map(moved, readers)) - before
            reading = sum(reader.poll() is None for reader in readers)
        finally:
            for reader in readers:
                reader.kill()
            works.strays.extend(readers)
        return {"value": seconds, "still reading": reading, "bulk MB/s": round(bulk / 1e6 / seconds)}

    return Case(f"day: ls -l of {folders} folders while four read {mib // 4} MiB each{at(rtt)}",
                contestants.hosts(b, rtt), work, prepare=lambda: (tree(b, 200, 40)(), b.make_file(f"{mib}m", mib)))


GIT = ("git", "-c", "user.name=x", "-c", "user.email=x@x", "-c", "gc.auto=0")


def repository(b, files, folders):
    """One with so many files, all committed; for clone()."""
    source = os.path.join(b.folder, f"git{files}")
    if not os.path.exists(source):
        shutil.copytree(b.make_many(f"git{files}", files, SMALL, per_folder=files // folders), source)
        for words in (("init", "-q"), ("add", "."), ("commit", "-qm", "all")):
            run(*GIT, "-C", source, *words)


def clone(b, files, name):
    """A working tree in new/ that no mount has seen, as after a clone."""
    run("cp", "-a", os.path.join(b.folder, f"git{files}"), os.path.join(b.sshd.files, "new", name))


def git_status(b, rtt):
    files, folders = (200, 10) if rtt else (100, 20) if b.quick else (1000, 20)

    def before(c):
        clone(b, files, "git")
        connect(c)

    return Case(f"day: git status of {files:,} files{at(rtt)}", contestants.hosts(b, rtt),
                works.program("git", "-C", "ROOT/new/git", "status", "--porcelain"),
                prepare=lambda: repository(b, files, folders), before=before)


def unpacking(b, rtt):
    files = 200 if rtt else 500
    archive = os.path.join(b.folder, f"{files}.tar")

    def prepare():
        folder = b.make_many(f"unpack{files}", files, SMALL, per_folder=files // 10)
        run("tar", "-C", folder, "-cf", archive, ".")

    return Case(f"day: tar x of {files} files{at(rtt)}", contestants.hosts(b, rtt),
                works.program("tar", "-C", "ROOT/new", "-xf", archive), prepare=prepare, moved=files * SMALL)


def copy_beside_itself(b):
    mib = 128 if b.quick else 1024
    return Case(f"day: cp of {mib} MiB beside itself", contestants.hosts(b, tuned=True),
                works.program("cp", f"ROOT/{mib}m", "ROOT/new/copy"), moved=mib << 20,
                prepare=lambda: b.make_file(f"{mib}m", mib))


# for sh -e, which does not look at what is before an &&
EVERYTHING = """
cd ROOT
ls -l small500
find tree200-40
cat turn40/*
grep -rc 'line 7 of' tree200-40
mkdir new/NAME
cp -r turn40 new/NAME
tar -C new/NAME -cf new/NAME/tar turn40
tar -C new/NAME/turn40 -xf new/NAME/tar
rsync -a turn40/ new/NAME/synced
git -C new/NAME-git status --porcelain
dd if=/dev/zero of=new/NAME/zero bs=1M count=16 conv=fsync
mv new/NAME/zero new/NAME/moved
rm -r new/NAME
"""


def nine_of_ten(b):
    def link():
        b.ssh_port(name="black")  # known_hosts learns of it
        return b.link(b.sshd.port, 0, name="black")

    def ours():
        c = contestants.scoutfs(b, b.sshd.port, hosts=9, root=("hosts",), black=link().port)
        c.nine = [f"{c.root}/web{i}" for i in range(1, 10)]
        return c

    def theirs(opener):
        c = contestants.Many([lambda: opener(b, b.sshd.port, wait=False)] * 9
                             + [lambda: opener(b, link().port, wait=False)]).start()
        c.nine = [mount.root for mount in c.mounts[:9]]
        return c

    def work(c):
        def one(i):
            works.do("sh", "-ec", EVERYTHING.replace("ROOT", c.nine[i]).replace("NAME", f"n{i}"))
        with concurrent.futures.ThreadPoolExecutor(9) as pool:
            list(pool.map(one, range(9)))

    def prepare():
        tree(b, 200, 40)()
        b.make_many("small500", 500, SMALL)
        b.make_many("turn40", 40, SMALL)
        repository(b, 20, 2)

    def before(c):
        for i, root in enumerate(c.nine):
            clone(b, 20, f"n{i}-git")
            os.stat(f"{root}/new")

    who = {"scoutfs": with_hole(ours, link, lambda c: f"{c.root}/black"), "scoutfs, all ten alive": ours}
    for name, opener in contestants.mounts_of_hosts(b).items():
        mount = functools.partial(theirs, opener)
        who[name] = with_hole(mount, link, lambda c: c.mounts[9].root)
        who[f"{name}, all ten alive"] = mount
    return Case("day: ls, find, cat, grep, cp, tar, rsync, git, dd, mv, rm on nine hosts, the tenth a black hole",
                who, work, prepare=prepare, before=before, target={"scoutfs, all ten alive": 1 / 1.2})
