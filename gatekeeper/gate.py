"""judge(stage, mail) -> Verdict: runs the checks of a stage, lets the policy decide, keeps the record. THE HEART."""

from __future__ import annotations

import asyncio
import time
import types
from collections.abc import Callable, Coroutine, Generator, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any, Final, Literal, Protocol, TypeVar, cast

from gatekeeper import log, metrics
from gatekeeper.checks.base import (
    Check,
    Closes,
    Foresees,
    Glances,
    Idles,
    Learns,
    Narrows,
    OnlyInDoubt,
    ReverseName,
    RunsAhead,
    Settles,
    Tools,
)
from gatekeeper.checks.histories import Histories
from gatekeeper.checks.keys import client_key, identity_keys, network_key
from gatekeeper.checks.spf import HeloSpfResult
from gatekeeper.checks.wronged import Wronged
from gatekeeper.complaints.dmarc_evidence import Evidence
from gatekeeper.dns.budget import Budget, BudgetedResolver, ClientAllowance, ClientBudgets
from gatekeeper.dns.lists import plain
from gatekeeper.mailauth import authres
from gatekeeper.mailauth.arc import ArcResult
from gatekeeper.mailauth.authres import Method
from gatekeeper.mailauth.dkim import DkimResults
from gatekeeper.mailauth.dmarc import DmarcResult
from gatekeeper.mailauth.signing import Signer
from gatekeeper.mailauth.spf import SpfResult
from gatekeeper.message import edit
from gatekeeper.message.edit import Edit
from gatekeeper.message.header import author_of
from gatekeeper.model import (
    Action,
    Duration,
    Envelope,
    Finding,
    IPAddress,
    Mail,
    Missing,
    Notebook,
    Recipient,
    Reply,
    Session,
    Stage,
    Verdict,
    setting,
)
from gatekeeper.policy import Policy
from gatekeeper.records.record import record_of
from gatekeeper.records.writer import Recorder
from gatekeeper.store.base import StoreAway
from gatekeeper.wire.address import doubts_about


@dataclass(frozen=True, slots=True)
class Settings:
    """[gate]"""

    gather: Literal["enough", "all"] = setting(
        "enough", 'Which checks run: "enough", until nothing left can change the action, or "all".'
    )
    before_data: Duration = setting(10.0, "The longest that judging takes at each stage before the message.")
    at_message: Duration = setting(30.0, "The longest that judging a message takes.")
    drop_listed: bool = setting(
        False,
        "Whether strangers whom lists refuse for all are dropped (421) at the end of the greeting: cheaper, "
        "but nobody learns whom they wrote to, and postmaster does not hear from them.",
    )
    dns_questions: int = setting(
        100,
        "How many DNS questions one transaction may cost beyond what is cached. Counted apart are "
        "those of SPF (60 at most), DKIM (one for each signature), ARC (16) and DMARC (24 for each author).",
    )
    dns_questions_per_client: int = setting(
        5000,
        "How many DNS questions the mail of one client (IPv6: of its /64) may cost in each worker within a minute, "
        "beyond what is cached; 0 sets no limit. A stranger's mail is put off where it is reached (LOOKUPS_SPENT).",
    )


