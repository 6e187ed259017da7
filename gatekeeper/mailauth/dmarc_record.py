"""DMARC policy records (RFC 9989 §4.7, §4.8) and where they are looked for (§4.10)."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from publicsuffixlist import PublicSuffixList

from gatekeeper.message.domains import SUFFIXES as SUFFIXES  # noqa: PLC0414  # read from here by whoever walks

MOST_RECORD = 8192  # octets of one record
MOST_QUESTIONS = 8  # of one tree walk (§4.10)
MOST_URIS = 10  # of one rua=; a receiver may have a limit (RFC 9990 §3.5)

ORDINARY = 512  # octets of a record that is read once and kept
# §4.8: the name of the tag in any case, its value in this one; blanks as DKIM's lists of tags may have them.
VERSION = re.compile(rb"[ \t\r\n]*[vV][ \t\r\n]*=[ \t\r\n]*DMARC1[ \t\r\n]*(?:;|\Z)")
VERSION_BEGINS = frozenset({b"v", b"V", b" ", b"\t", b"\r", b"\n"})
URI = re.compile(r"([a-z][a-z0-9+.-]*:[^\s,;!]+)(?:!([0-9]{1,12})([kmgt]?))?", re.IGNORECASE)
FAILURE_OPTIONS = re.compile(r"[01ds](?::[01ds]){0,3}", re.IGNORECASE)
MULTIPLES = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}

# The registries' own suffixes; SUFFIXES has those of companies that give out names to strangers, as registries do, too.
REGISTRIES = PublicSuffixList(only_icann=True)


class DmarcPolicy(enum.StrEnum):
    """What the domain's owner would like done with mail that fails (RFC 9989 §4.7, p=), mildest first."""

    NONE = "none"  # no preference
    QUARANTINE = "quarantine"  # treat it as suspicious
    REJECT = "reject"  # refuse it

    @property
    def rank(self) -> int:
        """0 for the mildest."""
        return _MILDEST_FIRST.index(self)

    @property
    def milder(self) -> DmarcPolicy:
        """One level below: what is meant while a policy is being tried (t=y)."""
        return _MILDEST_FIRST[max(self.rank - 1, 0)]


_MILDEST_FIRST = tuple(DmarcPolicy)


@dataclass(frozen=True, slots=True)
class ReportUri:
    """Where reports are wanted (§4.6). `limit` is the most octets of one report, which only older records say."""

    uri: str
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class DmarcRecord:
    """One record as it is to be applied.

    `policy`, `subdomains` and `missing` are p=, sp= and np=, each with what stands for it when it is absent.
    `applies` is False for a record that marks an organisation but asks for nothing (§4.10.1). `suffix` is psd=: True
    for a public suffix, False for an organisation's own domain, None where it does not say. `reports` is rua=, as far
    as it can be read; `failure_options` is fo=. `wrong` are the tags whose value was none, and so was not applied.
    """

    policy: DmarcPolicy
    subdomains: DmarcPolicy
    missing: DmarcPolicy
    strict_dkim: bool
    strict_spf: bool
    testing: bool
    suffix: bool | None
    applies: bool
    reports: tuple[ReportUri, ...] = ()
    failure_options: str = "0"
    wrong: tuple[str, ...] = ()


def record_of(texts: Iterable[bytes]) -> DmarcRecord | None:
    """The record among a name's TXT records; None when there is none, or more than one (§4.10 step 2)."""
    found = [text for text in texts if text[:1] in VERSION_BEGINS and _is_record(text)]
    if len(found) != 1:
        return None
    text = found[0]
    return _ordinary(text) if len(text) <= ORDINARY else _record(_tags(text) or {})


def _is_record(text: bytes) -> bool:
    return len(text) <= MOST_RECORD and VERSION.match(text) is not None


@lru_cache(maxsize=4096)
def _ordinary(text: bytes) -> DmarcRecord:
    """Of most messages somebody has sent one before. What is kept stays small whatever strangers publish."""
    return _record(_tags(text) or {})


def _tags(text: bytes) -> dict[str, str] | None:
    """None for what is no DMARC record; of equal tags the first counts, what is no tag is left out."""
    if not _is_record(text):
        return None
    tags: dict[str, str] = {}
    for part in text.decode("utf-8", "replace").split(";")[1:]:
        name, equals, value = part.partition("=")
        if equals:
            tags.setdefault(name.strip().lower(), value.strip())
    return tags


