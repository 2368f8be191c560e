#!/usr/bin/python3
"""Shows scoutfs at work, on three SSH servers and an S3 server that live only for that.

usage: demo.py SCOUTFS [--keep]     the show; --keep leaves all of it running
       demo.py --stop               ends what --keep left

All that it makes lies in build/demo (or SCOUTFS_DEMO_DIR); all that it starts is ended by its
process id.
"""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
STATE = os.environ.get("SCOUTFS_DEMO_DIR", os.path.join(TOP, "build", "demo"))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "integration"))

from mount import mounted  # noqa: E402
from procs import family, parents, signal_all, tool, wait_for  # noqa: E402
from rgw import Rgw  # noqa: E402
from sshd import Sshd, make_key  # noqa: E402

MOUNT = os.path.join(STATE, "mnt")
MODEL = "performance/arnir0_Tiny-LLM/main/model.zip"
MODEL_BYTES = 24834009
READERS = 100
MODELS = ["performance/arnir0_Tiny-LLM", "performance/nano-bench", "performance/prefill-probe",
          "speech/whisper-tiny", "speech/wav2vec2-base", "speech/vad-small", "speech/tts-lite",
          "text/distilbert-base", "text/bge-small", "text/gpt2-small", "text/flan-t5-small",
          "text/minilm-l6", "text/rugpt3-small", "vision/yolov8n", "vision/resnet18",
          "vision/mobilenet-v3", "vision/clip-vit-b32", "vision/sam-tiny", "vision/dino-s16",
          "vision/depth-small"]
FILES = {
    "web1": {"etc/hostname": "web1\n", "etc/motd": "web1: front of the shop, eu-central\n",
             "srv/www/index.html": "<h1>It works on web1</h1>\n",
             "var/log/app.log": "09:00:01 INFO  started\n09:12:44 ERROR upstream db1 timed out\n"
                                "09:12:45 INFO  retry fine\n"},
    "web2": {"etc/hostname": "web2\n", "etc/motd": "web2: front of the shop, eu-west\n",
             "srv/www/index.html": "<h1>It works on web2</h1>\n",
             "var/log/app.log": "09:00:02 INFO  started\n09:13:10 INFO  cache warm\n"},
    "db1": {"etc/hostname": "db1\n", "etc/motd": "db1: orders, primary\n",
            "srv/backup/orders.sql": "-- 3 orders\nINSERT INTO orders VALUES (1), (2), (3);\n",
            "var/log/db.log": "09:12:40 ERROR checkpoint took 3.9 s\n09:13:00 INFO  checkpoint\n"},
}


class Shortfall(Exception):
    """Something did not come out as the demo promises."""


def colour(code, words):
    return f"\033[{code}m{words}\033[0m" if sys.stdout.isatty() else words


def step(title):
    print("\n" + colour("1;34", f"== {title}"), flush=True)