class Gate(Protocol):
    """What a server sees of the gate."""

    def session(self, server: str) -> Session:
        """A new session with an id and the time; the server fills in what it knows."""
        ...

    def envelope(self, session: Session) -> Envelope:
        """A new transaction with the id of its record."""
        ...

    async def judge(self, stage: Stage, mail: Mail) -> Verdict:
        """Run what the stage (and any stage skipped before it) has to run, and decide.

        Before RCPT only `DROP` is ever the action; another refusal is `held` and given at RCPT, or at MESSAGE where
        what a message shows could still undo it. Never raises; takes at most 10 s before DATA and 30 s at MESSAGE. At
        MESSAGE `verdict.recipients` has each recipient's own.
        """
        ...

    async def familiar(self, addresses: Sequence[IPAddress]) -> list[bool]:
        """Whether each one's own mail, or that of its network, was accepted before. Never raises."""
        ...

    def turn_away(self, mail: Mail) -> Reply | None:
        """The answer to a client whose session by its own facts is to be dropped, or None.

        Nobody is asked, so it costs next to nothing. The record is kept; the server closes. What is found and does
        not drop is kept for later stages.
        """
        ...

    def reply(self, verdict: Verdict, mail: Mail) -> Reply:
        """What a refusing verdict is answered with: code, enhanced code, reason, the record's id."""
        ...

    def edits(self, mail: Mail, verdict: Verdict) -> list[Edit]:
        """Header edits for a message that passes; a signature of ours comes last."""
        ...

    def signs(self, session: Session) -> bool:
        """Whether that client's mail is ours to sign. Where it is otherwise to be left alone, `envelope.exempt` says
        so: then nothing is judged and recorded, and the edits are the signature alone.
        """
        ...

    async def finish(
        self, mail: Mail, verdict: Verdict | None, *, reply: Reply, next_hop: Reply | None = None, note: str = ""
    ) -> None:
        """A transaction has ended (or a refusal was answered): the record is queued, the client's history kept.

        `reply` is what the client was answered; `next_hop` is the next hop's own final reply, None when it was not
        asked; `note` says what cut it short ("next_hop_gone", "client_gone", "withdrawn", "in_doubt_client", ...).
        Called once for each transaction that had a recipient, however it ended.
        """
        ...

    async def refused(self, mail: Mail, verdict: Verdict, *, reply: Reply) -> None:
        """A recipient or a connection was refused by us; its record, if the session ends without a transaction."""
        ...

    def new_client(self, session: Session) -> None:
        """The client's facts have changed (XCLIENT, HELO, STARTTLS ...): forget the findings about the old ones."""
        ...

    async def settle(self, session: Session) -> None:
        """What the client did until now is put to its account: another one goes on in this session."""
        ...

    async def leave(self, session: Session) -> None:
        """The session has ended."""
        ...


Row = tuple[Stage, Notebook, Check]
T = TypeVar("T")
_Found = Sequence[Finding | Missing]
Table = Mapping[Stage, Sequence[Sequence[Check]]]
_SESSION_STAGES: Final = (Stage.CONNECT, Stage.HELO)
_PASSED: Final = frozenset({Action.ACCEPT.word, Action.TAG.word})
_FOR_GOOD: Final = _PASSED | {Action.REJECT.word}
NEIGHBOURS_WORTH: Final = 10
"""How many times more accepted than refused mail makes a client known by its network alone."""
_POSTPONED: Final = "postponed"
_AHEAD: Final = "ahead"
_ALLOWANCE: Final = "dns_allowance"
_MOST_REMEMBERED: Final = 1000
"""What lists found together, and what came of it."""
_HISTORY_EVERY: Final = 1.0


