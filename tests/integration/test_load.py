"""The registry's own tooling: the load generator, through a mount and straight at S3, and what fills a
registry for it."""

import io
import json
import math
import os
import re
import signal
import statistics
import subprocess
import sys
import types
import zipfile

from mount import BINARY, SAN, TOP, clean_env, command
from procs import run, wait_for
from proxy import Answer
from tools import content, error, read, write

sys.path.append(os.path.join(TOP, "bench"))

import fill_registry  # noqa: E402

LOAD = os.path.join(os.path.dirname(BINARY), "scoutfs-load")
SIZE = 300_000


def load(folder, *args, env=None, status=0):
    """What was printed, and the JSON."""
    path = os.path.join(folder, "load.json")
    argv = [LOAD, "-o", path, *args]
    prefix = command()[:-1] if "thread" in SAN else []
    done = subprocess.run([*prefix, *argv], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=100, check=False, env=clean_env(folder, **(env or {})))
    assert done.returncode == status, done.stdout + done.stderr
    with open(path, encoding="utf-8") as f:
        return done.stdout, json.load(f)


def order(path, line):
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, line.encode())
    finally:
        os.close(fd)


def ended(path, number):
    """What the file says once that run is over."""
    text = read(path).decode()
    mine = text.partition(f"run {number}:")[2].partition("\n")[0]
    return text if ": done" in mine or ": failed" in mine else None


