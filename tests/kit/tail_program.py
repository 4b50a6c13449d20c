"""Random programs for the tail: a writer that numbers its lines, a rotator in every fashion, and the fortunes of the agent.

RULES
- The seed decides everything. What happened is in `trace`, the kinds of faults that did in `faults`.
- A line is destroyed when its last copy on the disk goes while nobody can read it: truncated without a copy, overwritten, written
  between copy and truncation, deleted while no handle is open or before a crash. Only destroyed lines may be missing.
- A loss may be said of destroyed bytes alone. After a crash the agent does not know what it delivered and had no verdict for, so
  these may be said to be lost too when they are destroyed then.
- A loss that was said and not booked in a checkpoint when the agent was killed counts once, as the next run says it again.
- Rotations and what is written between them do not share a moment of the clock, as `mtime` orders the files.
- Where handles are short, one may be closed whose file is deleted at that moment: nobody can know. These lines may be missing.
- A file that is compressed while it has a further name of another kind is two files to everybody; no program does that.
- A program comes to an end in peace: errors are over, permissions granted, the agent runs for forty seconds. A last line is
  written first: a file that came and was rotated away unseen is found when the next one lies at its path.
"""

from __future__ import annotations

import errno
import random
from collections import Counter
from collections.abc import Callable

from shipper.source.names import is_packed
from shipper.source.reading import Limits
from tests.kit.fake_fs import Inode
from tests.kit.tail_world import LIVE, World

ACTIONS = 60
LINK = "/logs/current"
KEPT = 5
FAULTS = (
    "rename", "dated", "nocreate", "copytruncate", "copytruncate_race", "truncate", "regrow", "delete", "unlinked_open", "late_write",
    "compress", "compress_slowly", "compress_tmp", "compress_now", "delaycompress", "move_touch_gzip", "expire", "hard_link",
    "symlink", "inode_reuse", "hole", "short_reads", "eio", "emfile", "enoent", "denied", "crash", "rotation_down", "rotation_blocked",
    "partial", "missed_in_listing", "header", "few_handles",
)  # fmt: skip
"""Every kind; each must occur in at least one program of a hundred."""