class LiveGate:
    """The gate of one process. Safe for many sessions at once; `run` keeps the clients' histories meanwhile."""

    def __init__(
        self,
        *,
        table: Table,
        policy: Policy,
        tools: Tools,
        recorder: Recorder,
        settings: Settings,
        edit_settings: edit.Settings,
        counts: bool = True,
        evidence: Evidence | None = None,
        signer: Signer | None = None,
    ) -> None:
        """`counts` is whether what is found shows in the metrics: not for a message of our own."""
        self._counts = counts
        self._table = table
        self._policy = policy
        self._tools = tools
        self._recorder = recorder
        self._settings = settings
        self._edit_settings = edit_settings
        self._evidence = evidence  # for DMARC reports
        self._signer = signer
        checks = dict.fromkeys(c for waves in table.values() for wave in waves for c in wave)
        self._settling: list[tuple[Check, Settles]] = [(c, c) for c in checks if isinstance(c, Settles)]
        self._learning: list[tuple[Check, Learns]] = [(c, c) for c in checks if isinstance(c, Learns)]
        self._closing: list[Closes] = [c for c in checks if isinstance(c, Closes)]
        self._foreseeing: dict[str, Foresees] = {c.name: c for c in checks if isinstance(c, Foresees)}
        self._doubters = frozenset(c.name for c in checks if isinstance(c, OnlyInDoubt))
        self._ahead = [c for wave in table.get(Stage.HELO, ()) for c in wave if isinstance(c, RunsAhead) and c.ahead]
        self._narrowing: dict[str, Narrows] = {c.name: c for c in checks if isinstance(c, Narrows)}
        self._refusals_for_all: dict[Hashable, bool] = {}
        self._glancing: list[Glances] = [c for c in checks if isinstance(c, Glances)]
        self._rules_of: dict[str, tuple[str, ...]] = {c.name: tuple(r.name for r in c.rules()) for c in checks}
        metrics.CHECK_FAILURES.declare(self._rules_of)
        for rules in self._rules_of.values():
            metrics.FINDINGS.declare(rules)
        at_data = [check for wave in table.get(Stage.DATA, ()) for check in wave]
        at_message = [check for wave in table.get(Stage.MESSAGE, ()) for check in wave]
        self._at_data = tuple(at_data)
        self._after_rcpt = tuple(dict.fromkeys((*at_data, *at_message)))
        self._histories = Histories()
        self._client_budgets = ClientBudgets(settings.dns_questions_per_client, time.monotonic)
        self._wronged = Wronged()

    # -- what a server begins with

    def session(self, server: str) -> Session:
        return Session(id=self._recorder.new_id(), server=server, started=self._tools.clock())

    def envelope(self, session: Session) -> Envelope:  # noqa: ARG002 - other gates may want to know whose it is
        return Envelope(id=self._recorder.new_id(), started=self._tools.clock())

    def new_client(self, session: Session) -> None:
        session.notebook = Notebook()
        session.memo.clear()

    async def familiar(self, addresses: Sequence[IPAddress]) -> list[bool]:
        try:
            async with asyncio.timeout(self._settings.before_data):
                histories = await self._tools.store.history(
                    [key for address in addresses for key in (client_key(address), network_key(address))]
                )
        except (StoreAway, TimeoutError):
            return [False] * len(addresses)
        return [
            own.accepted > 0 or network.accepted > NEIGHBOURS_WORTH * network.refused
            for own, network in zip(histories[::2], histories[1::2], strict=True)
        ]

    def turn_away(self, mail: Mail) -> Reply | None:
        notebook = mail.session.notebook
        known = {finding.rule for finding in notebook.findings}
        for check in self._glancing:
            for finding in check.glance(mail.session):
                if finding.rule not in known:
                    notebook.findings.append(finding)
                    metrics.FINDINGS[finding.rule].inc()
        verdict = self._policy.decide(_findings(mail, None))
        if verdict.action is not Action.DROP:
            return None
        reply = self.reply(verdict, mail)
        if not self._recorder.counts(mail.envelope.memo.get("refusal", "")):
            self._keep_refusal(mail, verdict, reply)
        return reply

    # -- judging

    async def judge(self, stage: Stage, mail: Mail) -> Verdict:
        mail.stage = stage
        if stage == Stage.RCPT and mail.recipient is None:
            raise ValueError("judging at RCPT needs mail.recipient")
        if stage != Stage.RCPT:
            mail.recipient = None
        if mail.envelope.exempt:
            await self._prepare(stage, mail)
            return self._policy.decide(())
        waves = self._due(stage, mail)
        if self._refused_anyway(mail, waves):
            waves = []
        if waves:
            limit = self._settings.at_message if stage == Stage.MESSAGE else self._settings.before_data
            loop = asyncio.get_running_loop()
            began = loop.time()
            await self._run(waves, mail, began + limit)
            if self._counts:
                metrics.JUDGE_SECONDS[stage.name.lower()].observe(loop.time() - began)
        verdict = self._decide(stage, mail)
        if not verdict.action.refuses:
            await self._prepare(stage, mail)
        return verdict

    async def _prepare(self, stage: Stage, mail: Mail) -> None:
        """What a signature of ours needs to know of the body; a message goes on without one rather than not at all."""
        if self._signer is None or stage != Stage.MESSAGE:
            return
        try:
            await self._signer.prepare(mail)
        except OSError as error:
            log.traceback_once("signing_failed", error, id=mail.envelope.id)

    def _refused_anyway(self, mail: Mail, waves: list[list[Row]]) -> bool:
        """Whether what is due need not be run, since lists asked while the greeting paused refuse this client for all.

        Before a recipient is named it is kept, and run as soon as there is one for whom it could change something:
        postmaster, or one with thresholds of its own.
        """
        book = mail.session.notebook
        books = (book, mail.envelope.notebook)  # what was due in an earlier transaction is not due any more
        kept: list[list[Row]] = [
            still
            for wave in mail.session.memo.get(_POSTPONED, ())
            if (still := [row for row in wave if any(row[1] is one for one in books)])
        ]
        if self._settings.gather == "all" or mail.stage > Stage.RCPT or not (kept or book.findings):
            return False
        if mail.stage == Stage.RCPT and not kept:
            return False
        recipient = mail.recipient
        remaining = [rule for wave in (*kept, *waves) for _, _, check in wave for rule in self._possible(check)]
        anyway = self._policy.refused_anyway(
            _findings(mail, recipient),
            thresholds=self._policy.thresholds(recipient.address if recipient else None),
            missing=_missing(mail, recipient),
            remaining=(*remaining, *self._later(mail)),
        )
        if recipient is not None and anyway:
            recipient.notebook.not_run += [check.name for wave in (*kept, *waves) for _, _, check in wave]
        elif anyway:
            mail.session.memo[_POSTPONED] = [*kept, *waves]
        else:
            mail.session.memo.pop(_POSTPONED, None)
            waves[:0] = kept
        return anyway

    def _refused_for_all(self, mail: Mail) -> bool:
        """Whether lists asked while the greeting paused refuse this client whoever it writes to, and whatever it says
        of itself: but for those who hear from everybody.
        """
        if self._settings.gather == "all":
            return False
        findings = _findings(mail, None)
        if not findings:
            return False
        missing = _missing(mail, None)
        ahead = bool(mail.session.memo.get(_AHEAD))
        # The policy looks at names alone, and zombies are on the same lists: it is asked once for each set of them.
        key: Hashable = (
            ahead,
            frozenset([finding.rule for finding in findings]),
            tuple([each.rules for each in missing]),
            tuple([tuple(check.possible()) for check in self._narrowing.values()]),
        )
        known = self._refusals_for_all.get(key)
        if known is None:
            done = self._ahead if ahead else []
            left = dict.fromkeys(c for waves in self._table.values() for wave in waves for c in wave if c not in done)
            known = self._policy.refused_anyway(
                findings,
                thresholds=self._policy.mildest,
                missing=missing,
                remaining=[rule for check in left for rule in self._possible(check)],
            )
            if len(self._refusals_for_all) >= _MOST_REMEMBERED:
                self._refusals_for_all.clear()
            self._refusals_for_all[key] = known
        return known

    def _due(self, stage: Stage, mail: Mail) -> list[list[Row]]:
        """The waves still to run for this stage and those a server skipped; equal waves of several stages together."""
        due: list[Sequence[Sequence[Row]]] = []
        for earlier in Stage:
            if earlier > stage:
                break
            if earlier == Stage.RCPT and stage != Stage.RCPT:
                continue  # judged for each recipient when it is named
            notebook = _notebook(earlier, mail)
            if earlier in notebook.done:
                continue
            notebook.done.add(earlier)
            rows = [[(earlier, notebook, check) for check in wave] for wave in self._table.get(earlier, ())]
            if earlier == Stage.HELO and mail.session.memo.get(_AHEAD):
                rows = [[row for row in wave if row[2] not in self._ahead] for wave in rows]
            if rows:
                due.append(rows)
        if stage == Stage.CONNECT and mail.session.familiar is False and self._ahead:
            mail.session.memo[_AHEAD] = True
            due.append([[(Stage.HELO, mail.session.notebook, check) for check in self._ahead]])
        if len(due) == 1:
            return [list(wave) for wave in due[0]]
        return [[row for part in wave for row in part] for wave in zip_longest(*due, fillvalue=())]

    async def _run(self, waves: list[list[Row]], mail: Mail, deadline: float) -> None:
        tools = self._tools_for(mail)
        for n, wave in enumerate(waves):
            if self._enough(mail, waves[n:], begun=n > 0):
                for _, notebook, check in (row for later in waves[n:] for row in later):
                    if check.name not in self._doubters:
                        notebook.not_run.append(check.name)
                return
            if any(check.name in self._doubters for _, _, check in wave) and not self._in_doubt(mail):
                wave = [row for row in wave if row[2].name not in self._doubters]  # noqa: PLW2901  # the same wave
            if wave:
                await self._run_wave(wave, mail, tools, deadline)

    async def _run_wave(self, wave: list[Row], mail: Mail, tools: Tools, deadline: float) -> None:
        """Every check of a wave side by side; what is late when time is up counts as missing.

        Most have their answers at hand and need no task: each is begun here, the first that has to wait goes on here,
        and only those behind it get tasks of their own.
        """
        outcomes: list[_Found | asyncio.Task[_Found | None] | None] = []
        tasks: list[asyncio.Task[_Found | None]] = []
        waiting: tuple[int, Coroutine[Any, Any, _Found | None], Any] | None = None
        loop = asyncio.get_running_loop()
        try:
            for stage, _, check in wave:
                inspection = self._inspect(check, _at(stage, mail), tools)
                if waiting is None:
                    try:
                        waiting = len(outcomes), inspection, inspection.send(None)
                    except StopIteration as ended:
                        outcomes.append(ended.value)
                    else:
                        outcomes.append(None)
                else:
                    tasks.append(loop.create_task(inspection))
                    outcomes.append(tasks[-1])
            if waiting is not None:
                place, inspection, waits_for = waiting
                try:
                    async with asyncio.timeout_at(deadline):
                        outcomes[place] = await go_on(inspection, waits_for)
                except TimeoutError:
                    pass
            if tasks:
                await asyncio.wait(tasks, timeout=max(0.0, deadline - loop.time()))
        finally:
            for task in tasks:
                task.cancel()  # does nothing to one that has ended
        for (_, notebook, check), outcome in zip(wave, outcomes, strict=True):
            found = outcome
            if isinstance(found, asyncio.Task):
                found = found.result() if found.done() and not found.cancelled() else None
            if found is None:
                log.event("check_late", check=check.name, id=mail.envelope.id)
                metrics.CHECK_FAILURES[check.name].inc()
                found = (Missing(check.name, self._rules_of[check.name], "late"),)
            for item in found:
                if isinstance(item, Missing):
                    notebook.missing.append(item)
                else:
                    notebook.findings.append(item)
                    if self._counts:
                        metrics.FINDINGS[item.rule].inc()

    async def _inspect(self, check: Check, mail: Mail, tools: Tools) -> _Found | None:
        """What it finds; None where what it waited for was called off."""
        try:
            return await check.inspect(mail, tools)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return None  # nobody wants the session to end: a look-up that others began, or its own, is no more
        except Exception as error:  # noqa: BLE001 - the one border around a check: its failure is missing evidence
            log.traceback_once("check_failed", error, check=check.name, id=mail.envelope.id)
            metrics.CHECK_FAILURES[check.name].inc()
            return (Missing(check.name, self._rules_of[check.name], type(error).__name__),)

    def _enough(self, mail: Mail, left: list[list[Row]], *, begun: bool) -> bool:
        """Whether what is left need not be run.

        A rule that decides alone ends everything. Otherwise work stops only after a whole wave is in, and only for a
        refusal that nothing left can change: mail that passes is to carry all its results.
        """
        if self._settings.gather == "all":
            return False
        recipients = [mail.recipient] if mail.recipient else mail.envelope.recipients
        if not recipients:
            return self._policy.decided(_findings(mail, None))
        remaining: list[str] | None = None
        for recipient in recipients:
            findings = _findings(mail, recipient)
            thresholds = self._policy.thresholds(recipient.address)
            if self._policy.decided(findings, thresholds):
                continue
            if not begun or not self._policy.may_refuse(findings, thresholds):
                return False
            if remaining is None:
                remaining = [rule for wave in left for _, _, check in wave for rule in self._foreseen(check, mail)]
            action = self._policy.settled(
                findings, thresholds=thresholds, missing=_missing(mail, recipient), remaining=remaining
            )
            if action is None or not action.refuses:
                return False
        return True

    def _in_doubt(self, mail: Mail) -> bool:
        """Whether greylisting may be asked: for somebody the mail is in doubt, and for nobody it passes as it is."""
        if not self._policy.greylists or (mail.session.shows_messages and mail.stage < Stage.MESSAGE):
            return False
        recipients: list[Recipient | None] = [mail.recipient] if mail.recipient else [*mail.envelope.recipients]
        doubtful = False
        for recipient in recipients or [None]:
            findings, missing = _findings(mail, recipient), _missing(mail, recipient)
            thresholds = self._policy.thresholds(recipient.address if recipient else None)
            if self._policy.in_doubt(findings, thresholds=thresholds, missing=missing):
                doubtful = True
            elif not self._policy.decide(findings, thresholds=thresholds, missing=missing).action.refuses:
                return False
        return doubtful

    def _foreseen(self, check: Check, mail: Mail) -> Sequence[str]:
        foresees = self._foreseeing.get(check.name)
        return self._rules_of[check.name] if foresees is None else foresees.foresee(mail)

    def _possible(self, check: Check) -> Sequence[str]:
        narrows = self._narrowing.get(check.name)
        return self._rules_of[check.name] if narrows is None else narrows.possible()

    def _decide(self, stage: Stage, mail: Mail) -> Verdict:
        if stage == Stage.MESSAGE or (stage == Stage.DATA and not mail.session.shows_messages):
            return self._decide_message(mail)
        recipient = mail.recipient if stage == Stage.RCPT else None
        verdict = self._policy.decide(
            _findings(mail, recipient),
            thresholds=self._policy.thresholds(recipient.address if recipient else None),
            missing=_missing(mail, recipient),
            not_run=_not_run(mail, recipient),
        )
        if recipient is not None:
            if verdict.action.refuses and self._policy.may_pass(verdict, self._later(mail)):
                verdict = _held(verdict)
            if not verdict.action.refuses and self._differs(mail, recipient, verdict):
                verdict = self._policy.other_policy()
            recipient.verdict = verdict
        elif verdict.action.refuses and verdict.action != Action.DROP:
            if stage == Stage.CONNECT and self._settings.drop_listed and self._refused_for_all(mail):
                return replace(verdict, action=Action.DROP, code=421, enhanced=f"4.{verdict.enhanced[2:]}", delay=0.0)
            verdict = replace(_held(verdict), delay=0.0)
        return verdict

    def _later(self, mail: Mail) -> tuple[str, ...]:
        """The rules that can still be found once the recipients are known."""
        checks = self._after_rcpt if mail.session.shows_messages else self._at_data
        return tuple([rule for check in checks for rule in self._foreseen(check, mail)])

    def _differs(self, mail: Mail, recipient: Recipient, verdict: Verdict) -> bool:
        """Whether a recipient's refusal would differ from that of those before it: one answer cannot tell two outcomes.

        Who is exempt from lists and rates differs only where there is a list or a rate to be exempt from.
        """
        before = mail.envelope.recipients[0] if mail.envelope.recipients else None
        if before is None or before.verdict is None:
            return False
        theirs, own = before.verdict.thresholds, verdict.thresholds
        if theirs.reject != own.reject:
            return True
        kinds = theirs.exempt ^ own.exempt
        if not kinds:
            return False
        notes = (mail.session.notebook, mail.envelope.notebook, before.notebook, recipient.notebook)
        possible = [*self._later(mail), *(f.rule for n in notes for f in n.findings)]
        possible += [rule for n in notes for m in n.missing for rule in m.rules]
        return any(rule.kind in kinds for name in possible if (rule := self._policy.rules.get(name)))

    def _decide_message(self, mail: Mail) -> Verdict:
        if not mail.envelope.recipients:
            return self._policy.decide(
                _findings(mail, None), missing=_missing(mail, None), not_run=_not_run(mail, None)
            )
        verdicts: dict[str, Verdict] = {}
        alike: dict[Any, Verdict] = {}
        for recipient in mail.envelope.recipients:
            thresholds = self._policy.thresholds(recipient.address)
            notes = recipient.notebook
            key = (thresholds, tuple(f.rule for f in notes.findings), tuple(m.name for m in notes.missing))
            if key not in alike:
                alike[key] = self._policy.decide(
                    _findings(mail, recipient),
                    thresholds=thresholds,
                    missing=_missing(mail, recipient),
                    not_run=_not_run(mail, recipient),
                )
            recipient.verdict = verdicts[str(recipient.address)] = alike[key]
        verdict = self._policy.combine(verdicts)
        if verdict.incomplete and self._counts:
            metrics.INCOMPLETE_VERDICTS.inc()
        return verdict

    def _tools_for(self, mail: Mail) -> Tools:
        """Tools whose resolver keeps to what this transaction, and this client, may still ask."""
        memo, address = mail.envelope.memo, mail.session.address
        tools = memo.get("tools")
        if not isinstance(tools, Tools):
            allowance: ClientAllowance | None = None
            if address is not None:
                allowance = mail.session.memo.get(_ALLOWANCE)
                if allowance is None:
                    allowance = mail.session.memo[_ALLOWANCE] = self._client_budgets.of(client_key(address))
            of_client = () if allowance is None else (allowance,)
            shared = self._tools  # each by name: `replace` looks them up in four times as long
            tools = memo["tools"] = Tools(
                resolver=BudgetedResolver(shared.resolver, Budget(self._settings.dns_questions), *of_client),
                store=shared.store,
                clock=shared.clock,
                hostname=shared.hostname,
                domains=shared.domains,
                desk=shared.desk,
                apart=BudgetedResolver(shared.resolver, *of_client),
                allowance=allowance,
            )
        return tools

    # -- carrying a verdict out

    def reply(self, verdict: Verdict, mail: Mail) -> Reply:
        if verdict.code is None:
            raise ValueError("only a refusal is answered by its verdict")
        record_id = mail.envelope.id
        if mail.stage < Stage.DATA:
            record_id = self._recorder.refusal_id(self._refusal_key(verdict, mail), self._tools.clock())
            mail.envelope.memo["refusal"] = record_id
        return Reply.of(verdict.code, f"{verdict.enhanced} {verdict.reason} (id {record_id})")

    @staticmethod
    def _refusal_key(verdict: Verdict, mail: Mail) -> str:
        """What makes two refusals before DATA the same: the network, what was done, and why."""
        address = mail.session.address
        why = verdict.decided_by or ",".join(sorted(c.rule for c in verdict.contributions))
        return f"{network_key(address) if address else '-'} {verdict.action.word} {why}"

    def edits(self, mail: Mail, verdict: Verdict) -> list[Edit]:
        if mail.message is None:
            raise ValueError("there is no message to edit")
        if mail.envelope.exempt:
            return self._signatures(mail, [], results="")
        helo = mail.evidence(HeloSpfResult)
        results = authres.write(
            self._tools.hostname,
            spf=mail.evidence(SpfResult),
            helo=None if helo is None else helo.result,
            dkim=mail.evidence(DkimResults),
            dmarc=mail.evidence(DmarcResult),
            arc=mail.evidence(ArcResult),
            doubts=author_of(mail.message).ambiguities,
            sender_doubts=() if mail.envelope.sender is None else doubts_about(mail.envelope.sender),
            others=_iprev(mail),
        )
        made = edit.edits(
            mail.message,
            verdict,
            authserv_id=self._tools.hostname,
            auth_results=results,
            settings=self._edit_settings,
            sealing=self._signer is not None and self._signer.seals(mail),
        )
        return [*made, *self._signatures(mail, made, results=results)]

    def signs(self, session: Session) -> bool:
        return self._signer is not None and self._signer.ours(session)

    def _signatures(self, mail: Mail, made: list[Edit], *, results: str) -> list[Edit]:
        if self._signer is None:
            return []
        added = self._signer.added(mail, made, results=results, now=self._tools.clock())
        if added:
            metrics.SIGNED["dkim" if added[-1].name == "DKIM-Signature" else "arc"].inc()
        return added

    # -- what is kept

    async def finish(
        self, mail: Mail, verdict: Verdict | None, *, reply: Reply, next_hop: Reply | None = None, note: str = ""
    ) -> None:
        envelope = mail.envelope
        if envelope.exempt:
            return
        if not envelope.recipients and not any(r.by_next_hop for r in envelope.refused):
            return  # refused by us alone: `refused` has kept that
        record = record_of(mail, verdict, reply=reply, next_hop=next_hop, note=note, now=self._tools.clock())
        self._recorder.put(record)
        metrics.MESSAGES[record.action].inc()
        self._wronged.note(mail, self._policy.score)
        if self._evidence is not None and verdict is not None and record.action in _FOR_GOOD:
            self._evidence.note(mail, verdict.action)
        passed = record.action in _PASSED and mail.stage >= Stage.DATA
        if passed:
            if record.action == Action.ACCEPT.word:  # what is marked as spam speaks for nobody, nor against
                self._histories.remember(mail.session, accepted=1)
                self._histories.note(identity_keys(mail), accepted=1)
                if mail.session.address is not None:
                    address = plain(mail.session.address)
                    self._tools.desk.took_mail_of(client_key(address), network_key(address))
        elif verdict is not None and verdict.action == Action.REJECT:
            self._histories.remember(mail.session, refused=1)
            self._histories.note(identity_keys(mail), refused=1)
        for _, learns in self._learning:
            learns.learn(mail, self._tools, passed=passed)

    async def refused(self, mail: Mail, verdict: Verdict, *, reply: Reply) -> None:
        if not mail.envelope.memo.get("refusal_counted"):
            mail.envelope.memo["refusal_counted"] = True
            metrics.EARLY_REFUSALS[verdict.action.word].inc()
        if not self._recorder.counts(mail.envelope.memo.get("refusal", "")):
            self._keep_refusal(mail, verdict, reply)
        if verdict.action == Action.REJECT:
            self._histories.remember(mail.session, refused=1)

    def _keep_refusal(self, mail: Mail, verdict: Verdict, reply: Reply) -> None:
        record = record_of(mail, verdict, reply=reply, next_hop=None, note="", now=self._tools.clock())
        record_id = mail.envelope.memo.pop("refusal", record.id)
        self._recorder.fold(replace(record, id=record_id))
        self._wronged.note(mail, self._policy.score)

    async def leave(self, session: Session) -> None:
        await self.settle(session)

    async def settle(self, session: Session) -> None:
        for check, settles in self._settling:
            try:
                async with asyncio.timeout(self._settings.before_data):
                    await settles.settle(session, self._tools)
            except (StoreAway, TimeoutError) as error:
                log.traceback_once("check_failed", error, check=check.name, id=session.id)

    async def run(self) -> None:
        """Bring the clients' histories to the store, once a second, until cancelled."""
        while True:
            await asyncio.sleep(_HISTORY_EVERY)
            try:
                await self.flush()
            except Exception as bug:  # noqa: BLE001 - a border: what is learned must not take the mail down with it
                log.traceback_once("check_failed", bug, check="histories")

    async def flush(self) -> None:
        """Bring what is known of clients to the store now; what it does not take is kept for the next time."""
        await self._histories.settle(self._tools.store, now=self._tools.clock())
        try:
            await self._wronged.settle(self._tools.store, self._tools.desk, now=self._tools.clock())
        except StoreAway as error:
            log.traceback_once("check_failed", error, check="list_health")
        for check, learns in self._learning:
            try:
                await learns.flush(self._tools)
            except StoreAway as error:
                log.traceback_once("check_failed", error, check=check.name)

    async def close(self) -> None:
        """At the end: what checks hold of the world outside is let go."""
        for check in self._closing:
            await check.close()


