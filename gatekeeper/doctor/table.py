"""THE TABLE of promises: what gatekeeper promises, and how that stands in each mode.                ADD A PROMISE HERE

`Never` is what docs/modes/README.md says cannot be promised in that mode; a test compares the two.
"""

from __future__ import annotations

from typing import Final

from gatekeeper.doctor import relaying, sessions, signing_keys, surroundings
from gatekeeper.doctor.facts import Mode
from gatekeeper.doctor.promise import Always, Never, Promise

FRONT, BEHIND, MILTER, POLICY, ALL = Mode.FRONT, Mode.BEHIND, Mode.MILTER, Mode.POLICY, Mode.ALL

POSTFIX_TALKS: Final = Always("Postfix talks to the client itself")
POSTFIX_ANSWERS_VRFY: Final = "VRFY and EXPN are answered by Postfix and never reach us"
NOT_ON_THE_WIRE: Final = "the connection is Postfix's: who speaks early or breaks the protocol is its to see"
NOT_SLOWED: Final = "an answer that we hold back holds one of Postfix's processes, and others wait for it"

PROMISES: Final = (
    Promise(
        "asked",
        "The MTA asks us about the mail that it takes.",
        {MILTER: surroundings.asked, POLICY: surroundings.asked},
    ),
    Promise(
        "client-known",
        "The checks judge the true client.",
        {
            FRONT: Always("the client is on our own socket"),
            BEHIND: sessions.behind_knows_client,
            MILTER: Always("Postfix tells us who connected"),
            POLICY: Always("each request names the client"),
        },
    ),
    Promise(
        "client-shown",
        "The MTA's log and its Received field show the true client.",
        {
            FRONT: sessions.front_shows_client,
            BEHIND: sessions.behind_shows_client,
            MILTER: POSTFIX_TALKS,
            POLICY: POSTFIX_TALKS,
        },
    ),
    Promise(
        "tls-shown",
        "The MTA's log and its Received field show the client's TLS.",
        {
            FRONT: Never("XCLIENT has no word for TLS: version and cipher stand in our own Received and in the record"),
            BEHIND: POSTFIX_TALKS,
            MILTER: POSTFIX_TALKS,
            POLICY: POSTFIX_TALKS,
        },
    ),
    Promise(
        "content",
        "The message itself is judged.",
        {
            FRONT: Always("every message passes through us"),
            BEHIND: Always("every message passes through us"),
            MILTER: Always("Postfix shows us every message"),
            POLICY: Never("a policy request has no content: header, text, DKIM and DMARC are not judged"),
        },
    ),
    Promise(
        "marked",
        "Mail that passes tells in its header how it was judged.",
        {
            FRONT: Always("we write it into every message"),
            BEHIND: Always("we write it into every message"),
            MILTER: Always("Postfix writes it for us"),
            POLICY: sessions.policy_marks,
        },
    ),
    Promise(
        "relay-closed",
        "An outside client cannot relay: neither we nor the MTA take its mail for other people's domains.",
        {
            FRONT: relaying.front_closed,
            BEHIND: relaying.behind_closed,
            MILTER: relaying.entrance_closed,
            POLICY: relaying.entrance_closed,
        },
    ),
    Promise(
        "vrfy-silent",
        "VRFY and EXPN tell nobody who exists.",
        {
            FRONT: Always("we answer VRFY with the same 252 for every name, and EXPN with 502"),
            BEHIND: sessions.vrfy_silent,
            MILTER: sessions.vrfy_silent,
            POLICY: sessions.vrfy_silent,
        },
    ),
    Promise(
        "vrfy-seen",
        "Who tries VRFY and EXPN is seen, and it counts as probing.",
        {
            FRONT: Always("we answer them ourselves, and count them"),
            BEHIND: Never(POSTFIX_ANSWERS_VRFY),
            MILTER: Never(POSTFIX_ANSWERS_VRFY),
            POLICY: Always("Postfix asks us for a VRFY that it carries out; one that it refuses tells nobody anything"),
        },
    ),
    Promise(
        "harvest-seen",
        "Who tries recipients that do not exist is seen, and slowed or blocked.",
        {
            FRONT: sessions.front_sees_harvesting,
            BEHIND: Never("recipients that Postfix refuses never reach us"),
            MILTER: sessions.milter_sees_harvesting,
            POLICY: sessions.policy_sees_harvesting,
        },
    ),
    Promise(
        "leaving-seen",
        "Who gives a transaction up (RSET, QUIT) after its recipients were accepted is seen.",
        {
            FRONT: Always("we read every command"),
            BEHIND: Always("Postfix gives up its transaction with us then"),
            MILTER: Always("Postfix tells us that a transaction was given up"),
            POLICY: Never("Postfix sends no request for RSET and QUIT"),
        },
    ),
    Promise(
        "wire",
        "What a client does wrong on the wire is seen and counted.",
        {
            FRONT: Always("the connection is ours"),
            BEHIND: Never(NOT_ON_THE_WIRE),
            MILTER: Never(NOT_ON_THE_WIRE),
            POLICY: Never(NOT_ON_THE_WIRE),
        },
    ),
    Promise(
        "slowed",
        "A client that a rule slows waits for its answers, as far as there is a place to wait.",
        {
            FRONT: Always("the client's connection is ours: waiting costs it time and us next to nothing"),
            BEHIND: Never(NOT_SLOWED),
            MILTER: Never(NOT_SLOWED),
            POLICY: sessions.policy_slows,
        },
    ),
    Promise(
        "drop",
        "A client that is blocked is told 421, and its connection is closed.",
        {
            FRONT: Always("the connection is ours"),
            BEHIND: Never("Postfix makes a 451 of it, and keeps the connection"),
            MILTER: Always("Postfix closes the connection after our 421"),
            POLICY: Always("Postfix closes the connection after our 421"),
        },
    ),
    Promise(
        "one-answer",
        "A recipient that is refused does not take the message from the others.",
        {
            FRONT: Always("each recipient is answered while the client waits"),
            BEHIND: sessions.behind_answers_each_recipient,
            MILTER: Always("Postfix refuses the one recipient"),
            POLICY: Always("Postfix refuses the one recipient"),
        },
    ),
    Promise(
        "patience",
        "A slow answer is waited for as long as RFC 5321 §4.5.3.2 lets a client wait (10 minutes).",
        {
            FRONT: Always("the client waits for us, and we for the next hop"),
            BEHIND: Never("Postfix waits 100 s for an answer (smtpd_proxy_timeout)"),
            MILTER: Never("Postfix waits 30 s for a command (milter_command_timeout)"),
        },
    ),
    Promise(
        "in-time",
        "Our answers come before Postfix gives up waiting for them.",
        {BEHIND: sessions.behind_in_time, MILTER: sessions.milter_in_time, POLICY: sessions.policy_in_time},
    ),
    Promise(
        "fails-safe",
        "While we are away mail waits: it is neither lost nor let through unchecked.",
        {
            FRONT: Always("nobody answers then, and senders try again"),
            BEHIND: Always("Postfix answers 451 then"),
            MILTER: sessions.milter_fails_safe,
            POLICY: sessions.policy_fails_safe,
        },
    ),
    Promise(
        "socket",
        "Postfix can reach our UNIX socket.",
        {
            BEHIND: surroundings.socket_reachable,
            MILTER: surroundings.socket_reachable,
            POLICY: surroundings.socket_reachable,
        },
    ),
    Promise("quick", "No message waits for the socket.", {MILTER: surroundings.milter_is_quick}),
    Promise("ports", "Our addresses are ours, or free.", {ALL: surroundings.ports_open}),
    Promise("certificate", "The certificate is in force and fits its key.", {ALL: surroundings.certificate_good}),
    Promise("signatures", "Our signatures can be verified.", {ALL: signing_keys.published}),
    Promise("http-private", "Only trusted networks reach the HTTP server.", {ALL: surroundings.http_private}),
    Promise("trust", "Nobody outside is believed, or let through to any domain.", {ALL: surroundings.trust_narrow}),
    Promise("resolver-own", "The DNS resolver is our own, so that DNS lists answer.", {ALL: surroundings.resolver_own}),
    Promise("resolver", "The DNS resolver answers, and invents nothing.", {ALL: surroundings.resolver_answers}),
    Promise("one-door", "Mail from outside has no other way into the MTA.", {ALL: surroundings.one_door}),
    Promise("mx", "No other MX of our domains goes round us.", {ALL: surroundings.mx_only_us}),
    Promise(
        "next-hop",
        "The next hop answers, and offers what senders need.",
        {FRONT: surroundings.next_hop_answers, BEHIND: surroundings.next_hop_answers},
    ),
    Promise("store", "State and records can be written.", {ALL: surroundings.store_writable}),
)
