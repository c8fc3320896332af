"""A talk at a terminal: one writes on while the answer comes, and sees what is said elsewhere."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable
from typing import Any

from stead.cli.common import dim, harmless, one_line, short, style
from stead.cli.follow import End, Heard
from stead.cli.talk import commands
from stead.cli.talk.follower import Floor, Job
from stead.cli.talk.questions import Question
from stead.cli.talk.rows import Rows
from stead.cli.talk.screen import Screen
from stead.cli.talk.talk import CHANNEL, Talk, with_files
from stead.cli.talk.watch import Watch
from stead.config import no_color
from stead.core.errors import GatewayAway, SteadError

_ANSWERING = "answering; Ctrl-C stops it"


class Live:
    """The front of a talk (``commands.Front``) and the listener of its jobs. Lines are done one
    after the other, in a thread of their own, so that the terminal never waits for the gateway."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._lock = threading.RLock()
        self._jobs: dict[str, Job] = {}
        """Those under way, in the order they were asked."""
        self._past: dict[str, Job] = {}
        """All that were followed, and how far."""
        self._floor = Floor()
        self._question: Question | None = None
        self._later: list[Question] = []
        self._away = ""
        self._note = ""
        self._sending = False
        self._stop_sent = False
        self._screen = Screen(
            said=self._lines.put,
            stopped=self._interrupted,
            complete=lambda text: commands.complete(text, talk),
            history=(talk.history(), talk.more_history),
            colour=not no_color(),
        )
        self._rows = Rows(lambda: self._screen.width - 1)
        self._watch: Watch | None = None

    def run(self) -> None:
        """Talk until one leaves."""
        self.arrive()
        self._remark("/help lists what else can be said; Ctrl-D leaves.")
        if self.talk.off:
            self._remark("Off the record: when you leave, nothing stays but what it cost.")
        threading.Thread(target=self._work, daemon=True).start()
        self._screen.run()
        if self._jobs and not self.talk.off:
            sys.stdout.write("The answer goes on without you; it will be in the conversation.\n")

    def _work(self) -> None:
        while True:
            line = self._lines.get()
            try:
                self._line(line)
            except SteadError as error:
                self._remark(error.message, fg="red")

    def _line(self, typed: str) -> None:
        line = self._screen.folds.unfold(typed).strip()
        if not line and not self.talk.files:
            return
        self._echo(typed.strip())
        asked = self._question
        if commands.is_command(line):
            if line.split()[0] == "/later" and asked is not None:
                self._put_off(asked)
            else:
                commands.obey(self, line)
                self._refresh()
        elif asked is not None:
            meant = asked.meant(line)
            if meant is None:
                self.tell(f"That is no answer. Say: {asked.choices()}")
            else:
                self._decide(asked, *meant)
        else:
            self.send(commands.meant(line))

    def _echo(self, typed: str) -> None:
        self.tell("\n".join(self._quoted(typed, style("> ", bold=True), 2)))

    def _quoted(self, text: str, sign: str, wide: int) -> list[str]:
        """What the owner said, in rows behind a sign that is so ``wide``."""
        rows = Rows(lambda: self._screen.width - 1 - wide)
        first, *more = [*rows.add(harmless(text)), *rows.end()] or [""]
        return [sign + first, *(" " * wide + one for one in more)]

    def _remark(self, text: str, **how: Any) -> None:
        """Words beside the talk, in rows; dim, or as ``how`` says."""
        rows = self._quoted(text, "", 0)
        self.tell("\n".join(style(row, **(how or {"dim": True})) for row in rows))

    # --- what commands do (commands.Front) ---

    def tell(self, text: str) -> None:
        self._screen.write(text)

    def send(self, text: str) -> None:
        self._sending, self._stop_sent = True, False
        self._refresh()
        try:
            sent = self.talk.say(text)
            self._follow(sent.job_id)
        except SteadError:
            self._screen.give_back(text)
            raise
        finally:
            self._sending = False
            self._refresh()
        if self._stop_sent:
            self.talk.cancel(sent.job_id)

    def again(self, job_id: str) -> None:
        self._follow(job_id)

    def arrive(self, go: Callable[[], object] = lambda: None) -> None:
        if self._watch is not None:
            self._watch.stop()
        go()
        with self._lock:
            self._jobs, self._floor = {}, Floor()
            self._question, self._later, self._note = None, [], ""
            self._rows.end()
            self._screen.tail("")
        self.look()
        self._watch = Watch(self)
        self._refresh()

    def stop(self, every: bool) -> bool:
        jobs = list(self._jobs)
        if not every:
            del jobs[1:]
        asked = self._question
        for job_id in jobs:
            self.talk.cancel(job_id)
        if asked is not None and (every or not jobs):
            self.talk.cancel(asked.job_id)
            self.settled(asked)
        return bool(jobs or asked)

    def fill(self, text: str) -> None:
        self._screen.fill(text)

    def answer(self, word: str, text: str) -> None:
        asked = self._question or (self._later[-1] if self._later else None)
        if asked is None:
            self.tell("Nothing waits for your word here.")
            return
        self._decide(asked, word, text)

    def leave(self) -> None:
        self._screen.leave()

    # --- keys ---

    def _interrupted(self) -> bool:
        """Ctrl-C: stop the answer; whether there was one."""
        if self._sending and not self._jobs:
            self._stop_sent = True
            return True
        if not self._jobs and self._question is None:
            return False
        self._screen.status("stopping ...")
        threading.Thread(target=self._stop_one, daemon=True).start()
        return True

    def _stop_one(self) -> None:
        try:
            self.stop(False)
        except SteadError as error:
            self._remark(f"It could not be stopped: {error.message}", fg="red")

    # --- questions ---

    def _ask(self, asked: Question) -> None:
        with self._lock:
            if self._question is not None:
                self._later.insert(0, asked)
                return
            self._question = asked
        self.tell("\n".join(asked.shown()))
        self._refresh()

    def _put_off(self, asked: Question) -> None:
        with self._lock:
            self._later.append(asked)
            self._question = None
        self._remark("It waits. /approve or /deny answers it, here or anywhere else.")
        self._refresh()

    def _decide(self, asked: Question, word: str, text: str) -> None:
        try:
            if asked.row is None:
                self.talk.resume(asked.job_id, word)
            else:
                self.talk.decide(asked.id, word, text)
        except GatewayAway:
            raise
        except SteadError as error:  # somebody was quicker, or it is over
            self._remark(error.message, fg="yellow")
        self.settled(asked)

    def settled(self, asked: Question) -> None:
        """A question is no longer open: its job goes on."""
        with self._lock:
            if self._question is asked:
                self._question = None
            if asked in self._later:
                self._later.remove(asked)
            following = self._later.pop() if self._later and self._question is None else None
        self._follow(asked.job_id)
        if following is not None:
            self._ask(following)
        self._refresh()

    @property
    def question(self) -> Question | None:
        """The one that is open here."""
        return self._question

    # --- what comes ---

    def look(self) -> None:
        """Show what was said since the last look, and follow what was asked elsewhere."""
        news = self.talk.news()
        for message in news.messages:
            self._message(message)
        for job_id in news.followed:
            self._follow(job_id)

    def _message(self, message: dict[str, Any]) -> None:
        text, role = with_files(message), message["role"]
        channel = str(message.get("channel") or CHANNEL)
        with self._lock:
            if role == "owner":
                sign = ("" if channel == CHANNEL else f"{one_line(channel, 20)} ") + "> "
                self.tell(dim("\n".join(self._quoted(text, sign, len(sign)))))
            elif role == "notice":
                self._remark(f"[{text}]", fg="yellow")
            else:
                self.tell("\n".join(self._quoted(text, "", 0)))

    def _follow(self, job_id: str) -> None:
        with self._lock:
            if job_id in self._jobs:
                return
            job = self._past.get(job_id)
            if job is None or job.visit != self.talk.visit:
                job = self._past[job_id] = Job(job_id, self.talk.visit)
            self._jobs[job_id] = job
            self.talk.own(job_id)
        job.listen(self.talk.api, self._floor, self, self._void(job))
        self._refresh()

    def _void(self, job: Job) -> Callable[[], bool]:
        return lambda: self.talk.visit != job.visit

    def heard(self, job: Job, event: Heard) -> None:
        if event.type == "tool" and event.text:
            with self._lock:
                self._flush()
                self._remark(f"[{one_line(event.text, 300)}]")
        elif event.text:
            self._note = one_line(event.text, 200)
            self._refresh()

    def text(self, job: Job, text: str, other: bool) -> None:
        with self._lock:
            if other:
                self._flush()
                self._remark(f"({one_line(job.why or 'the answer begins anew', 200)})")
            self._note = ""
            rows = self._rows.add(harmless(text))
            if rows:
                self._screen.write("\n".join(rows))
            self._screen.tail(self._rows.tail)

    def _flush(self) -> None:
        rows = self._rows.end()
        if rows:
            self._screen.write("\n".join(rows))
        self._screen.tail("")

    def ended(self, job: Job, end: End) -> None:
        with self._lock:
            self._jobs.pop(job.id, None)
            self._flush()
            self._note = ""
        if end.state == "done":
            self._remark(end.footer())
        elif end.state == "waiting":
            self._waits(job, end)
        elif end.state == "cancelled":
            self._remark("stopped")
        else:
            self._remark(f"No answer: {end.error or 'it ended without a reason'}", fg="red")
            self._remark(f"/retry tries again; the whole story: stead why {short(job.id)}")
        self._refresh()

    def _waits(self, job: Job, end: End) -> None:
        try:
            row = self.talk.question(end.approval) if end.approval else None
        except SteadError:
            row = None
        if end.approval and row is None:
            self._remark(f"It waits for you: {end.waiting_for}", fg="yellow")
        else:
            self._ask(Question(job.id, row, end.waiting_for))

    def failed(self, job: Job, error: SteadError) -> None:
        with self._lock:
            self._jobs.pop(job.id, None)
            self._flush()
        self._remark(error.message, fg="red")
        self._refresh()

    def lost(self, why: str) -> None:
        self._away = one_line(why, 120)
        self._refresh()

    # --- the lines below ---

    def _refresh(self) -> None:
        asked, waiting = self._question, len(self._jobs)
        if self._away:
            text = f"trying again: {self._away}"
        elif asked is not None:
            text = asked.choices()
        elif waiting:
            text = self._note or _ANSWERING
            text += f" ({waiting - 1} more wait)" if waiting > 1 else ""
        else:
            text = "sending ..." if self._sending else ""
        self._screen.status(text)
        where = (
            "" if self.talk.session == "main" or self.talk.off else one_line(self.talk.session, 24)
        )
        files = f" +{len(self.talk.files)}" if self.talk.files else ""
        self._screen.prompt(f"{'allow?' if asked and asked.row else where}{files}> ".lstrip())