@types.coroutine
def go_on(begun: Coroutine[Any, Any, T], waits_for: Any) -> Generator[Any, Any, T]:
    """Await a coroutine that was begun by hand (`send(None)`) and gave `waits_for` to wait for (PEP 492)."""
    step: Callable[[Any], Any]
    while True:
        try:
            came = yield waits_for
        except GeneratorExit:
            begun.close()
            raise
        except BaseException as error:  # noqa: BLE001 - all of it is the coroutine's to deal with
            step, told = begun.throw, error
        else:
            step, told = begun.send, came
        try:
            waits_for = step(told)
        except StopIteration as ended:
            return cast("T", ended.value)


def _iprev(mail: Mail) -> list[Method]:
    """Whether the client's address and its name lead to each other (RFC 8601 §2.7.3), as far as it was looked up."""
    found, address = mail.evidence(ReverseName), mail.session.address
    if found is None or address is None:
        return []
    return [Method("iprev", "pass" if found.confirmed else "fail", (("policy.iprev", str(address)),), found.name)]


def _held(verdict: Verdict) -> Verdict:
    """The same refusal, kept back: more is to come."""
    return replace(verdict, action=Action.ACCEPT, held=verdict.action, reason="", code=None, enhanced="")


def _at(stage: Stage, mail: Mail) -> Mail:
    """The mail as it is handed to a check that stands at this stage, which may be one that a server skipped."""
    return mail if mail.stage is stage else replace(mail, stage=stage)


