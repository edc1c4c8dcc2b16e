"""Draw the pictures of docs/how-it-works.md, into docs/images.

Run it with `uv run docs/draw_pictures.py` after a change; a test says when that is due, and
whether each name that stands in a picture is still one of the code's.
"""

from html import escape
from pathlib import Path

IMAGES = Path(__file__).parent / "images"

# A journal that there was: its name is part of the checksum of the frame in the picture.
JOURNAL = "runs/01a2288d7417764e9aa9613db621a5da/r0-p3613-7515.000001.tyj"
# Who writes: each has one colour in all pictures, for light pages and for dark ones.
STYLE = """
.ground { fill: #fcfcfb; stroke: #dcdcd8 }
text { fill: #23262b; font: 13px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif }
.title { font-weight: 600; font-size: 14px }
.small { font-size: 11.5px; fill: #5b6068 }
.label { fill: #5b6068; font-size: 11.5px; paint-order: stroke; stroke: #fcfcfb; stroke-width: 5px }
.halo { paint-order: stroke; stroke: #fcfcfb; stroke-width: 5px }
.code { font: 12px ui-monospace, "SFMono-Regular", Menlo, Consolas, "DejaVu Sans Mono", monospace }
.box { stroke-width: 1.2 }
.step { fill: #e9f1fb; stroke: #5b8fcc }
.worker { fill: #e8f5ec; stroke: #56a06f }
.recovery { fill: #fcf0e3; stroke: #cf8d45 }
.disk { fill: #f4f2ea; stroke: #a59c80 }
.outside { fill: none; stroke: #8b9098; stroke-dasharray: 5 4 }
.line { fill: none; stroke: #6a7078; stroke-width: 1.3 }
.waiting { stroke-dasharray: 5 4 }
.head { fill: #6a7078 }
@media (prefers-color-scheme: dark) {
  .ground { fill: #15181c; stroke: #343a41 }
  text { fill: #e4e6e9 }
  .small { fill: #a4abb4 }
  .label { fill: #a4abb4; stroke: #15181c }
  .halo { stroke: #15181c }
  .step { fill: #1b2a3c; stroke: #6ba0de }
  .worker { fill: #1a2e21; stroke: #66b581 }
  .recovery { fill: #35281a; stroke: #dd9d57 }
  .disk { fill: #2a281f; stroke: #a89f82 }
  .line { stroke: #9aa1aa }
  .head { fill: #9aa1aa }
}
""".strip()

HEAD = """
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" \
height="{height}" role="img">
<title>{title}</title>
<style>
{style}
</style>
<defs>
<marker id="head" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="7" markerHeight="7" \
orient="auto-start-reverse"><path class="head" d="M0 0.6 L8 4 L0 7.4 Z"/></marker>
</defs>
<rect class="ground" width="{width}" height="{height}" rx="8"/>
"""


