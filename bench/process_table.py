"""What processes cost, by /proc: of all that belong to a session (setsid), as daemons detach their ssh
from themselves but leave it there."""

import ctypes
import os

PR_SET_CHILD_SUBREAPER = 36  # sys/prctl.h
TICKS = os.sysconf("SC_CLK_TCK")


def adopt():
    """What loses its parent becomes our child, so that all we started can be found."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def bury():
    """Waits for those of them that have ended: they are in other sessions than we (sshd leads one per connection)."""
    for pid, session, parent, _, state in stats(with_state=True):
        if state == "Z" and parent == os.getpid() and session != os.getsid(0):
            os.waitpid(pid, os.WNOHANG)


def stats(with_state=False):
    """(pid, session, parent, user + system seconds with those of ended children) of every process."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="latin-1") as f:
                    words = f.read().rpartition(")")[2].split()
            except OSError:
                continue
            found = int(name), int(words[3]), int(words[1]), sum(map(int, words[11:15])) / TICKS
            yield (*found, words[0]) if with_state else found


def members(leader):
    """Processes of the session, and what descends from its leader in others (sshd's sessions do)."""
    table = list(stats())
    found = {pid for pid, session, _, _ in table if session == leader}
    while True:
        more = {pid for pid, _, parent, _ in table if parent in found} - found
        if not more:
            return found
        found |= more


def cpu(leaders):
    """{name: seconds} of {name: [leader…]}."""
    table = list(stats())
    above = {pid: (session, parent) for pid, session, parent, _ in table}
    owner = {leader: name for name, all_of in leaders.items() for leader in all_of}
    used = dict.fromkeys(leaders, 0.0)

    def owner_of(pid):
        for _ in range(64):
            if pid not in above:
                return None
            session, parent = above[pid]
            name = owner.get(pid) or owner.get(session)
            if name:
                return name
            pid = parent
        return None

    for pid, _, _, seconds in table:
        name = owner_of(pid)
        if name:
            used[name] += seconds
    return used


def _kib(path, word):
    try:
        with open(path, encoding="ascii", errors="replace") as f:
            for line in f:
                if line.startswith(word):
                    return int(line.split()[1])
    except OSError:
        pass  # it has ended
    return 0


def peak_mib(leaders):
    """The most resident memory that each of their processes had, added up."""
    return sum(_kib(f"/proc/{pid}/status", "VmHWM:") for leader in leaders for pid in members(leader)) / 1024


def held_mib(leaders):
    """(resident, proportional) memory of all their processes now."""
    pids = [pid for leader in leaders for pid in members(leader)]
    return tuple(sum(_kib(f"/proc/{pid}/smaps_rollup", word) for pid in pids) / 1024
                 for word in ("Rss:", "Pss:"))