def check_figures(figures):
    """They are those of the samples."""
    samples = sorted(s for client in figures["per_client"] for s in client["seconds"])
    assert len(samples) == figures["downloads"] > 0
    assert figures["bytes"] == sum(client["bytes"] for client in figures["per_client"])
    assert math.isclose(figures["mean_s"], statistics.fmean(samples), abs_tol=1e-5)
    for name, value in (("min_s", samples[0]), ("max_s", samples[-1]),
                        ("median_s", samples[(len(samples) + 1) // 2 - 1]),
                        ("p99_s", samples[math.ceil(len(samples) * 0.99) - 1])):
        assert figures[name] == value, name
    assert math.isclose(figures["bytes"] / figures["throughput_bytes_per_s"], figures["elapsed_s"],
                        rel_tol=1e-6, abs_tol=1e-6)  # which is printed to the microsecond


def test_through_a_mount_and_straight(rgw, bucket, mount, http_proxy, folder):
    """100 clients: of one fetch through the mount, of 100 without it."""
    rgw.put(bucket, "a/main/model.zip", content(SIZE))
    s3 = http_proxy(rgw.port)
    m = mount("[hosts]\nssh_config =\n", rgw.ini(bucket, s3.port))
    printed, figures = load(folder, m.model("a", "main", "model.zip"))
    assert (figures["clients"], figures["downloads"], figures["failed"]) == (100, 100, 0)
    assert figures["bytes"] == 100 * SIZE and figures["success_percent"] == 100
    assert "clients=100 downloads=100 failed=0 success=100.00%" in printed
    check_figures(figures)
    assert s3.body_bytes("model.zip") == SIZE
    keys = {"AWS_ACCESS_KEY_ID": rgw.access_key, "AWS_SECRET_ACCESS_KEY": rgw.secret_key}
    url = f"http://127.0.0.1:{s3.port}/{bucket}/a/main/model.zip"
    _, figures = load(folder, "-c", "10", url, env=keys)
    assert (figures["downloads"], figures["bytes"]) == (10, 10 * SIZE)
    check_figures(figures)
    assert s3.body_bytes("model.zip") == 11 * SIZE
    printed, figures = load(folder, "-c", "2", url, status=1)  # nobody signs
    assert (figures["downloads"], figures["failed"], figures["success_percent"]) == (0, 2, 0)
    assert "403" in figures["per_client"][0]["error"] and "error: " in printed
    s3.fault = lambda request: Answer(status=301, code="PermanentRedirect")
    _, figures = load(folder, "-c", "2", url, env=keys, status=1)
    assert (figures["downloads"], figures["failed"], figures["bytes"]) == (0, 2, 0)
    assert [client["error"] for client in figures["per_client"]] == ["HTTP status 301"] * 2


def test_for_a_while(folder):
    path = write(os.path.join(folder, "f"), content(SIZE))
    printed, figures = load(folder, "--clients=3", "--duration=1", "--progress", path)
    assert figures["elapsed_s"] >= 1 and figures["downloads"] > 3
    assert figures["bytes"] == figures["downloads"] * SIZE
    assert all(client["seconds"] for client in figures["per_client"])
    check_figures(figures)
    assert "progress elapsed=1s" in printed


def test_several_things(folder):
    """The clients share them out, and come round again."""
    paths = [write(os.path.join(folder, name), content(SIZE + i)) for i, name in enumerate("ab")]
    _, figures = load(folder, "-c", "3", *paths)
    assert [client["bytes"] for client in figures["per_client"]] == [SIZE, SIZE + 1, SIZE]
    assert figures["target"] == paths[0]
    check_figures(figures)


def test_called_in_another_way(folder):
    for args in ([], ["-c", "0", "f"], ["-c", "many", "f"], ["-d", "-1", "f"], ["-x", "f"]):
        done = subprocess.run([*(command()[:-1] if "thread" in SAN else []), LOAD, *args],
                              capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stdout) == (2, "") and "usage:" in done.stderr
    _, figures = load(folder, "-c", "2", os.path.join(folder, "missing"), status=1)
    assert [c["error"] for c in figures["per_client"]] == ["No such file or directory"] * 2


def test_started_by_the_mount(rgw, bucket, mount, http_proxy, folder):
    """One run at a time, by number; what is no order is refused and starts nothing."""
    rgw.put(bucket, "a/b/main/model.zip", content(SIZE))
    s3 = http_proxy(rgw.port)
    m = mount("[hosts]\nssh_config =\n", rgw.ini(bucket, s3.port, workload="yes"))
    path = m.path(".scoutfs", "workload")
    assert "workload" in os.listdir(m.path(".scoutfs")) and read(path) == b""
    for line in ("", "clients=3", "model=a", "model=a/b version=main clients=0", "model=a version=..",
                 "model=/a version=main", "model=a/b version=main x=1", "model=a version=main\0"):
        assert error(order, path, line or " ") == "EINVAL", line
    assert read(path) == b""
    run_sh = ["sh", "-c", 'echo "clients=5 model=a/b version=main" > "$1"', "sh", path]
    assert run(*run_sh).stderr == ""
    text = wait_for(lambda: ended(path, 1), 30, "run 1")
    assert text.startswith("run 1: model=a/b version=main clients=5 duration=0: done")
    assert f"downloads=5 failed=0 success=100.00% bytes={5 * SIZE}" in text
    assert re.search(r"^  mean=[\d.]+s median=[\d.]+s p99=[\d.]+s min=[\d.]+s max=[\d.]+s$", text, re.M)
    assert s3.body_bytes("model.zip") == SIZE
    order(path, "model=a/b version=missing clients=2")
    text = wait_for(lambda: ended(path, 2), 30, "run 2")
    assert "run 2: model=a/b version=missing clients=2 duration=0: failed" in text
    assert "error: No such file or directory" in text and text.startswith("run 1:")
    order(path, "model=a/b version=main clients=2 duration=600")
    assert error(order, path, "model=a/b version=main") == "EBUSY"
    wait_for(lambda: "progress elapsed=" in read(path).decode(), 30, "progress")
    m.unmount(signal.SIGTERM)  # which ends the readers, and leaves no process


def test_the_last_runs_are_shown(rgw, bucket, mount):
    """16 of them: with the 17th, the first is gone."""
    rgw.put(bucket, "a/main/model.zip", content(1000))
    m = mount("[hosts]\nssh_config =\n", rgw.ini(bucket, workload="yes"))
    path = m.path(".scoutfs", "workload")
    for number in range(1, 18):
        order(path, f"model=a version=main clients={number}")
        text = wait_for(lambda: ended(path, number), 30, f"run {number}")
        assert f"run {number}: model=a version=main clients={number} duration=0: done" in text
        shown = [int(n) for n in re.findall(r"^run (\d+):", text, re.M)]
        assert shown == list(range(max(1, number - 15), number + 1))


def test_no_workload_unless_asked_for(rgw, bucket, mount):
    m = mount("[hosts]\nssh_config =\n", rgw.ini(bucket))
    path = m.path(".scoutfs", "workload")
    assert error(order, path, "model=a version=main") == "ENOENT"
    assert error(order, m.path(".scoutfs", "status"), "x") == "EROFS"
    assert "workload" not in os.listdir(m.path(".scoutfs"))


def test_a_registry_filled(rgw, folder):
    """Models of the shape that the load asks for, also over what is there already."""
    env = clean_env(folder, AWS_ACCESS_KEY_ID=rgw.access_key, AWS_DEFAULT_REGION="us-east-1",
                    AWS_SECRET_ACCESS_KEY=rgw.secret_key)
    argv = [sys.executable, os.path.join(TOP, "bench", "fill_registry.py"), "--endpoint",
            rgw.endpoint, "--bucket", "filled", "--prefix", "p/", "--models", "4", "--bytes", "50000"]
    for _ in range(2):
        assert run(*argv, env=env).stdout == "4 models in filled/p/\n"
    listed = {o["Key"]: o["Size"] for o in rgw.client().list_objects_v2(Bucket="filled")["Contents"]}
    names = ["arnir0_Tiny-LLM", "model-001", "model-002", "model-003"]
    assert set(listed) == {f"p/{name}/main/{file}" for name in names
                           for file in ("README.md", "config.json", "model.zip")}
    assert listed["p/arnir0_Tiny-LLM/main/model.zip"] == 50000


def test_the_registry_of_the_load(monkeypatch):
    """What is put where nothing is said: 500 models, one of real size, 499 with a config and a README."""
    put = {}
    bucket = types.SimpleNamespace(head_bucket=lambda Bucket: None,
                                   put_object=lambda Bucket, Key, Body: put.update({Key: Body}))
    monkeypatch.setattr(fill_registry, "boto3", types.SimpleNamespace(client=lambda *a, **more: bucket))
    monkeypatch.setattr(sys, "argv", ["fill_registry.py", "--bucket", "b"])
    assert fill_registry.main() == 0
    names = {key.partition("/")[0] for key in put}
    texts = ["README.md", "config.json"]
    assert len(names) == 500 and sorted(put) == sorted(
        f"{name}/main/{file}" for name in names for file in (*texts, "model.zip"))
    sizes = {name: len(put[f"{name}/main/model.zip"]) for name in names}
    assert sizes.pop("arnir0_Tiny-LLM") == 24_834_009
    for name, size in sizes.items():
        assert size < 1000 and all(put[f"{name}/main/{file}"] for file in texts)
        with zipfile.ZipFile(io.BytesIO(put[f"{name}/main/model.zip"])) as z:
            assert sorted(z.namelist()) == texts and z.testzip() is None
