#!/usr/bin/python3
"""What can be said of the sources without running them. Each check lists its violations.

usage: lint.py BUILD     (after make test-programs, whose compilers' words lie in BUILD)
"""

import ast
import os
import re
import subprocess
import sys
import tempfile

TOP_LEVEL = {"Makefile", "src", "include", "tests", "bench", "examples", "scoutfs.ini", "README.md",
             ".ci", ".clang-format", ".gitignore"}
LONGEST = 700

# What each folder of src/ may include of include/scoutfs/, beside its own headers. The order of
# the program: base < config < the engines < the backends; fs and control see no engine.
BASE = {"budget", "child", "clock", "file", "hash", "lock", "log", "metrics", "text", "version"}
AWS = {"arn", "aws_env", "aws_profile", "aws_said"}  # what its own tools read, and write
LAYERS = {
    "base": BASE,
    "config": BASE | AWS | {"config"},
    "sftp": BASE | {"config", "sftp"},
    "s3": BASE | AWS | {"config", "s3"},
    "hosts": BASE | {"config", "sftp", "backend"},
    "models": BASE | {"config", "s3", "backend"},
    "control": BASE | {"config", "backend"},
    "fs": BASE | {"backend", "fs"},
    "": BASE | {"config", "backend", "fs"},  # main.c
}
# Who alone may use a library: the rest of the program does not know it is there.
LIBRARIES = {"fuse": {"fs"}, "libssh": {"sftp"}, "curl": {"s3"}, "expat": {"s3"}, "cjson": {"s3"},
             "openssl": {"models", "s3", "sftp"}, "ini": {"config"}, "zlib": {"models"}}
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)


def files(*folders, ends=(".c", ".h")):
    for folder in folders:
        for path, dirs, names in os.walk(folder):
            dirs[:] = sorted(d for d in dirs if d != "__pycache__")
            for name in sorted(names):
                if name.endswith(ends):
                    yield os.path.join(path, name)


