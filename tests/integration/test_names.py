"""Names: any bytes a file name may hold, large directories, and keys that cannot be names."""

import os
import re
import subprocess

import pytest

from procs import wait_for
from tools import content, error, read, write

ODD = ["with space", " leading", "trailing ", "it's", 'say "hi"', "line\nbreak", "tab\there", "back\\slash",
       "übergrößen-日本語-🦉", "%41%2F", "a+b&c?d#e;f", "*[x]?", "$HOME", "-rf", ".hidden", "...",
       "x" * 255, "ü" * 127 + "y", "a=b,c:d@e", "~"]


@pytest.mark.basic
def test_odd_names_on_a_host(sshd, mount):
    web1 = sshd("web1")
    for number, name in enumerate(ODD):
        write(os.path.join(web1.files, "odd", name), content(100, number))
        write(os.path.join(web1.files, "folders", name, name), content(100, number))
    m = mount(sshd.ini(web1))
    assert sorted(os.listdir(m.host("web1", "odd"))) == sorted(ODD)
    assert sorted(os.listdir(m.host("web1", "folders"))) == sorted(ODD)
    for number, name in enumerate(ODD):
        assert read(m.host("web1", "odd", name)) == content(100, number)
        assert read(m.host("web1", "folders", name, name)) == content(100, number)


def test_name_that_is_not_utf8(sshd, mount):
    web1 = sshd("web1")
    name = b"latin-\xe9\xff"
    write(os.path.join(os.fsencode(web1.files), name), b"bytes")
    m = mount(sshd.ini(web1))
    root = os.fsencode(m.host("web1"))
    assert os.listdir(root) == [name]
    assert read(os.path.join(root, name)) == b"bytes"


def test_name_too_long(sshd, mount):
    m = mount(sshd.ini(sshd("web1")))
    assert error(os.stat, m.host("web1", "x" * 256)) == "ENAMETOOLONG"
    assert error(os.stat, m.host("y" * 256)) == "ENAMETOOLONG"


def test_odd_keys_in_the_registry(rgw, bucket, mount):
    for number, name in enumerate(ODD):
        rgw.put(bucket, f"odd/{name}/{name}", content(100, number))
    m = mount("[hosts]\nssh_config =", rgw.ini(bucket))
    assert sorted(os.listdir(m.model("odd"))) == sorted(ODD)
    for number, name in enumerate(ODD):
        assert os.listdir(m.model("odd", name)) == [name]
        assert read(m.model("odd", name, name)) == content(100, number)


def left_out(m):
    """How many keys, as the status says."""
    return sum(map(int, re.findall(r"left out +(\d+) keys: \w", m.status())))


def test_keys_that_cannot_be_names(rgw, bucket, mount):
    """Left out and counted; what is beside them is there. (S3 itself refuses NUL in a key.)"""
    bad = ["m//empty", "m/./dot", "m/../dotdot", "../up", "//", "m/" + "x" * 256, "m/v1/..", "./m"]
    for key in bad:
        rgw.put(bucket, key, b"bad")
    rgw.put(bucket, "m/v1/model.zip", b"good")
    rgw.put(bucket, "both", b"an object")
    rgw.put(bucket, "both/and", b"a folder")
    m = mount("[hosts]\nssh_config =", rgw.ini(bucket))
    assert set(os.listdir(m.model())) <= {"m", "both"}
    assert "m" in os.listdir(m.model())
    assert os.listdir(m.model("m")) == ["v1"]
    assert os.listdir(m.model("m", "v1")) == ["model.zip"]
    assert read(m.model("m", "v1", "model.zip")) == b"good"
    assert error(os.stat, m.model("both", "and", "x")) in ("ENOENT", "ENOTDIR")
    assert left_out(m) == len(bad) + 1, m.status()


def test_keys_that_cannot_be_names_are_counted_up_to_list_max_keys(s3, mount):
    """They count as any other. Beyond that folders are listed one by one, and what is left out is only that."""
    good = ["m/v1/model.zip", "m/v2/model.zip", "n/v1/model.zip"]
    bad = [f"m//{number}" for number in range(1, 5)] + ["n/../up", "n/v1/", "n/nul\0l"]
    s3.objects = {key: b"x" for key in good + bad}
    m = mount("[hosts]\nssh_config =", s3.ini(list_max_keys=10, list_ttl="1h"))

    def assert_shown():
        assert os.listdir(m.model()) == ["m", "n"]
        assert os.listdir(m.model("m")) == ["v1", "v2"] and os.listdir(m.model("n")) == ["v1"]
        assert os.listdir(m.model("n", "v1")) == ["model.zip"]

    assert_shown()
    assert left_out(m) == 7 and len(s3.came("GET", "list-type")) == 1, m.status()
    s3.objects["m//5"] = b"x"
    os.utime(m.model())
    wait_for(lambda: os.listdir(m.model()) and "more than 10 keys (list_max_keys)" in m.status(), 20,
             "too many")
    assert_shown()
    assert left_out(m) == 0, m.status()
    del s3.objects["m//5"], s3.objects["m//4"]
    os.utime(m.model())
    wait_for(lambda: os.listdir(m.model()) and left_out(m) == 6, 20, "all of them again")
    assert_shown()


@pytest.mark.seconds(120)
def test_20000_entries_cost_no_stat(sshd, mount):
    web1 = sshd("web1", count_sftp=True)
    folder = os.path.join(web1.files, "many")
    os.mkdir(folder)
    for number in range(20000):
        with open(os.path.join(folder, f"entry-{number:05}"), "wb") as f:
            f.write(b"x" * (number % 50))
    m = mount(sshd.ini(web1))
    many = m.host("web1", "many")
    listed = subprocess.run(["ls", "-l", many], capture_output=True, text=True, timeout=60,
                            check=True, env={"LC_ALL": "C", "PATH": os.environ["PATH"]})
    lines = listed.stdout.splitlines()[1:]
    assert len(lines) == 20000 and not listed.stderr
    for number, line in enumerate(lines):
        words = line.split()
        assert (int(words[4]), words[-1]) == (number % 50, f"entry-{number:05}")
    stats = sum(web1.sftp_requests(kind) for kind in ("lstat", "stat", "fstat"))
    assert web1.sftp_requests("readdir") >= 200  # OpenSSH answers 100 names at a time
    assert stats <= 5, "ls -l must live on what READDIR told"


def test_a_folder_read_while_it_changes(sshd, mount):
    """No name twice, none missing of those that stay."""
    web1 = sshd("web1")
    folder = os.path.join(web1.files, "d")
    for number in range(3000):
        write(os.path.join(folder, f"stays-{number}"), b"")
    m = mount(sshd.ini(web1))
    with os.scandir(m.host("web1", "d")) as entries:
        seen = [next(entries).name]
        for number in range(0, 500):
            write(os.path.join(folder, f"new-{number}"), b"")
        seen += [entry.name for entry in entries]
    assert len(seen) == len(set(seen))
    assert {f"stays-{n}" for n in range(3000)} <= set(seen)
