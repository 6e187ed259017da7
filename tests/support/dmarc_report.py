"""What an aggregate report must look like (RFC 9990 §3.1.1 and appendix A), for tests; and reports to look at."""

from __future__ import annotations

import email.policy
import gzip
import re
from email import message_from_bytes
from email.message import EmailMessage
from ipaddress import ip_address
from xml.etree import ElementTree as ET

NAMESPACE = "{urn:ietf:params:xml:ns:dmarc-2.0}"
POLICY = {"none", "quarantine", "reject"}
SPF = {"none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"}
DKIM = {"none", "pass", "fail", "policy", "neutral", "temperror", "permerror"}
REASONS = {"local_policy", "mailing_list", "other", "policy_test_mode", "trusted_forwarder"}
TEXT = re.compile(r"[^\x00]+")
ANY = re.compile(r"[^\x00]*")
NUMBER = re.compile(r"[0-9]+")

# name -> (how often: "1", "?" or "*", what it holds); the standard's tables, in their order
METADATA = {
    "org_name": ("1", TEXT), "email": ("1", re.compile(r"[^@\s]+@[^@\s]+")), "extra_contact_info": ("?", TEXT),
    "report_id": ("1", re.compile(r"<?[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+(@[A-Za-z0-9.-]+)?>?")),
    "date_range": ("1", {"begin": ("1", NUMBER), "end": ("1", NUMBER)}), "error": ("?", TEXT), "generator": ("?", TEXT),
}  # fmt: skip
PUBLISHED = {
    "domain": ("1", TEXT), "discovery_method": ("?", {"psl", "treewalk"}), "p": ("1", POLICY), "sp": ("?", POLICY),
    "np": ("?", POLICY), "fo": ("?", re.compile(r"[01ds](:[01ds])*")), "adkim": ("?", {"r", "s"}),
    "aspf": ("?", {"r", "s"}), "testing": ("?", {"y", "n"}),
}  # fmt: skip
REASON = {"type": ("1", REASONS), "comment": ("?", TEXT)}
EVALUATED = {
    "disposition": ("1", POLICY | {"pass"}), "dkim": ("1", {"pass", "fail"}), "spf": ("1", {"pass", "fail"}),
    "reason": ("*", REASON),
}  # fmt: skip
RECORD = {
    "row": ("1", {"source_ip": ("1", TEXT), "count": ("1", NUMBER), "policy_evaluated": ("1", EVALUATED)}),
    "identifiers": ("1", {"header_from": ("1", TEXT), "envelope_from": ("?", ANY), "envelope_to": ("?", TEXT)}),
    "auth_results": ("1", {
        "dkim": ("*", {"domain": ("1", TEXT), "selector": ("1", ANY), "result": ("1", DKIM),
                       "human_result": ("?", TEXT)}),
        "spf": ("?", {"domain": ("1", ANY), "scope": ("?", {"mfrom"}), "result": ("1", SPF),
                      "human_result": ("?", TEXT)}),
    }),
}  # fmt: skip
FEEDBACK = {
    "version": ("1", {"1.0"}), "report_metadata": ("1", METADATA), "policy_published": ("1", PUBLISHED),
    "record": ("+", RECORD),
}  # fmt: skip


def validated(document: bytes) -> ET.Element:
    """The root of a report that is as it must be; AssertionError for any other."""
    root = ET.fromstring(document)
    assert root.tag == f"{NAMESPACE}feedback"
    _check(root, FEEDBACK)
    for address in root.iter(f"{NAMESPACE}source_ip"):
        ip_address(address.text or "")
    return root


def _check(element: ET.Element, model: object) -> None:
    if not isinstance(model, dict):
        assert not len(element), element.tag
        text = element.text or ""
        held = text in model if isinstance(model, set) else model.fullmatch(text)  # type: ignore[attr-defined]  # a pattern
        assert held, (element.tag, text)
        return
    names = [child.tag.removeprefix(NAMESPACE) for child in element]
    assert all(child.tag.startswith(NAMESPACE) for child in element)
    order = [name for name in model for _ in range(names.count(name))]
    assert names == order, (element.tag, names)
    for name, (often, inner) in model.items():
        count = names.count(name)
        assert count in {"1": (1,), "?": (0, 1)}.get(often, range(1 if often == "+" else 0, count + 1)), (name, count)
        for child in element.findall(f"{NAMESPACE}{name}"):
            _check(child, inner)


def value(element: ET.Element, path: str) -> str | None:
    """The text at a path of names, None where there is none."""
    found = element.find("/".join(f"{NAMESPACE}{name}" for name in path.split("/")))
    return None if found is None else found.text or ""


def values(element: ET.Element, path: str) -> list[str]:
    return [one.text or "" for one in element.findall("/".join(f"{NAMESPACE}{name}" for name in path.split("/")))]


def attached(mail: bytes) -> bytes:
    """The document that a mail carries."""
    message = message_from_bytes(mail, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    (packed,) = [part.get_payload(decode=True) for part in message.iter_attachments()]
    assert isinstance(packed, bytes)
    return gzip.decompress(packed)
