"""Look at a page and a project as another account of the machine, and say what there was to see.

What it is to look at comes as JSON by the standard input.
"""

import json
import os
import sys
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

given = json.load(sys.stdin)
with suppress(
    urllib.error.HTTPError
):  # Python's own files may be closed to others: it reads them now
    urllib.request.urlopen(given["home"])
os.setgroups([])
os.setresgid(given["user"], given["user"], given["user"])
os.setresuid(given["user"], given["user"], given["user"])

answers, read = {}, {}


def look(name, data):
    read[name] = [word for word in given["words"] if word.encode() in data]


def try_file(path):
    with suppress(OSError):
        if path.stat().st_size < 10_000_000:
            look(str(path), path.read_bytes())


run = f"runs/{given['run']}"
run_id = f"run={given['run']}"
parts = ("more", "console", "file?name=secretive.txt", "preview?name=secretive.txt")
views = ("", "runs", "pipelines", "health", f"compare?{run_id}", f"curves?{run_id}", run)
for view in (*views, *(f"{run}/{part}" for part in parts)):
    for headers in ({}, {"accept": "text/html"}, {"x-forwarded-user": "root"}):
        request = urllib.request.Request(given["home"] + view, headers=headers)
        try:
            with urllib.request.urlopen(request) as answer:
                status, data = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, data = error.code, error.read()
        answers[f"{view} {headers}"] = status
        look(f"{view} {headers}", data)
for process in given["processes"]:
    for name in ("cmdline", "environ", "status"):
        path = Path(f"/proc/{process}/{name}")
        with suppress(OSError):
            look(str(path), path.read_bytes())
project, temporary = map(Path, given["folders"])
for folder, _, names in os.walk(project):
    for name in names:
        try_file(Path(folder) / name)
for found in temporary.glob("trackyard-*"):
    for path in (found, *found.glob("*")):
        try_file(path)
print(json.dumps({"user": os.getuid(), "answers": answers, "read": read}))
