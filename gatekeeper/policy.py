"""Pure: findings + scores + thresholds -> Verdict. The only place that knows what a finding is worth.

Scores are added in whole thousandths, so that a sum is exact and the same everywhere. A threshold is reached at
`score >= threshold`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gatekeeper.model import (
    EXEMPT_MAILBOXES,
    Action,
    Address,
    Contribution,
    Finding,
    Group,
    Kind,
    Missing,
    Rule,
    Thresholds,
    Verdict,
    millis,
    names,
    setting,
)

EXEMPT_KINDS = frozenset({Kind.LIST, Kind.RATE, Kind.OPERATOR})
"""What does not count against mail to postmaster and abuse."""

OTHER_POLICY = Rule(
    "OTHER_POLICY",
    0.0,
    "The recipient's thresholds differ from those of the recipients before it: send it on its own.",
    kind=Kind.FORM,
    decides=Action.DEFER,
    enhanced="5.3",
    reply_code=452,
)
INCOMPLETE_REASON = "not everything about this mail could be checked, please try again"


@dataclass(frozen=True, slots=True)
class For:
    """Own thresholds for some recipients: whole addresses, or "@example.org" for a domain."""

    recipients: tuple[str, ...] = setting((), 'Addresses, or "@example.org" for all of a domain.')
    tag: float | None = setting(None, "Mark as spam from this score on; the general one when left out.")
    reject: float | None = setting(None, "Refuse from this score on; the general one when left out.")


@dataclass(frozen=True, slots=True)
class Settings:
    """[policy]"""

    tag: float = setting(5.0, "Mark a message as spam when its score reaches this.")
    reject: float = setting(10.0, "Refuse a message when its score reaches this.")
    greylist: float | None = setting(
        None,
        "Put mail off once (451) whose score lies from here up to `reject`, unless its sender is known; nothing is "
        "greylisted where this is left out.",
    )
    scores: Mapping[str, float] = field(
        default_factory=dict, metadata={"about": "RULE = score, over the rule's default; at most three decimals."}
    )
    for_: tuple[For, ...] = setting((), "Own thresholds for some recipients; an address goes before a domain.")

    def __post_init__(self) -> None:
        for where, tag, reject in [("", self.tag, self.reject)] + [
            (f" for {', '.join(f.recipients)}", self._or(f.tag, self.tag), self._or(f.reject, self.reject))
            for f in self.for_
        ]:
            if not (math.isfinite(tag) and math.isfinite(reject)):
                raise ValueError(f"tag and reject{where} must be numbers")
            if tag > reject:
                raise ValueError(f"tag ({tag}){where} is above reject ({reject}): make tag the smaller one")
        lowest = min([self.reject, *(self._or(f.reject, self.reject) for f in self.for_)])
        if self.greylist is not None and not (math.isfinite(self.greylist) and 0 < self.greylist <= lowest):
            raise ValueError(
                f"greylist ({self.greylist}) must be above 0 and at most the lowest reject ({lowest}); "
                "leave it out to greylist nothing"
            )
        for f in self.for_:
            if not f.recipients:
                raise ValueError('[[policy.for]] names no recipients: give addresses or "@example.org"')

    @staticmethod
    def _or(value: float | None, general: float) -> float:
        return general if value is None else value


_UNPRINTABLE = re.compile(r"[^ -~]+")


def for_peer(text: str, limit: int = 200) -> str:
    """Text fit for an SMTP reply: printable ASCII in one piece, shortened."""
    text = _UNPRINTABLE.sub("?", text)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def group_rule(group: Group) -> Rule:
    """The line of a sum under which a group takes back what is beyond its cap."""
    about = f"What the rules of this group count beyond {group.cap:g} points is taken back."
    return Rule(group.name, 0.0, about, kind=Kind.LIST)


class Policy:
    """Judges findings. Pure: the same findings give the same verdict, now or next week."""

    def __init__(self, settings: Settings, rules: Iterable[Rule], *, domains: frozenset[str] = frozenset()) -> None:
        """`rules` are those of every check in use; `domains` are ours, where postmaster and abuse are exempt.

        Where none are given the next hop alone knows which are ours, and refuses the others itself.
        """
        self.rules: dict[str, Rule] = {r.name: r for r in rules}
        self.rules[OTHER_POLICY.name] = OTHER_POLICY
        for name, score in settings.scores.items():
            if name in self.rules:
                self.rules[name] = replace(self.rules[name], score=score)
        self._groups = {r.name: r.group.name for r in self.rules.values() if r.group}
        groups = {r.group.name: r.group for r in self.rules.values() if r.group}
        for rule in [self.rules[name] for name in settings.scores if name in self._groups]:
            # Whoever gives a rule a score means it: no group takes any of it back.
            group = groups[self._groups[rule.name]]
            groups[group.name] = replace(group, cap=max(group.cap, abs(rule.score)))
        self._caps = {group.name: millis(group.cap) for group in groups.values()}
        self.rules.update((group.name, group_rule(group)) for group in groups.values())
        self._millis = {r.name: millis(r.score) for r in self.rules.values()}
        # Looked at for every finding at every stage: made once.
        self._lines = {name: Contribution(name, score) for name, score in self._millis.items()}
        self._deciding = frozenset(r.name for r in self.rules.values() if r.decides is not None)
        self._exempting = frozenset(r.name for r in self.rules.values() if r.exempts)
        self._nothing: dict[Thresholds, Verdict] = {}
        doubt = None if settings.greylist is None else millis(settings.greylist)
        self._general = Thresholds(millis(settings.tag), millis(settings.reject), greylist=doubt)
        self._exempt = replace(self._general, exempt=EXEMPT_KINDS)
        self.greylists = doubt is not None
        self.mildest = self._general
        """Those of the recipients that are hardest to refuse, besides the exempt ones."""
        self._domains = domains
        self._own: dict[str, Thresholds] = {}
        for own in reversed(settings.for_):  # of two that name the same recipient the first one counts
            thresholds = Thresholds(
                self._general.tag if own.tag is None else millis(own.tag),
                self._general.reject if own.reject is None else millis(own.reject),
                greylist=doubt,
            )
            for recipient in own.recipients:
                self._own[recipient.lower()] = thresholds
            self.mildest = max(self.mildest, thresholds, key=lambda each: each.reject)

    def score(self, rule: str) -> float:
        return self._millis.get(rule, 0) / 1000

    def thresholds(self, recipient: Address | None) -> Thresholds:
        """What holds for that recipient; the general ones for None."""
        if recipient is None:
            return self._general
        found = self._general
        if self._own:
            domain = "@" + recipient.domain
            found = self._own.get(str(recipient).lower()) or self._own.get(domain) or self._general
        ours = not recipient.domain or not self._domains or recipient.domain in self._domains
        if ours and recipient.local.lower() in EXEMPT_MAILBOXES:
            return self._exempt if found is self._general else replace(found, exempt=EXEMPT_KINDS)
        return found

    def decide(
        self,
        findings: Iterable[Finding],
        *,
        thresholds: Thresholds | None = None,
        missing: Sequence[Missing] = (),
        not_run: Sequence[str] = (),
    ) -> Verdict:
        """The verdict on these findings.

        A rule that decides alone wins over any score; of several, the first found. One that greylists decides only in
        doubt, and after all others. A reject stands only if it would stand whatever the missing answers were; otherwise
        it is a defer (RFC 2505 §2.9). Missing evidence never makes an accept or a tag worse. The verdict's thresholds
        are those that counted: a finding may exempt from kinds of rule.
        """
        findings = list(findings)
        thresholds = self._exempted(thresholds or self._general, findings)
        if not findings and not missing and not not_run:
            return self._found_nothing(thresholds)
        found: dict[str, Finding] = {}
        decider: Rule | None = None
        greylists: Rule | None = None
        delay = 0.0
        for finding in findings:
            rule = self.rules.get(finding.rule)
            if rule is None or finding.rule in found or rule.kind in thresholds.exempt:
                continue
            found[finding.rule] = finding
            if rule.decides is Action.GREYLIST:
                greylists = greylists or rule
            elif rule.decides is not None and decider is None:
                decider = rule
            delay = max(delay, rule.delay)
        contributions = tuple([self._lines[name] for name in found])
        if self._groups:
            contributions += tuple([Contribution(*line) for line in self._taken_back(found).items()])
        total = sum([c.millis for c in contributions])
        if decider is None and greylists is not None and self._doubtful(total, found, thresholds):
            decider = greylists
        open_rules = self._open(missing, found, thresholds)
        if decider is not None and decider.decides is not None:
            action = decider.decides
            incomplete = action == Action.REJECT and any(
                r.decides == Action.ACCEPT or decider.kind in r.exempts for r in open_rules
            )
            if incomplete:
                action = Action.DEFER
        else:
            action, incomplete = self._weigh(found, open_rules, thresholds)
        verdict = Verdict(
            action=action,
            millis=total,
            thresholds=thresholds,
            contributions=contributions,
            missing=names(missing),
            not_run=tuple(dict.fromkeys(not_run)),
            incomplete=incomplete,
            decided_by=decider.name if decider else None,
            delay=delay,
        )
        return self._worded(verdict, found, decider) if action.refuses else verdict

    def _found_nothing(self, thresholds: Thresholds) -> Verdict:
        """The verdict where there is nothing to judge, as at the first stages of most sessions; made once."""
        verdict = self._nothing.get(thresholds)
        if verdict is None:
            action, incomplete = self._weigh((), (), thresholds)
            verdict = Verdict(action, 0, thresholds, incomplete=incomplete)
            verdict = self._nothing[thresholds] = self._worded(verdict, {}, None) if action.refuses else verdict
        return verdict

    def may_refuse(self, findings: Iterable[Finding], thresholds: Thresholds) -> bool:
        """Whether `decide` could refuse for these findings; False is certain, and costs less than a verdict."""
        found = {finding.rule for finding in findings}
        if not self._deciding.isdisjoint(found) or not self._exempting.isdisjoint(found):
            return True
        rules = self.rules
        counted = [name for name in found if name in rules and rules[name].kind not in thresholds.exempt]
        return self._sum(counted) >= thresholds.reject

    def settled(
        self,
        findings: Iterable[Finding],
        *,
        thresholds: Thresholds,
        missing: Sequence[Missing],
        remaining: Iterable[str],
    ) -> Action | None:
        """The action that stands whatever the `remaining` rules still find; None while they could change it."""
        found = {f.rule: f for f in findings}
        left = [r for r in (self.rules.get(n) for n in remaining if n not in found) if r]
        verdict = self.decide(found.values(), thresholds=thresholds, missing=missing)
        thresholds = verdict.thresholds
        left = [r for r in left if r.kind not in thresholds.exempt]
        if verdict.decided_by is not None:
            return verdict.action
        greylists = any(r.decides is Action.GREYLIST for r in left)
        if any(r.decides not in (None, Action.GREYLIST) or r.exempts for r in left):
            return None
        open_rules = self._open(missing, found, thresholds)
        counted = [c.rule for c in verdict.contributions]
        outcomes = {
            self._weigh([*counted, *self._below(left)], open_rules, thresholds)[0],
            self._weigh([*counted, *self._above(left)], open_rules, thresholds)[0],
        }
        if greylists and verdict.action < Action.DEFER:
            return None
        return verdict.action if len(outcomes) == 1 else None

    def decided(self, findings: Sequence[Finding], thresholds: Thresholds | None = None) -> bool:
        """Whether a rule among these decides alone, of a kind that counts."""
        if self._deciding.isdisjoint([finding.rule for finding in findings]):
            return False
        exempt = self._exempted(thresholds or self._general, findings).exempt
        known = (self.rules.get(finding.rule) for finding in findings)
        return any(rule.decides is not None and rule.kind not in exempt for rule in known if rule)

    def in_doubt(self, findings: Iterable[Finding], *, thresholds: Thresholds, missing: Sequence[Missing] = ()) -> bool:
        """Whether greylisting may be asked about this mail: nothing decides it, and its score lies in the band.

        A welcome list (of kind LIST, with a score below 0) leaves no doubt that its sender tries again.
        """
        verdict = self.decide(findings, thresholds=thresholds, missing=missing)
        if verdict.decided_by is not None or verdict.action.refuses or Kind.RATE in verdict.thresholds.exempt:
            return False
        return self._doubtful(verdict.millis, [c.rule for c in verdict.contributions], verdict.thresholds)

    def _doubtful(self, total: int, found: Iterable[str], thresholds: Thresholds) -> bool:
        if thresholds.greylist is None or not thresholds.greylist <= total < thresholds.reject:
            return False
        return not any(self.rules[name].kind is Kind.LIST and self._millis[name] < 0 for name in found)

    def _exempted(self, thresholds: Thresholds, findings: Iterable[Finding]) -> Thresholds:
        """With what these findings exempt from, besides what the recipient is exempt from."""
        if self._exempting.isdisjoint([finding.rule for finding in findings]):
            return thresholds
        kinds = thresholds.exempt
        for finding in findings:
            rule = self.rules.get(finding.rule)
            if rule is not None and rule.exempts and rule.kind not in thresholds.exempt:
                kinds |= rule.exempts
        return thresholds if kinds == thresholds.exempt else replace(thresholds, exempt=kinds)

    def refused_anyway(
        self,
        findings: Iterable[Finding],
        *,
        thresholds: Thresholds,
        missing: Sequence[Missing],
        remaining: Iterable[str],
    ) -> bool:
        """Whether these findings reject, and nothing that the `remaining` rules find could let it pass."""
        findings = tuple(findings)
        thresholds = self._exempted(thresholds, findings)
        found = {finding.rule for finding in findings}
        known = [rule for name in found if (rule := self.rules.get(name)) and rule.kind not in thresholds.exempt]
        if sum([self._millis[rule.name] for rule in known]) < thresholds.reject:
            return False  # most are: before anything else is looked at
        if any(rule.decides is not None for rule in known):
            return False
        left = {*remaining, *(name for each in missing for name in each.rules)} - found
        open_rules = [r for name in left if (r := self.rules.get(name)) and r.kind not in thresholds.exempt]
        best = self._sum([*(r.name for r in known), *self._below(open_rules)])
        milder = any(r.decides is Action.ACCEPT or r.exempts for r in open_rules)
        return best >= thresholds.reject and not milder

    def may_pass(self, verdict: Verdict, later: Iterable[str]) -> bool:
        """Whether a refusal by score could still be undone by what the `later` rules find, once they are asked."""
        if verdict.decided_by is not None:
            return False
        left = [r for r in (self.rules.get(n) for n in later) if r and r.kind not in verdict.thresholds.exempt]
        best = self._sum([*self._kept([c.rule for c in verdict.contributions], left), *self._below(left)])
        return best < verdict.thresholds.reject or any(r.decides == Action.ACCEPT for r in left)

    def combine(self, verdicts: Mapping[str, Verdict]) -> Verdict:
        """One answer for all recipients of a message (never split: one answer cannot tell two outcomes).

        Who passes for one passes for all, so that nothing wanted is lost; the strictest mark wins. Otherwise the
        mildest refusal. The score shown is that of the verdict taken.
        """
        ordered = sorted(verdicts.values(), key=lambda v: (v.action, v.millis))
        mildest, strictest = ordered[0], ordered[-1]
        taken = mildest
        if not mildest.action.refuses and strictest.action >= Action.TAG:
            tagged = [v for v in ordered if v.action == Action.TAG]
            taken = tagged[-1] if tagged else replace(mildest, action=Action.TAG)
        return replace(taken, recipients=dict(verdicts))

    def other_policy(self) -> Verdict:
        """The answer to a recipient that cannot share the transaction (452 4.5.3)."""
        return self.decide([Finding(OTHER_POLICY.name)])

    def _open(self, missing: Sequence[Missing], found: Mapping[str, object], thresholds: Thresholds) -> list[Rule]:
        """Rules that the missing evidence could have shown, as far as they count for this recipient."""
        if not missing:
            return []
        wanted = dict.fromkeys(name for m in missing for name in m.rules)
        known = (self.rules.get(name) for name in wanted if name not in found)
        return [r for r in known if r and r.kind not in thresholds.exempt]

    def _kept(self, found: Sequence[str], rules: Sequence[Rule], *, against: bool = False) -> Sequence[str]:
        """What counts of `found` when these rules exempt from all they can of what speaks for (or against) refusing."""
        gone = frozenset[Kind]().union(*(r.exempts for r in rules if r.exempts))
        if not gone:
            return found
        sign = -1 if against else 1
        return [name for name in found if self.rules[name].kind not in gone or self._millis[name] * sign <= 0]

    def _below(self, rules: Iterable[Rule]) -> list[str]:
        return [r.name for r in rules if self._millis[r.name] < 0]

    def _above(self, rules: Iterable[Rule]) -> list[str]:
        return [r.name for r in rules if self._millis[r.name] > 0]

    def _sum(self, found: Iterable[str]) -> int:
        """What these rules come to, groups kept to their caps; the lines of groups themselves count nothing here."""
        if not self._groups:
            return sum([self._millis[name] for name in found])
        counted = list(found)
        return sum([self._millis[name] for name in counted]) + sum(self._taken_back(counted).values())

    def _taken_back(self, found: Iterable[str]) -> dict[str, int]:
        """By group, what brings its rules back to its cap: those against the mail and those for it, each by itself.

        So a rule more never makes a sum of positive rules smaller, and what is still open can be bounded.
        """
        against: dict[str, int] = {}
        excuses: dict[str, int] = {}
        for name in found:
            group = self._groups.get(name)
            if group is not None:
                side = against if self._millis[name] > 0 else excuses
                side[group] = side.get(group, 0) + self._millis[name]
        back = {}
        for group in dict.fromkeys((*against, *excuses)):
            cap = self._caps[group]
            beyond = max(0, against.get(group, 0) - cap) + min(0, excuses.get(group, 0) + cap)
            if beyond:
                back[group] = -beyond
        return back

    def _weigh(self, found: Iterable[str], open_rules: Sequence[Rule], thresholds: Thresholds) -> tuple[Action, bool]:
        """The action for the rules found, and whether the rules still open could have made it another one."""
        found = list(found)
        action = self._reached(self._sum(found), thresholds)
        if not open_rules:
            return action, False
        could_allow = any(r.decides == Action.ACCEPT for r in open_rules)
        could_refuse = any(r.decides is not None and r.decides.refuses for r in open_rules)
        low, high = self._kept(found, open_rules), self._kept(found, open_rules, against=True)
        lowest = self._reached(self._sum([*low, *self._below(open_rules)]), thresholds)
        highest = self._reached(self._sum([*high, *self._above(open_rules)]), thresholds)
        if action == Action.REJECT:
            return (Action.DEFER, True) if lowest != Action.REJECT or could_allow else (action, False)
        incomplete = lowest != highest or could_refuse or (could_allow and action != Action.ACCEPT)
        return action, incomplete

    @staticmethod
    def _reached(total: int, thresholds: Thresholds) -> Action:
        if total >= thresholds.reject:
            return Action.REJECT
        return Action.TAG if total >= thresholds.tag else Action.ACCEPT

    def _worded(self, verdict: Verdict, found: Mapping[str, Finding], decider: Rule | None) -> Verdict:
        """Code and reason of a refusal: the main rule's, that is the one that decides or weighs most."""
        main = decider
        weighed = [
            one for one in verdict.contributions if one.rule in found
        ]  # not the line of a group, which is no rule
        if main is None and weighed:
            main = self.rules[max(weighed, key=lambda one: one.millis).rule]
        basic, code = {
            Action.GREYLIST: ("4", 451),
            Action.DEFER: ("4", 451),
            Action.REJECT: ("5", 550),
            Action.DROP: ("4", 421),
        }[verdict.action]
        if decider is not None and decider.reply_code is not None and decider.decides == verdict.action:
            code = decider.reply_code
        if verdict.incomplete or main is None:
            reason = INCOMPLETE_REASON if verdict.incomplete else "refused by local policy"
            detail = "7.1"
        else:
            # What refuses a probing client must read the same whatever it asked for, so that is the rule's own
            # sentence; otherwise the evidence is what the sender needs to mend it.
            alike = main.kind is Kind.RATE and not main.tells
            reason = main.about if alike else (found[main.name].text or main.about)
            detail = main.enhanced
        return replace(verdict, code=code, enhanced=f"{basic}.{detail}", reason=for_peer(reason))