def text(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return f.read()


def top_level():
    """Of what is in git: `cp MOUNT/models/.../model.zip .` may have left something beside it."""
    done = subprocess.run(["git", "ls-files", "-z"], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, check=False)
    names = {os.fsdecode(path).split("/")[0] for path in done.stdout.split(b"\0") if path}
    return [f"{name}: does not belong at the top" for name in sorted(names - TOP_LEVEL)] + \
        [f"{name}: missing" for name in sorted(TOP_LEVEL - set(os.listdir(".")))]


def layers(top="."):
    """Includes that point upward or sideways, and libraries used outside their folder."""
    found = []
    for path in files(os.path.join(top, "src")):
        inside = os.path.relpath(path, os.path.join(top, "src"))
        module = os.path.dirname(inside)
        if module not in LAYERS:
            found.append(f"{path}: a folder that has no place in the order")
            continue
        for bracket, name in INCLUDE.findall(text(path)):
            first = name.split("/")[0]
            if name.startswith("scoutfs/"):
                fine = name[len("scoutfs/"):-len(".h")] in LAYERS[module]
            elif bracket == "<":
                library = next((known for known in LIBRARIES
                                if re.match(known + r"\d*(_\w+)?(\.h|/)", name)), None)
                fine = library is None or module in LIBRARIES[library]
            elif "/" in name:
                fine = first == module and ".." not in name
            else:  # a header of the same folder
                fine = os.path.exists(os.path.join(os.path.dirname(path), name))
            if not fine:
                found.append(f"{path}: includes {name}")
    for path in files(os.path.join(top, "include")):
        found += [f"{path}: includes {name}" for bracket, name in INCLUDE.findall(text(path))
                  if bracket == '"' and not name.startswith("scoutfs/")]
    return found


def layers_check_works():
    """The check above, on a tree with violations planted: it must find them all and no other."""
    planted = {
        "src/hosts/a.c": ('#include "scoutfs/s3.h"\n', 1),
        "src/hosts/b.c": ('#include "models/tree.h"\n#include <libssh/libssh.h>\n', 2),
        "src/sftp/c.c": ('#include "scoutfs/backend.h"\n  #  include <curl/curl.h>\n', 2),
        "src/fs/d.c": ('#include "scoutfs/sftp.h"\n#include "../hosts/pool.h"\n', 2),
        "src/control/e.c": ('#include <fuse3/fuse_lowlevel.h>\n#include <fuse_lowlevel.h>\n', 2),
        "src/base/f.c": ('#include "scoutfs/config.h"\n', 1),
        "src/main.c": ('#include "scoutfs/sftp.h"\n', 1),
        "src/new/g.c": ("\n", 1),
        "include/scoutfs/h.h": ('#include "hosts/pool.h"\n', 1),
        "src/hosts/fine.c": ('#include <errno.h>\n#include "scoutfs/sftp.h"\n'
                             '#include "hosts/own.h"\n#include "own.h"\n', 0),
        "src/hosts/own.h": ('#include "scoutfs/text.h"\n', 0),
        "src/fs/fine.c": ("#include <fuse_lowlevel.h>\n", 0),
    }
    wrong = []
    with tempfile.TemporaryDirectory() as top:
        for path, (source, _) in planted.items():
            os.makedirs(os.path.join(top, os.path.dirname(path)), exist_ok=True)
            with open(os.path.join(top, path), "w", encoding="utf-8") as f:
                f.write(source)
        found = layers(top)
        for path, (_, count) in planted.items():
            seen = [one for one in found if one.startswith(os.path.join(top, path) + ":")]
            if len(seen) != count:
                wrong.append(f"{path}: {count} planted, {len(seen)} found")
    return wrong


def lengths():
    found = []
    for path in files("src", "include", "tests", "bench", ends=(".c", ".h", ".py")):
        lines = text(path).count("\n")
        if lines > LONGEST:
            found.append(f"{path}: {lines} lines, two jobs")
    return found


def file_heads():
    return [f"{path}: does not begin with what it is" for path in files("src", "include")
            if not text(path).startswith("/*")]


def unfinished():
    words = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")
    found = []
    for path in files("src", "include", "tests", "bench", "examples", ".ci",
                      ends=(".c", ".h", ".py", ".sh", ".ini", "run")):
        found += [f"{path}:{n}: {line.strip()}"
                  for n, line in enumerate(text(path).splitlines(), 1) if words.search(line)]
    return found


def formatted():
    names = list(files("src", "include", "tests", "bench"))
    done = subprocess.run(["clang-format", "--dry-run", *names], capture_output=True, text=True,
                          check=False)
    return sorted({line.split(":")[0] + ": clang-format would change it"
                   for line in done.stderr.splitlines() if "warning:" in line}) or \
        ([] if done.returncode == 0 else [done.stderr])


def shell_scripts():
    found = []
    for path in [*files("tests", "bench", "examples", ends=(".sh",)), ".ci/run"]:
        shell = "bash" if "bash" in text(path).partition("\n")[0] else "sh"
        done = subprocess.run([shell, "-n", path], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            found.append(f"{path}: {done.stderr.strip()}")
        if not os.access(path, os.X_OK):
            found.append(f"{path}: not executable")
    return found


def python_scripts():
    found = []
    for path in files("tests", "bench", "examples", ends=(".py",)):
        try:
            ast.parse(text(path), path)
        except SyntaxError as e:
            found.append(str(e))
    return found


def compilers_silent(build):
    found = []
    for path in files(build, ends=(".warn",)):
        # other builds have folders of their own below this one
        if "/san-" not in path[len(build):] and "/clang-fuzz/" not in path and os.path.getsize(path):
            found.append(f"{path[:-len('.warn')]}: {text(path)[:500]}")
    return found


def clang_accepts(build):
    def fresh(source):
        mark = os.path.join(build, "clang", source[:-len(".c")] + ".ok")
        return os.path.exists(mark) and os.path.getmtime(mark) >= os.path.getmtime(source)

    return [f"{path}: clang did not accept it" for path in files("src", "tests", ends=(".c",))
            if not fresh(path)]


def main():
    build = sys.argv[1]
    checks = [
        ("top level", top_level), ("layers", layers), ("layers: planted violations are found",
                                                       layers_check_works),
        ("length of files", lengths), ("file heads", file_heads), ("nothing unfinished", unfinished),
        ("clang-format", formatted), ("shell syntax", shell_scripts), ("python syntax",
                                                                      python_scripts),
        ("compilers are silent", lambda: compilers_silent(build)),
        ("clang accepts every file", lambda: clang_accepts(build)),
    ]
    bad = 0
    for name, check in checks:
        violations = check()
        print(f"{'not ok' if violations else 'ok'} lint: {name}")
        for one in violations:
            print(f"    {one}")
        bad += bool(violations)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