def _record(tags: dict[str, str]) -> DmarcRecord:
    asked = {tag: _policy(tags[tag]) for tag in ("p", "sp", "np") if tag in tags}
    sound = {tag: policy for tag, policy in asked.items() if policy is not None}
    flawed = "p" not in sound or len(sound) < len(asked)
    if flawed:  # then it asks for nothing; whether it asks for reports decides whether it applies (§4.10.1)
        sound = {"p": DmarcPolicy.NONE}
    subdomains = sound.get("sp", sound["p"])
    reports = report_uris(tags.get("rua", ""))
    suffix = tags.get("psd", "u").lower()
    options = tags.get("fo", "0").lower()
    return DmarcRecord(
        policy=sound["p"],
        subdomains=subdomains,
        missing=sound.get("np", subdomains),
        strict_dkim=tags.get("adkim", "r").lower() == "s",
        strict_spf=tags.get("aspf", "r").lower() == "s",
        # pct= is gone from the standard; pct=0 was how its owners said what t=y says now (appendix A.6), and mail
        # they did not want refused is not refused for a tag that grew old.
        testing=tags.get("t", "n").lower() == "y" or ("t" not in tags and tags.get("pct") == "0"),
        suffix={"y": True, "n": False}.get(suffix),
        applies=not flawed or bool(reports),
        reports=reports,
        failure_options=options if FAILURE_OPTIONS.fullmatch(options) else "0",
        wrong=_wrong(tags),
    )


_WORDS: dict[str, frozenset[str]] = {
    **dict.fromkeys(("p", "sp", "np"), frozenset({"none", "quarantine", "reject"})),
    **dict.fromkeys(("adkim", "aspf"), frozenset("rs")),
    "t": frozenset("yn"),
    "psd": frozenset("ynu"),
}


def _wrong(tags: dict[str, str]) -> tuple[str, ...]:
    """The tags whose value is none of those they may have; an unknown tag is none of our business (§4.7)."""
    wrong = [tag for tag, words in _WORDS.items() if tag in tags and tags[tag].lower() not in words]
    if "fo" in tags and not FAILURE_OPTIONS.fullmatch(tags["fo"]):
        wrong.append("fo")
    if "rua" in tags and len(report_uris(tags["rua"])) < min(len(tags["rua"].split(",")), MOST_URIS):
        wrong.append("rua")
    return tuple(wrong)


def report_uris(text: str) -> tuple[ReportUri, ...]:
    """The URIs of rua= that can be read, in their order, at most `MOST_URIS`; also of a record that confirms one."""
    found = []
    for part in text.split(",", 2 * MOST_URIS)[: 2 * MOST_URIS]:
        match = URI.fullmatch(part.strip())
        if match is not None:
            size = match[2] and int(match[2]) * MULTIPLES[match[3].lower()]
            found.append(ReportUri(match[1], size or None))
    return tuple(found[:MOST_URIS])


def confirmed(texts: Iterable[bytes]) -> list[tuple[ReportUri, ...]]:
    """What the records at `<domain>._report._dmarc.<host>` say (RFC 9990 §4): one rua= for each that is one."""
    tags = [found for text in texts if (found := _tags(text)) is not None]
    return [report_uris(one.get("rua", "")) for one in tags]


def _policy(word: str) -> DmarcPolicy | None:
    try:
        return DmarcPolicy(word.lower())
    except ValueError:
        return None


def walk(domain: str) -> list[str]:
    """The names a tree walk asks about, from the domain up to its top-level domain (§4.10); at most eight."""
    labels = domain.split(".")
    names = [domain]
    labels = labels[1:] if len(labels) <= MOST_QUESTIONS else labels[1 - MOST_QUESTIONS :]
    while labels:
        names.append(".".join(labels))
        labels = labels[1:]
    return names


@dataclass(frozen=True, slots=True)
class Found:
    """A record and the name it stands at."""

    name: str
    record: DmarcRecord


def considered(domain: str, found: Iterable[Found]) -> list[Found]:
    """Of a walk's records, in its order, those that count: up to the first psd= (§4.10 steps 2 and 6).

    A record at a public suffix that does not say psd=y is none of a registry (§5.2), but a wildcard, or somebody's
    mistake. It would make one organisation of everybody below it, so that each could write in the name of all.
    """
    counted = []
    for one in found:
        if one.name != domain and one.record.suffix is not True and is_public_suffix(one.name):
            continue
        counted.append(one)
        if one.record.suffix is not None:
            break
    return counted


def organizational_domain(domain: str, found: Iterable[Found]) -> str:
    """RFC 9989 §4.10.2, of the records that `considered` left; without any it is the domain itself."""
    shortest = domain
    for one in found:
        if one.record.suffix is False:
            return one.name
        if one.record.suffix and one.name != domain:
            return ".".join(domain.split(".")[-(one.name.count(".") + 2) :])
        shortest = one.name
    return shortest


@lru_cache(maxsize=4096)
def is_public_suffix(name: str) -> bool:
    """Whether a registry gives out names directly below; for domain names only, never for addresses."""
    return "." not in name or bool(REGISTRIES.is_public(name))


@lru_cache(maxsize=4096)
def registered_domain(name: str) -> str | None:
    """The name somebody registered, by the public suffix list: the organizational domain of RFC 7489 §3.2."""
    found: str | None = SUFFIXES.privatesuffix(name)
    return found