def show(command, fails=False):
    """Prints a command, then its output; returns the output."""
    print(colour("1", f"$ {command}"), flush=True)
    env = dict(os.environ, LC_ALL="C.UTF-8", TIMEFORMAT="(%R s)", SCOUTFS_DEMO=STATE,
               PATH=os.path.join(STATE, "bin") + ":" + os.environ["PATH"])
    for name in [n for n in env if n.startswith(("AWS_", "SSH_"))]:
        del env[name]
    # a file, not a pipe: a daemon that stays would keep the pipe open
    out_path = os.path.join(STATE, "output")
    with open(out_path, "w+b") as out:
        done = subprocess.run(["bash", "-c", command], cwd=STATE, env=env, stdout=out, stderr=out,
                              stdin=subprocess.DEVNULL, timeout=60, check=False)
        out.seek(0)
        text = out.read().decode(errors="replace")
    print(text, end="", flush=True)
    if (done.returncode != 0) != fails:
        raise Shortfall(f"this command was expected to {'fail' if fails else 'succeed'}")
    return text


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def birth(pid):
    """When a process began: with its id, it names one process for ever. None: there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="latin-1") as f:
            return f.read().rpartition(")")[2].split()[19]
    except OSError:
        return None


def remember(process):
    """Notes a process for the end, which may come in another run of this program."""
    with open(os.path.join(STATE, "pids"), "a", encoding="utf-8") as f:
        f.write(f"{process.pid} {birth(process.pid)}\n")


def start_hosts():
    key = make_key(os.path.join(STATE, "id_ed25519"), "scoutfs-demo")
    hosts = []
    for name, files in FILES.items():
        host = Sshd(os.path.join(STATE, "servers", name), name, key)
        for path, text in files.items():
            write(os.path.join(host.files, path), text)
        host.start()
        remember(host.process)
        hosts.append(host)
    write(os.path.join(STATE, "known_hosts"), "".join(h.known_hosts_line() for h in hosts))
    return hosts


def start_registry():
    """The gateway with its models, and the proxy before it that writes down what it sends."""
    folder = os.path.join(STATE, "servers", "s3")
    os.makedirs(folder)
    rgw = Rgw(folder, memory=1 << 30)
    try:
        rgw.start()
    finally:
        for process in rgw.processes:
            remember(process)
    rgw.make_bucket("registry")
    chance = random.Random(1)
    digest = None
    for model in MODELS:
        size = MODEL_BYTES if MODEL.startswith(model) else chance.randrange(20000, 400000)
        body = chance.randbytes(size)
        if MODEL.startswith(model):
            digest = hashlib.sha256(body).hexdigest()
            with open(os.path.join(STATE, "uploaded.zip"), "wb") as f:
                f.write(body)
        rgw.put("registry", f"{model}/main/model.zip", body)
    port_file = os.path.join(folder, "port")
    proxy = subprocess.Popen([sys.executable, os.path.join(TOP, "tests/integration/proxy.py"),
                              str(rgw.port), port_file, os.path.join(STATE, "s3.log")],
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL, start_new_session=True)
    remember(proxy)
    wait_for(lambda: os.path.exists(port_file), 10, "the proxy before S3")
    with open(port_file, encoding="utf-8") as f:
        return rgw, int(f.read()), digest


def write_ini(hosts, rgw, port):
    path = os.path.join(STATE, "scoutfs.ini")
    ini = ["# the demo's own: three hosts and a registry", "", "[scoutfs]",
           f"log_file = {STATE}/scoutfs.log", "", "[hosts]", "ssh_config =",
           f"known_hosts = {STATE}/known_hosts", ""]
    ini += [host.ini() for host in hosts] + [rgw.ini("registry", port)]
    write(path, "\n".join(ini))
    os.chmod(path, 0o600)


def the_show(hosts, digest):
    web2 = hosts[1]
    step("Mount: returns once everything is there; nothing has been connected yet")
    show("scoutfs scoutfs.ini mnt")

    step("Three machines and a registry, as one tree")
    show("find mnt -maxdepth 3 -not -path '*/.scoutfs/*' | sort")

    step("A file of each machine")
    for host in hosts:
        show(f"cat mnt/hosts/{host.name}/etc/motd")

    step("Search all machines at once")
    show("grep -r ERROR mnt/hosts")

    step("The registry: 20 models in S3")
    show("ls -l mnt/models/*/*/main/model.zip")

    step(f"One of them, of {MODEL_BYTES:,} bytes, is what was uploaded: sha256 {digest}")
    if digest not in show(f"sha256sum mnt/models/{MODEL}"):
        raise Shortfall("the checksum differs")

    step(f"{READERS} readers of it at once, after a fresh mount: nothing is cached anywhere")
    show("fusermount3 -u mnt")
    show("scoutfs scoutfs.ini mnt && : >s3.log")
    show(f"time seq {READERS} | xargs -P {READERS} -I% cmp mnt/models/{MODEL} uploaded.zip "
         "&& echo all of them read what was uploaded")
    print(f"They read {READERS} x {MODEL_BYTES:,} = {READERS * MODEL_BYTES:,} bytes. What S3 sent, as "
          "a proxy before it wrote down:")
    sent = show("""awk '/^GET .*model.zip/ { n++; sum += $NF } """
                """END { print sum " bytes in " n " requests" }' s3.log""")
    if not sent.startswith(f"{MODEL_BYTES} bytes "):
        raise Shortfall(f"not the {MODEL_BYTES} bytes of the object")

    step("A machine dies: its error comes at once, the others do not notice")
    show("cat mnt/hosts/web2/etc/hostname")
    print(colour("1", "  (now web2's sshd is killed)"))
    web2.kill()
    show("time cat mnt/hosts/web2/var/log/app.log", fails=True)
    show("time cat mnt/hosts/web1/var/log/app.log")
    show("time ls mnt/hosts")

    step("The mount explains itself")
    show("cat mnt/.scoutfs/status")