class Picture:
    """A drawing that grows by boxes, texts and arrows, in pixels from the left upper corner."""

    def __init__(self, title: str, width: int, height: int) -> None:
        head = HEAD.format(title=escape(title), width=width, height=height, style=STYLE)
        self.parts = [head.strip()]

    def text(self, x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> None:
        """Write a line; what stands in it between backticks is a name of the code."""
        spans = [
            f'<tspan class="code">{escape(part)}</tspan>' if index % 2 else escape(part)
            for index, part in enumerate(text.split("`"))
        ]
        shown = f' class="{kind}"' if kind else ""
        self.parts.append(
            f'<text{shown} x="{x:g}" y="{y:g}" text-anchor="{anchor}">{"".join(spans)}</text>'
        )

    def box(self, x: float, y: float, width: float, height: float, kind: str, *lines: str) -> None:
        """Draw a box with a title and lines."""
        self.parts.append(
            f'<rect class="box {kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" '
            'rx="6"/>'
        )
        for index, line in enumerate(lines):
            self.text(x + 12, y + 22 + 19 * index, line, "" if index else "title")

    def arrow(self, *points: tuple[float, float], both: bool = False, waits: bool = False) -> None:
        """Draw a line through points, with a head at its end."""
        path = " L".join(f"{x:g} {y:g}" for x, y in points)
        start = ' marker-start="url(#head)"' if both else ""
        kind = "line waiting" if waits else "line"
        self.parts.append(f'<path class="{kind}" d="M{path}" marker-end="url(#head)"{start}/>')

    def line(self, *points: tuple[float, float], waits: bool = False) -> None:
        """Draw a line without a head."""
        path = " L".join(f"{x:g} {y:g}" for x, y in points)
        self.parts.append(f'<path class="line{" waiting" if waits else ""}" d="M{path}"/>')

    def drawn(self) -> str:
        """Give the file's text."""
        return "\n".join([*self.parts, "</svg>", ""])


# Left edge, top edge, width, height, kind, and what stands in the box.
PROCESSES = [
    (24, 66, 262, 148, "step", "1  Your process",
     "runs the step or block;", "writes each record to the journal;",
     "`tracker_activate_run` in its thread:", "the SDK's own calls find the run;",
     "imports no SDK that you do not use"),
    (24, 262, 262, 90, "step", "Children of the step",
     "ranks, data loaders, `os.system`;", "find the run by `TRACKYARD_RUN_ID`",
     "and write files of their own"),
    (24, 378, 262, 90, "step", "Processes of the orchestrator",
     "`process`: one step at a time in each;", "they write into the run's folder,",
     "process 1 keeps its trackers"),
    (24, 494, 262, 110, "step", "Ray workers",
     "on this machine as above; on others", "a thread ships the journal to a",
     "`JournalReceiver` on the driver's", "node, byte for byte"),
    (404, 166, 222, 438, "disk", "A run's folder",
     "", "`run.json`", "", "`r0-*.tyj`  journal", "`r0-*.lock`  it lives", "", "`child-*.tyj`",
     "", "", "`worker-*.tyj`", "", "", "`recovery-*.tyj`", "", "`TRACKER/delivery.json`",
     "   cursor, URL, counts", "", "", "beside it: `pending/`, `drivers/`"),
    (736, 66, 296, 148, "worker", "2  Worker process, one per tracker",
     "`trackyard.delivery.serving`", "imports the SDK once, calls its hooks;",
     "lives on for the next run; ends after", "60 s without one, or 60 s after",
     "process 1 died"),
    (736, 262, 296, 48, "outside", "Tracker", "MLflow, W&B, TensorBoard, …"),
    (736, 358, 296, 110, "recovery", "3  Watchdog, one per process 1",
     "`trackyard.recovery.watchdog`", "waits, and imports nothing until then;",
     "ends what died, delivers what is left,", "by worker processes of its own"),
    (736, 494, 296, 110, "recovery", "4  A command, as `trackyard sync`",
     "does what the watchdog does, whenever", "you type it: with `TRACKYARD_WATCHDOG=0`,",
     "after a power failure, or when the", "tracker is back"),
]  # fmt: skip


def processes() -> str:
    """Draw the kinds of process and what passes between them."""
    picture = Picture("Four kinds of process around a run's folder", 1080, 640)
    text, arrow = picture.text, picture.arrow
    for process in PROCESSES:
        picture.box(*process)
    middle, right = 404, 736
    arrow((286, 92), (right, 92))
    text(511, 86, "pipe: carry this run, hurry, stop", "small", "middle")
    arrow((right, 126), (286, 126))
    text(511, 144, "pipe: started, URL, problem, ended", "small", "middle")
    arrow((286, 190), (middle, 190))
    text(345, 183, "records, end", "small", "middle")
    arrow((286, 307), (middle, 307))
    text(345, 300, "records", "small", "middle")
    arrow((286, 423), (middle, 423))
    text(345, 416, "records", "small", "middle")
    arrow((286, 549), (middle, 549))
    text(345, 542, "records", "small", "middle")
    arrow((626, 184), (right, 184))
    text(681, 177, "records", "small", "middle")
    arrow((right, 204), (626, 204))
    text(681, 220, "cursor", "small", "middle")
    arrow((880, 214), (880, 262))
    text(890, 242, "hooks, through the SDK", "small")
    arrow((880, 358), (880, 310))
    text(890, 338, "what is left", "small")
    arrow((right, 413), (626, 413), both=True)
    text(681, 406, "the end, if none", "small", "middle")
    arrow((right, 549), (626, 549), both=True)
    text(681, 542, "likewise", "small", "middle")
    arrow((155, 66), (155, 34), (1056, 34), (1056, 413), (1032, 413), waits=True)
    passed = "pipe with the project's folder, and a pidfd that tells when process 1 is dead"
    text(606, 26, passed, "small", "middle")
    return picture.drawn()


# Path, who writes it, and what it is.
TREE = [
    (0, ".trackyard/", "", ""),
    (1, "runs/", "", ""),
    (2, "RUN/", "", "one folder for each tracked run, named by its id"),
    (3, "run.json", "step", "the run and its trackers, enough to go on elsewhere"),
    (3, "r0-pPID-XXXX.lock", "step", "held as long as the run's process lives"),
    (3, "r0-pPID-XXXX.000001.tyj", "step", "the journal, in segments of 64 KiB to 16 MiB"),
    (3, "child-pPID-XXXX.000001.tyj", "step", "what a child of the step logged"),
    (3, "blobs/SHA256/NAME", "step", "files and long values, once for each content"),
    (3, "recovery-pPID-XXXX.000001.tyj", "recovery", "the end of a run that died"),
    (3, "recovery.lock", "recovery", "so that one of several processes writes it"),
    (3, "TRACKER/", "", "one folder for each of its trackers: the run.folder that hooks get"),
    (4, "delivery.lock", "worker", "held by the one process that delivers the run there"),
    (4, "delivery.json", "worker", "how far it has come: cursor, URL, counts, last problem"),
    (4, "quarantine.jsonl", "worker", "records that the tracker refused for good, and why"),
    (4, "long/HASH/KEY.txt", "worker", "the whole of a text that the backend shortens"),
    (4, "…", "worker", "whatever the flavor keeps, such as the backend's own id of the run"),
    (1, "pending/RUN", "step", "some tracker may lack something of the run; an empty file"),
    (1, "offline/RUN", "worker", "an SDK keeps the run on this machine until trackyard sync"),
    (1, "drivers/RUN.json", "step", "a pipeline run that goes on; its lock is beside it"),
    (1, "workers/TRACKER.log", "worker", "what the worker process and its SDK print"),
    (1, "store.db", "step", "pipeline runs and steps: what runs list shows first"),
    (1, "artifacts/RUN/…", "step", "what steps returned; not what they logged"),
]  # fmt: skip


def folder() -> str:
    """Draw a run's folder, file by file."""
    height = 26 * len(TREE) + 84
    picture = Picture("A run's folder, file by file", 1080, height)
    for index, (depth, name, kind, note) in enumerate(TREE):
        x, y = 28 + 26 * depth, 38 + 26 * index
        if depth:
            above = max(i for i, row in enumerate(TREE[:index]) if row[0] <= depth)
            top = 34 if TREE[above][0] == depth else 44  # a sibling, or the folder itself
            picture.line((x - 16, top + 26 * above), (x - 16, y - 4), (x - 5, y - 4))
        if kind:
            picture.parts.append(
                f'<rect class="box {kind}" x="392" y="{y - 13}" width="12" height="16" rx="3"/>'
            )
        picture.text(x, y, f"`{name}`")
        picture.text(418, y, note)
    y = height - 24
    for x, kind, text in (
        (28, "step", "written by the run's process and its children"),
        (380, "worker", "by whoever delivers: a worker"),
        (630, "recovery", "by recovery: the watchdog, or a command"),
    ):
        picture.parts.append(
            f'<rect class="box {kind}" x="{x}" y="{y - 12}" width="12" height="14" rx="3"/>'
        )
        picture.text(x + 20, y, text)
    return picture.drawn()


# What is called, where it stands, and what it does.
CALLS = [
    ("`log_metric`", "tracking/calls.py", "finds the current run"),
    ("`ActiveRun.log_metric`", "tracking/calls.py", "redacted key, number, time"),
    ("`JournalWriter.append_metric`", "journal/writer.py", "one line of JSON"),
    ("`JournalWriter._append`", "journal/writer.py", "sequence number, lock"),
    ("`MappedSegment.write`", "journal/segments.py", "copies into the map"),
    ("`encode_frame`", "journal/frames.py", "length and checksum"),
]
# What is called, and what it does.
WAYS = [
    ("`JournalReader.read`", "checks each frame,", "makes an `Entry` of it"),
    ("`Intake.read`", "counts ranks, numbers", "the records from 1"),
    ("`Adapter.adapt`", "fits each one to the", "flavor's `Capabilities`"),
    ("`Sender.send`", "a batch; halved where", "one record is at fault"),
    ("`TrackerHooks.log`", "time limit; errors", "become an `Outcome`"),
    ("`tracker_log`", "the flavor calls", "its SDK"),
]


def record() -> str:
    """Draw the way of a record."""
    picture = Picture("The way of a metric from the log call to the tracker", 1080, 520)
    text, arrow = picture.text, picture.arrow
    text(
        24,
        34,
        "In your process: six calls in four files, a few microseconds, no system call",
        "title",
    )
    for index, (name, file, note) in enumerate(CALLS):
        x, y = 24 + 352 * (index % 3), 50 + 92 * (index // 3)
        picture.box(x, y, 328, 68, "step")
        text(x + 12, y + 21, name)
        text(x + 12, y + 40, f"`{file}`", "small")
        text(x + 12, y + 58, note, "small")
        if index in (0, 1, 3, 4):
            arrow((x + 328, y + 34), (x + 352, y + 34))
    arrow((892, 118), (892, 130), (188, 130), (188, 142))
    picture.box(24, 250, 1032, 62, "disk")
    text(
        36,
        272,
        f"`{JOURNAL}`  a map that the system keeps when the process dies",
    )
    text(
        36,
        296,
        '`~1 00000000 00000002 0000002e db95a810 ["metrics",1795976696804176837,0,{"loss":1.0}]`',
    )
    arrow((540, 210), (540, 250))
    text(550, 235, "the log call returns", "small")
    arrow((188, 312), (188, 366))
    text(198, 344, "read from the cursor, ten times a second", "small")
    text(1056, 344, "In the worker process, for each tracker by itself", "title", "end")
    for index, (name, first, second) in enumerate(WAYS):
        x = 24 + 176 * index
        picture.box(x, 366, 152, 72, "worker")
        text(x + 10, 388, name)
        text(x + 10, 407, first, "small")
        text(x + 10, 425, second, "small")
        if index < 5:
            arrow((x + 152, 402), (x + 176, 402))
    arrow((980, 438), (980, 478), (276, 478), (276, 438))
    text(
        628,
        470,
        "taken: `Intake.acknowledge` moves the cursor, `save_state` writes it to `delivery.json`",
        "small",
        "middle",
    )
    text(
        628,
        498,
        "not taken: the same records come again, under the same numbers",
        "small",
        "middle",
    )
    return picture.drawn()


# Where it stands, its kind, its name and its file.
LANES = [
    (120, "step", "Step and runner", "pipelines/runner.py"),
    (340, "step", "Its runs' life", "tracking/lifecycle.py"),
    (560, "disk", "Run's folder", "tracking/tracked_runs.py"),
    (780, "worker", "Worker", "delivery/delivery.py"),
    (970, "outside", "Tracker", "hookspecs.py"),
]


def step() -> str:
    """Draw the way of a step, from top to bottom."""
    picture = Picture("The way of a step: start, activation, end and recovery", 1080, 776)
    text, arrow = picture.text, picture.arrow
    for x, kind, name, file in LANES:
        picture.line((x, 74), (x, 756), waits=True)
        picture.box(x - 92, 22, 184, 52, kind)
        text(x, 43, name, "title", "middle")
        text(x, 62, f"`{file}`", "small", "middle")
    a, b, c, d, e = (x for x, *_ in LANES)

    def say(y: float, start: float, end: float, what: str, *, waits: bool = False) -> None:
        arrow((start, y), (end, y), waits=waits)
        text((start + end) / 2, y - 7, what, "label", "middle")

    def note(x: float, y: float, *lines: str, kind: str = "step", width: float = 196) -> None:
        picture.box(x - width / 2, y, width, 12 + 17 * len(lines), kind)
        for index, line in enumerate(lines):
            text(x, y + 19 + 17 * index, line, "small", "middle")

    say(112, a, b, "`RunGroup.start`")
    say(140, b, c, "`TrackedRun.add_tracker`")
    note(c, 150, "`run.json`, lock, pending mark", kind="disk")
    say(206, b, d, "carry this run")
    say(234, d, e, "`tracker_start_run`")
    say(262, d, b, "started, and its URL (`start_timeout` is waited at most)", waits=True)
    note(a, 284, "`TrackedRun.activated`:", "`tracker_activate_run`", "in the step's own thread")
    note(a, 358, "inputs are loaded,", "the function runs")
    say(380, 218, c, "records, whenever it logs")
    say(404, c, d, "read")
    say(404, d, e, "`tracker_log`")
    note(a, 420, "outputs are stored")
    say(484, a, b, "`RunGroup.finish`")
    say(484, b, c, "the end, its status")
    say(512, b, d, "hurry")
    say(540, d, e, "`tracker_end_run`, or")
    text((d + e) / 2, 555, "`tracker_fail_run`", "label", "middle")
    note(a, 502, "the next step starts:", "nobody waits here")
    say(592, a, b, "`RunGroup.close`")
    say(592, d, b, "ended (`flush_timeout` is waited at most)", waits=True)
    note(c, 602, "pending mark is removed", kind="disk")
    picture.line((24, 650), (1056, 650))
    text(
        28,
        672,
        "If the process dies anywhere above: the lock is free, and no end stands in the journal",
        "title halo",
    )
    note(a, 686, "watchdog, or `trackyard sync`:", "`end_the_dead`", kind="recovery")
    say(702, 218, c, "`find_or_write_end`: crashed, or killed")
    note(340, 716, "then `sync_runs` starts workers", kind="recovery", width=210)
    say(734, 445, d, "carry this run, attached")
    say(734, d, e, "the rest, and the end")
    return picture.drawn()


PICTURES = {"processes": processes, "run-folder": folder, "way-of-a-record": record,
            "way-of-a-step": step}  # fmt: skip


def written() -> dict[Path, str]:
    """Give what each picture's file holds."""
    return {IMAGES / f"{name}.svg": draw() for name, draw in PICTURES.items()}


if __name__ == "__main__":
    for path, drawn in written().items():
        path.write_text(drawn, encoding="utf-8")
