"""What the README and the examples say is so."""

import glob
import os
import re
import subprocess

import pytest

from mount import BINARY, TOP, clean_env, command

README = os.path.join(TOP, "README.md")


def text(*path):
    with open(os.path.join(TOP, *path), encoding="utf-8") as f:
        return f.read()


def check(home, *args):
    return subprocess.run(command("--check", *args), env=clean_env(home), text=True, timeout=60,
                          stdin=subprocess.DEVNULL, capture_output=True, check=False)


def plain(value):
    """60s and 1m are the same."""
    parts = re.fullmatch(r"(\d+)(s|m|h)", value)
    return int(parts[1]) * {"s": 1, "m": 60, "h": 3600}[parts[2]] if parts else value


@pytest.fixture
def effective(folder):
    """{section: {key: value}} of the defaults, as --check tells them."""
    ini = os.path.join(folder, "one.ini")
    with open(ini, "w", encoding="utf-8") as f:
        f.write("[hosts]\nssh_config =\n[models]\nbucket = some-models\n")
    done = check(folder, ini)
    assert done.returncode == 0, done.stderr
    sections, section = {}, None
    for line in done.stdout.splitlines():
        if head := re.fullmatch(r"\[(.*)\]", line):
            section = sections.setdefault(head[1], {})
        elif pair := re.fullmatch(r"(\w+) =(?: (.*))?", line):
            section[pair[1]] = pair[2] or ""
    return sections


def test_the_two_commands_are_in_the_readme():
    for target in ("make demo", "make test"):
        assert re.search(rf"^\s*\$? ?{target}\b", text("README.md"), re.M), target


def test_every_make_target_it_names_exists():
    named = set(re.findall(r"`make ([a-z-]+)", text("README.md")))
    named |= set(re.findall(r"^\s*\$? ?make ([a-z-]+)", text("README.md"), re.M))
    for target in named:
        done = subprocess.run(["make", "-n", "-C", TOP, target], capture_output=True, text=True,
                              timeout=60, check=False)
        assert "No rule to make target" not in done.stderr, target


def test_every_key_is_in_the_sample(effective):
    sample = text("scoutfs.ini")
    for section, keys in effective.items():
        for key in keys:
            assert re.search(rf"^#?\s*{key} =", sample, re.M), f"[{section}] {key}"


def test_the_samples_defaults_are_true(effective, folder):
    """Every commented line of scoutfs.ini that holds a key says its default."""
    section = None
    for line in text("scoutfs.ini").splitlines():
        if head := re.fullmatch(r"#?\[(\w+)\]", line):
            section = head[1]
        elif pair := re.fullmatch(r"#(\w+) =(?: (.*))?", line):
            key, said = pair[1], pair[2] or ""
            real = effective[section][key]
            if key in ("bucket", "ssh_config", "known_hosts"):  # set above; expanded
                continue
            assert plain(said) == plain(real), f"[{section}] {key}"


def test_the_sample_works_as_it_is(folder):
    done = check(folder, os.path.join(TOP, "scoutfs.ini"))
    assert (done.returncode, done.stderr) == (0, "")


def test_examples_are_valid(folder):
    for path in glob.glob(os.path.join(TOP, "examples", "*.ini")):
        done = check(folder, path)
        assert (done.returncode, done.stderr) == (0, ""), path


def test_all_examples_are_there():
    names = {os.path.basename(p) for p in glob.glob(os.path.join(TOP, "examples", "*"))}
    assert {"minimal.ini", "many-hosts.ini", "registry.ini"} <= names
    assert any(name.endswith(".sh") for name in names)


def test_the_manual_page_is_readable():
    pages = glob.glob(os.path.join(TOP, "src", "*.1"))
    for page in pages:
        with open(page, encoding="utf-8") as f:
            assert f.read().lstrip().startswith((".TH", '.\\"', "'\\\""))
    assert os.access(BINARY, os.X_OK)
