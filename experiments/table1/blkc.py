"""One run of blkc in a cell's folder: begun, gone on with, interrupted, recognised as diverged."""
import ctypes
import fcntl
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

from plan import Mistake

INTERRUPTED = 130
DIVERGED = re.compile(r"^error: ((?:the loss of step \d+ \(epoch \d+\) is |not finite after step \d+).*)", re.MULTILINE)


class Interrupted(Exception):
    """Ctrl-C or SIGTERM; blkc has saved the cell."""


class Busy(Exception):
    """Another process runs this cell."""


class Signals:
    """Hands Ctrl-C and SIGTERM on to the blkc that runs, which saves and leaves."""

    def __init__(self):
        self.stop, self.child = False, None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.handle)

    def handle(self, _number, _frame):
        self.stop = True
        if self.child:
            self.child.send_signal(signal.SIGTERM)

    def check(self):
        if self.stop:
            raise Interrupted


def find(path):
    """The compiler: --blkc, else the checkout's own, else the one on the PATH."""
    own = pathlib.Path(__file__).resolve().parents[2] / "target" / "release" / "blkc"
    found = shutil.which(path) if path else (str(own) if own.exists() else shutil.which("blkc"))
    if not found:
        raise Mistake(f"there is no blkc {path or f'at {own} or on the PATH'}\n  help: `make build`, or name it by --blkc PATH")
    return os.path.abspath(found)


class Lock:
    """Of a cell's folder, held until this process and the blkc that it started have both ended."""

    def __init__(self, folder, patience=5.0):
        self.file = open(folder / "lock", "w", encoding="utf-8")
        end = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > end:
                    self.file.close()
                    raise Busy from None
                time.sleep(0.1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()


def train(blkc, cell, folder, threads, signals):
    """Runs the cell to its end. Returns None, or how it diverged; raises Interrupted, Busy, and Mistake with blkc's message."""
    folder.mkdir(parents=True, exist_ok=True)
    with Lock(folder) as lock:
        signals.check()
        for name, content in cell.files().items():
            (folder / name).write_text(content, encoding="utf-8")
        place = ["--resume", "run"] if is_begun(folder) else ["--out", "run"]
        command = [blkc, "train", "cell.blk", *cell.options(threads), *place]
        with Session(folder) as session:
            status, output = call(command, folder, lock, signals)
            session.status = status
        return judge(status, output, folder, signals)


def judge(status, output, folder, signals):
    diverged = DIVERGED.search(output)
    if status == 0:
        return None
    if status == 1 and diverged:
        return diverged[1]
    if signals.stop:
        raise Interrupted
    if status == INTERRUPTED:
        raise Mistake(f"{folder}: blkc was interrupted; run again to go on")
    if status < 0:
        raise Mistake(f"{folder}: blkc was ended by signal {-status}; run again to go on")
    raise Mistake(f"{output.strip()}\n  in {folder}; if its files are damaged, remove it to run the cell anew")


def is_begun(folder):
    """Whether there is a run to go on with. One that was killed before its first save is removed."""
    run = folder / "run"
    needed = [name for name in ("run.json", "state.safetensors") if not (run / name).exists()]
    if not needed:
        return True
    metrics = run / "metrics.jsonl"
    if len(needed) == 1 or (metrics.exists() and metrics.stat().st_size):
        raise Mistake(f"{run} is damaged: it has no {' and no '.join(needed)}\n  help: remove {folder} to run the cell anew")
    if run.exists():
        shutil.rmtree(run)
    return False


class Session:
    """Keeps when blkc ran, in `sessions.json`: `began` and `ended` in seconds since 1970, and its exit status. What a session
    that was killed did after its last save is lost: it counts up to there."""

    def __init__(self, folder):
        self.file, self.status = folder / "sessions.json", None
        self.sessions = json.loads(self.file.read_text()) if self.file.exists() else []
        state = folder / "run" / "state.safetensors"
        if self.sessions and self.sessions[-1]["ended"] is None:
            last = self.sessions[-1]
            last["ended"] = max(last["began"], state.stat().st_mtime) if state.exists() else last["began"]

    def __enter__(self):
        self.sessions.append({"began": time.time(), "ended": None, "status": None})
        self.write()
        return self

    def __exit__(self, *_):
        self.sessions[-1].update(ended=time.time(), status=self.status)
        self.write()

    def write(self):
        write(self.file, json.dumps(self.sessions, indent=1) + "\n")


def call(command, folder, lock, signals):
    """Status and output of the command; what it says goes to `log.txt` too, its epochs to the terminal."""
    log = folder / "log.txt"
    with open(log, "ab") as sink:
        start = sink.tell()
        child = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink,
            start_new_session=True, preexec_fn=end_with_parent, pass_fds=[lock.file.fileno()],
        )
    signals.child = child
    if signals.stop:
        child.send_signal(signal.SIGTERM)
    shown = start
    try:
        while True:
            try:
                status = child.wait(0.2)
            except subprocess.TimeoutExpired:
                status = None
            shown = echo(log, shown)
            if status is not None:
                return status, log.read_bytes()[start:].decode(errors="replace")
    finally:
        signals.child = None


def echo(log, shown):
    """Prints the whole lines that tell of epochs, from byte `shown` on; returns how far it came."""
    with open(log, "rb") as file:
        file.seek(shown)
        fresh = file.read()
    whole = fresh[: fresh.rfind(b"\n") + 1]
    for line in whole.decode(errors="replace").splitlines():
        if line.startswith(("epoch", "going on", "warning", "error")):
            print(f"  {line}", file=sys.stderr, flush=True)
    return shown + len(whole)


LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def end_with_parent():
    """Linux: SIGTERM, on which blkc saves and leaves, when this script is killed."""
    if LIBC:
        LIBC.prctl(1, signal.SIGTERM)


def write(path, content):
    """Beside the file, then renamed: a kill leaves the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + f".{os.getpid()}.new")
    aside.write_text(content, encoding="utf-8")
    aside.replace(path)