def daemons():
    """The scoutfs processes of this demo: they carry its mark in their environment."""
    mark = f"SCOUTFS_DEMO={STATE}".encode()
    found = []
    for pid in parents():
        try:
            with open(f"/proc/{pid}/environ", "rb") as f:
                environ = f.read().split(b"\0")
            if mark in environ and os.path.basename(os.readlink(f"/proc/{pid}/exe")) == "scoutfs":
                found.append(pid)
        except OSError:
            pass  # ended meanwhile, or somebody else's
    return found


def end_pids(pids, seconds):
    signal_all(pids, signal.SIGTERM)
    try:
        wait_for(lambda: not set(pids) & set(parents()), seconds, "an end")
    except TimeoutError:
        signal_all(set(pids) & set(parents()), signal.SIGKILL)


def stop():
    """Unmounts, ends every process of the demo in the reverse order of its start, removes STATE."""
    if mounted(MOUNT):
        subprocess.run([tool("fusermount3"), "-u", MOUNT], stderr=subprocess.DEVNULL, check=False,
                       timeout=20)
    try:
        wait_for(lambda: not daemons(), 10, "the end of scoutfs")
    except TimeoutError:
        end_pids(daemons(), 3)
    if mounted(MOUNT):
        subprocess.run([tool("fusermount3"), "-uz", MOUNT], check=False, timeout=20)
    try:
        with open(os.path.join(STATE, "pids"), encoding="utf-8") as f:
            started = [line.split() for line in f]
    except OSError:
        started = []
    for pid, since in reversed(started):
        if birth(pid) == since and int(pid) in parents():
            end_pids(family(int(pid)), 5)
        try:
            os.waitpid(int(pid), os.WNOHANG)  # when it is this program's own child
        except ChildProcessError:
            pass
    if not mounted(MOUNT):
        shutil.rmtree(STATE, ignore_errors=True)


def prepare(binary):
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        raise Shortfall("/dev/fuse is missing, or closed to this user: no FUSE here")
    os.makedirs(MOUNT)
    os.makedirs(os.path.join(STATE, "bin"))
    os.symlink(os.path.abspath(binary), os.path.join(STATE, "bin", "scoutfs"))


def keep():
    print(f"""
It stays mounted. Look around:
    ls '{MOUNT}'
    cat '{MOUNT}/.scoutfs/status'
    less '{STATE}/scoutfs.ini'
and end it with
    make demo-stop""")


def main():
    if "--stop" in sys.argv:
        found = os.path.exists(STATE)
        stop()
        print("the demo is stopped" if found else "no demo is running")
        return 0
    stop()  # what an earlier one may have left
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda n, _: sys.exit(128 + n))
    staying, started = False, time.monotonic()
    try:
        prepare(sys.argv[1])
        step("Servers of our own on loopback: sshd as web1, web2, db1, and Ceph's S3 gateway")
        hosts = start_hosts()
        rgw, port, digest = start_registry()
        write_ini(hosts, rgw, port)
        print(", ".join(f"{h.name} on port {h.port}" for h in hosts) + f", S3 on port {rgw.port}")
        the_show(hosts, digest)
        staying = "--keep" in sys.argv
    except Shortfall as e:
        print(colour("1;31", f"demo: {e}"), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if staying:
            keep()
        else:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            step("Unmount, and stop all that was started")
            stop()
    if not staying:
        print(f"nothing is left: no mount, no process, no file outside build/ "
              f"({time.monotonic() - started:.1f} s in all)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