class Program:
    """One seeded program against one world."""

    def __init__(self, seed: int) -> None:
        """Choose the settings of source and rotator."""
        self.random = choose = random.Random(seed)
        limits = Limits(
            read_size_bytes=choose.choice([64, 200, 5000, 1 << 20]),
            open_files=choose.choice([1, 2, 512, 512]),
            reconcile_s=choose.choice([1, 5]),
        )
        self.include = include = choose.choice([[LIVE], ["/var/log/app.log*"], ["/var/log/*"], [LINK]])
        self.world = World(*include, limits=limits, poll=choose.random() < 0.2)
        self.fs = self.world.fs
        self.races = random.Random(seed) if choose.random() < 0.3 else None
        self.header = choose.choice(["", "", "h" * 1100]) if limits.read_size_bytes > 1200 else ""
        self.dated = choose.random() < 0.3
        self.destructive = choose.random() < 0.4
        self.compressing = choose.choice(["never", "by hand", "at once", "delayed"])
        self.ending = choose.choice([".gz", ".zst", ".xz", ".bz2"])
        self.lines: list[str] = []
        self.partial = ""
        self.destroyed: set[str] = set()
        self.held: dict[str, Inode] = {}
        """Lines that only an open handle still can give."""
        self.last_copies: set[str] = set()
        """Lines whose last copy with a name went, delivered or not."""
        self.trace: list[str] = []
        self.faults: Counter[str] = Counter()
        self.down = self.blocked = False
        self.backups = 0
        self.numbers: set[int] = set()
        self._note_settings(limits)

    def _note_settings(self, limits: Limits) -> None:
        """What a program is by its settings alone."""
        if self.include == [LINK]:
            self.fs.symlink(LIVE, LINK)
        for kind, true in {
            "symlink": self.include == [LINK], "dated": self.dated, "missed_in_listing": self.races is not None,
            "header": bool(self.header), "few_handles": limits.open_files <= KEPT,
        }.items():  # fmt: skip
            if true:
                self.faults[kind] += 1

    def run(self) -> None:
        """All actions, then time to come to an end."""
        self.world.start()
        self.write()
        self.world.advance(6)
        self.world.settle()
        self.world.races = self.races
        actions = self._actions()
        for _ in range(ACTIONS):
            action = self.random.choice(actions)
            self.trace.append(f"{self.fs.now:.2f} {action.__name__}")
            action()
        self.write()
        self.calm()
        self.start()
        self.resume()
        self.world.advance(100)

    def _actions(self) -> list[Callable[[], None]]:
        """What may happen, as often as it is likely."""
        usual = [self.write] * 8 + [self.advance] * 8 + [self.rotate] * 4 + [self.copytruncate] * 2
        usual += [self.settle, self.start, self.resume, self.notice] * 2
        usual += [self.write_partial, self.crash, self.pause, self.truncate, self.delete, self.short_reads, self.fail, self.calm]
        if self.random.random() < 0.3:
            usual += [self.hole, self.late_write, *([self.hard_link] if self.compressing == "never" else [])]
        if self.compressing == "by hand":
            usual += [self.compress] * 3
        return usual + ([self.regrow, self.race, self.delete] if self.destructive else [])

    # --- The writer ---

    def write(self) -> None:
        """Append some lines."""
        self.complete()
        if LIVE not in self.fs.names and self.header:
            self.line(self.header)
        for _ in range(self.random.randrange(1, 6)):
            self.line("x" * self.random.choice([0, 10, 30]))

    def line(self, filler: str, before: bytes = b"") -> None:
        """Append one line."""
        text = f"{filler}:{len(self.lines)}"
        self.lines.append(text)
        inode = self.fs.write(LIVE, before + f"{text}\n".encode())
        if inode.number in self.numbers and len(inode.data) == len(text) + 1 + len(before):
            self.faults["inode_reuse"] += 1
        self.numbers.add(inode.number)

    def write_partial(self) -> None:
        """Append a line without its end."""
        if not self.partial:
            self.faults["partial"] += 1
            self.partial = f"partial:{len(self.lines)}"
            self.fs.write(LIVE, self.partial.encode())

    def complete(self) -> None:
        """End the line that was begun."""
        if self.partial:
            self.fs.write(LIVE, b"\n")
            self.lines.append(self.partial)
            self.partial = ""

    def hole(self) -> None:
        """A sparse hole, which reads as zeros, before a line."""
        self.complete()
        self.faults["hole"] += 1
        self.line("", bytes(self.random.choice([1, 100, 3000])))

    def late_write(self) -> None:
        """The writer still has the old file open when it is rotated."""
        inode = self.fs.names.get(LIVE)
        self.rotate()
        if inode is None or self.fs.names.get(LIVE) is inode or not self.findable(inode):
            return
        self.faults["late_write"] += 1
        text = f"late:{len(self.lines)}"
        self.lines.append(text)
        self.fs.append(inode, f"{text}\n".encode())
        self.later()

    def advance(self) -> None:
        """Let time pass."""
        self.world.advance(self.random.choice([0.01, 0.3, 1, 6, 12]))

    def later(self) -> None:
        """A moment passes in which the agent does nothing."""
        self.fs.now += 0.01

    # --- The rotator ---

    def rotate(self) -> None:
        """Rename, compress what is to be, and mostly create anew."""
        self.complete()
        if LIVE not in self.fs.names:
            return
        self.count("rename")
        self.later()
        if self.compressing == "delayed":
            self.pack(self.first(), "delaycompress")
        target = self.free_name()
        self.fs.rename(LIVE, target)
        self.later()
        if self.random.random() < 0.7:
            self.fs.create(LIVE)
            if self.compressing == "at once":
                self.pack(target, "move_touch_gzip")
            self.later()
            self.write()
        else:
            self.faults["nocreate"] += 1
            if self.compressing == "at once":
                self.pack(target, "compress")
        self.expire()

    def first(self) -> str:
        """The name of the plain file that was rotated last; empty: there is none."""
        plain = [path for path in self.fs.names if path.startswith(LIVE) and path != LIVE and not is_packed(path)]
        if self.dated:
            return max(plain, default="")
        return f"{LIVE}.1" if f"{LIVE}.1" in plain else ""

    def free_name(self) -> str:
        """A name for what is rotated now; others move on."""
        if self.dated:
            self.backups += 1
            return f"{LIVE}-2026{1 + self.backups // 28:02d}{1 + self.backups % 28:02d}"
        number = 1
        while any(f"{LIVE}.{number}{ending}" in self.fs.names for ending in ("", self.ending)):
            number += 1
        for last in range(number, 1, -1):
            for ending in ("", self.ending):
                if f"{LIVE}.{last - 1}{ending}" in self.fs.names:
                    self.fs.rename(f"{LIVE}.{last - 1}{ending}", f"{LIVE}.{last}{ending}")
        return f"{LIVE}.1"

    def count(self, kind: str) -> None:
        """A rotation happens: in which fashion, and whether the agent looks on."""
        self.faults[kind] += 1
        self.faults["rotation_down"] += self.down
        self.faults["rotation_blocked"] += self.blocked and not self.down

    def expire(self) -> None:
        """Keep only so many rotated files."""
        rotated = sorted(self.rotated(), key=lambda path: self.fs.names[path].mtime_s)
        for path in rotated[:-KEPT] if self.destructive else ():
            self.faults["expire"] += 1
            self.unlink(path)

    def rotated(self) -> list[str]:
        """Names of rotated files, in order."""
        return sorted(path for path in self.fs.names if path.startswith(LIVE) and path != LIVE)

    def copytruncate(self) -> None:
        """Copy, truncate, maybe with a scan in between."""
        self.complete()
        if LIVE not in self.fs.names or not self.fs.names[LIVE].data:
            return
        self.count("copytruncate")
        self.later()
        target = self.free_name()
        self.fs.copy(LIVE, target)
        if not self.down and self.random.random() < 0.3:
            self.world.advance(6)
        self.later()
        self.cut()
        self.later()
        if self.compressing == "at once":
            self.pack(target, "compress")
        if self.random.random() < 0.7:
            self.write()

    def race(self) -> None:
        """Lines are written between copy and truncation: those the agent has not read are gone."""
        self.complete()
        if LIVE in self.fs.names and self.fs.names[LIVE].data:
            self.count("copytruncate_race")
            self.fs.copy(LIVE, self.free_name())
            self.later()
            self.write()
            self.cut()
            self.later()

    def compress(self) -> None:
        """Somebody compresses a rotated file."""
        plain = [path for path in self.rotated() if not is_packed(path) and path + self.ending not in self.fs.names]
        if plain:
            self.pack(self.random.choice(plain), "compress")

    def pack(self, path: str, kind: str) -> None:
        """Compress a file in one of the fashions of compressors, and remove it."""
        if path not in self.fs.names or path + self.ending in self.fs.names:
            return
        self.count(kind)
        times = {"exact": None, "whole": self.fs.names[path].mtime_s // 1, "now": self.fs.wall()}
        chosen = self.random.choice(list(times))
        self.faults["compress_now"] += chosen == "now"
        fashion, target = self.random.random(), path + self.ending
        if fashion < 0.2:
            self.faults["compress_slowly"] += 1
            inode = self.fs.compress(path, target, mtime_s=self.fs.wall(), part=self.random.choice([0.01, 0.5, 0.9]))
            self.world.advance(self.random.choice([0.01, 1, 8]))
            inode.content, inode.torn = bytes(self.fs.names[path].data), False
            self.fs.append(inode, b"rest")
            inode.mtime_s = times[chosen] or self.fs.names[path].mtime_s
        elif fashion < 0.4:
            self.faults["compress_tmp"] += 1
            self.fs.compress(path, path + ".tmp", mtime_s=times[chosen])
            self.world.advance(self.random.choice([0.01, 1]))
            self.fs.rename(path + ".tmp", target)
        else:
            self.fs.compress(path, target, mtime_s=times[chosen])
        if self.random.random() < 0.3:
            self.world.advance(self.random.choice([0.01, 1, 6]))
        self.fs.unlink(path)

    # --- Destruction ---

    def only_here(self, inode: Inode) -> set[str]:
        """Lines that were not delivered and stand in no other file that has a name."""
        held = set(_lines(inode))
        for other in {id(o): o for o in self.fs.names.values() if o is not inode and self.findable(o)}.values():
            held -= set(_lines(other))
        self.last_copies |= held
        return held - set(self._texts())

    def findable(self, inode: Inode, without: str = "") -> bool:
        """Whether a file has a name, other than `without`, under which the agent looks for it."""
        anywhere = self.include == ["/var/log/*"]
        return any(o is inode and path != without and (anywhere or path.startswith(LIVE)) for path, o in self.fs.names.items())

    def cut(self, size: int = 0) -> None:
        """Truncate the live file."""
        self.destroyed |= self.only_here(self.fs.names[LIVE])
        self.fs.truncate(LIVE, size)

    def unlink(self, path: str) -> None:
        """Remove a name; with the last one goes what nobody can read any more."""
        inode = self.fs.names[path]
        if not self.findable(inode, path):
            alone = self.only_here(inode)
            if inode.opens:
                self.faults["unlinked_open"] += 1
                self.held.update(dict.fromkeys(alone, inode))
            else:
                self.destroyed |= alone
        self.fs.unlink(path)

    def delivered(self) -> bool:
        """All that was written is delivered and settled, so that nobody needs the files any more."""
        if self.down or self.partial or not set(self.lines) <= set(self._texts()):
            return False
        self.world.settle()
        live, states = self.fs.names[LIVE], self.world.saved()
        return any(state.ino == live.number and state.offset == len(live.data) for state in states)

    def truncate(self) -> None:
        """Without a copy."""
        self.complete()
        if LIVE in self.fs.names and (self.destructive or self.delivered()):
            self.faults["truncate"] += 1
            self.later()
            self.cut()
            self.later()

    def regrow(self) -> None:
        """Truncate, and write more than there was."""
        self.complete()
        if LIVE in self.fs.names:
            self.faults["regrow"] += 1
            size = len(self.fs.names[LIVE].data)
            self.cut()
            while LIVE not in self.fs.names or len(self.fs.names[LIVE].data) <= size:
                self.write()
            self.later()

    def delete(self) -> None:
        """Remove the live file."""
        self.complete()
        if LIVE in self.fs.names and (self.destructive or (self.delivered() and self.include != [LIVE])):
            self.faults["delete"] += 1
            self.unlink(LIVE)
            self.later()

    # --- The agent and its machine ---

    def settle(self) -> None:
        """Verdicts come, a checkpoint is written."""
        if not self.down:
            self.world.settle()

    def crash(self) -> None:
        """SIGKILL."""
        self.faults["crash"] += 1
        self.world.crash()
        self.destroyed |= self.held.keys() - set(self._texts())
        self.down = True

    def start(self) -> None:
        """Start again."""
        if self.down:
            self.world.start()
            self.down = self.blocked = False

    def pause(self) -> None:
        """The output takes nothing."""
        if not self.down:
            self.world.pause()
            self.blocked = True

    def resume(self) -> None:
        """It does again."""
        if not self.down:
            self.world.resume()
            self.blocked = False

    def notice(self) -> None:
        """The watch tells something."""
        if not self.down:
            self.world.notice(LIVE, names=self.random.random() < 0.5)

    def short_reads(self) -> None:
        """Reads give less than asked for."""
        self.faults["short_reads"] += 1
        self.fs.short_reads = [self.random.choice([1, 7, 50, 70]) for _ in range(5)]

    def hard_link(self) -> None:
        """A further name."""
        if LIVE in self.fs.names:
            self.faults["hard_link"] += 1
            self.backups += 1
            self.fs.link(LIVE, f"/var/log/hard{self.backups}.txt")

    def fail(self) -> None:
        """Something of the machine fails for a while."""
        kind = self.random.choice(["eio", "emfile", "enoent", "denied"])
        self.faults[kind] += 1
        if kind == "eio":
            self.fs.read_errors = [errno.EIO] * self.random.choice([1, 2, 5])
        elif kind == "emfile":
            self.fs.max_handles = 1
        elif kind == "enoent":
            self.fs.open_errors = [errno.ENOENT] * self.random.choice([1, 2])
        else:
            self.fs.denied[LIVE] = errno.EACCES

    def calm(self) -> None:
        """It does not any more."""
        self.fs.read_errors, self.fs.open_errors, self.fs.max_handles = [], [], 1 << 30
        self.fs.denied.clear()

    def _texts(self) -> list[str]:
        return [text.replace("\0", "") for text in self.world.texts()]


def _lines(inode: Inode) -> list[str]:
    """The whole lines of a file, compressed or not."""
    data = bytes(inode.data) if inode.content is None else inode.content
    return data.replace(b"\0", b"").decode().split("\n")[:-1]


def verify(program: Program) -> None:
    """The law: each line once, or destroyed and in the loss record; no id with two texts; no loss that is none."""
    world = program.world
    texts = [text.replace("\0", "") for text in world.texts()]
    story = "\n".join(program.trace)
    assert not world.conflicts, story
    missing = set(program.lines) - set(texts)
    excused = program.destroyed | (program.held.keys() if program.faults["few_handles"] or program.faults["emfile"] else set())
    unexcused = sorted(missing - excused)
    assert not unexcused, f"missing {unexcused[:5]}, lost {world.lost}\n{story}"
    twice = [text for text, times in Counter(texts).items() if times > 1]
    assert not twice, f"twice {twice[:5]}\n{story}"
    strange = set(texts) - set(program.lines)
    assert not strange, f"strange {sorted(strange)[:5]}\n{story}"
    gone = program.last_copies if program.faults["crash"] else excused - set(texts)
    most = sum(len(line) + 1 for line in gone) + (3100 if program.faults["hole"] else 0) * len(gone)
    lost = sum(loss.bytes for loss in world.lost)
    assert lost <= most, f"{lost} bytes said to be lost, {most} are: {world.lost}\n{story}"


def run(seed: int) -> Program:
    """Run a program and verify it. Raises AssertionError with the seed."""
    program = Program(seed)
    try:
        program.run()
        verify(program)
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}") from error
    return program