def _notebook(stage: Stage, mail: Mail) -> Notebook:
    if stage in _SESSION_STAGES:
        return mail.session.notebook
    if stage == Stage.RCPT and mail.recipient is not None:
        return mail.recipient.notebook
    return mail.envelope.notebook


def _notebooks(mail: Mail, recipient: Recipient | None) -> list[Notebook]:
    books = [mail.session.notebook, mail.envelope.notebook]
    return [*books, recipient.notebook] if recipient is not None else books


def _findings(mail: Mail, recipient: Recipient | None) -> list[Finding]:
    return [f for book in _notebooks(mail, recipient) for f in book.findings]


def _missing(mail: Mail, recipient: Recipient | None) -> list[Missing]:
    return [m for book in _notebooks(mail, recipient) for m in book.missing]


def _not_run(mail: Mail, recipient: Recipient | None) -> list[str]:
    return [n for book in _notebooks(mail, recipient) for n in book.not_run]


def table_of(table: Mapping[Stage, Sequence[Sequence[type[Check]]]], checks: Mapping[type[Check], Check]) -> Table:
    """The table with each class replaced by its configured check, without those that have nothing to do there."""

    def busy(check: Check | None, stage: Stage) -> bool:
        return check is not None and not (isinstance(check, Idles) and check.idle_at(stage))

    left = {
        stage: [[checks[kind] for kind in wave if busy(checks.get(kind), stage)] for wave in waves]
        for stage, waves in table.items()
    }
    return {stage: [wave for wave in waves if wave] for stage, waves in left.items()}


__all__ = ["Gate", "LiveGate", "Settings", "Table", "table_of"]
