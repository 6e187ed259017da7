"""Our signing keys: can they be read, and is what verifies them published (RFC 6376 §3.6.2)?"""

from __future__ import annotations

from collections.abc import Iterable

from gatekeeper.dns.resolver import Answer, Resolver, Status, ask_all
from gatekeeper.doctor.facts import Attachment, Facts, SigningFact
from gatekeeper.doctor.promise import Judgement, Mend, Standing, broken, holds, unknown
from gatekeeper.mailauth.dkim import load_key as read_record
from gatekeeper.mailauth.dkim import question_of
from gatekeeper.mailauth.dkim_key import UnusableKey
from gatekeeper.mailauth.dkim_sign import SigningKey, same_key
from gatekeeper.mailauth.signing import KeyFile, SigningUnusable, load_key


async def look_at(files: Iterable[KeyFile], resolver: Resolver) -> tuple[SigningFact, ...]:
    """One for each key, in their order."""
    keys: list[tuple[KeyFile, SigningKey | SigningUnusable]] = []
    for given in files:
        try:
            keys.append((given, load_key(given)))
        except SigningUnusable as unusable:
            keys.append((given, unusable))
    usable = [key for _, key in keys if isinstance(key, SigningKey)]
    answers = await ask_all(resolver, {question_of(key.selector, key.domain) for key in usable})
    facts = []
    for given, key in keys:
        if isinstance(key, SigningUnusable):
            facts.append(SigningFact(f"{given.selector}._domainkey.{given.domain}", given.file, fault=str(key)))
            continue
        question = question_of(key.selector, key.domain)
        fault, unsure = _fault(key, answers[question])
        facts.append(SigningFact(question[0], given.file, record=key.record, fault=fault, unsure=unsure))
    return tuple(facts)


def _fault(key: SigningKey, answer: Answer) -> tuple[str, bool]:
    """What is wrong with what is published, and whether that is not known for sure."""
    if not answer.certain:
        return f"no answer about it ({answer.status.value})", True
    if answer.status is not Status.OK:
        return "there is no such TXT record", False
    wrong = ""
    for record in answer.records:
        try:
            published = read_record(record)
        except UnusableKey as unusable:
            wrong = str(unusable)
            continue
        if not same_key(key, published.public):
            wrong = "the record has another key than the file"
        elif published.testing:
            wrong = "the record says t=y, so that nobody counts on our signatures"
        elif not published.for_mail:
            wrong = "the record's s= leaves mail out"
        else:
            return "", False
    return wrong, False


def published(facts: Facts, _attachment: Attachment) -> Judgement:
    """The judge of the promise that our signatures can be verified."""
    if not facts.signing:
        return holds("nothing is signed: there is no [[mailauth.signing.keys]]")
    for one in facts.signing:
        if one.fault and not one.record:
            return broken(one.fault, Mend(facts.file, f'file = "{one.file}"', "[[mailauth.signing.keys]]"))
        if one.fault and not one.unsure:
            return broken(f"{one.name}: {one.fault}", Mend("DNS", f'{one.name}. TXT "{one.record}"'))
    unsure = [one for one in facts.signing if one.fault]
    if unsure:
        return unknown(f"{unsure[0].name}: {unsure[0].fault}")
    return Judgement(Standing.HOLDS, f"{len(facts.signing)} published as they are in their files")
