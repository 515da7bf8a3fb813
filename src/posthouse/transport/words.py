"""What other servers answer, in words: one sentence says what happened, the other what the sender can do (RFC 3463 §3).

The table knows the answers of the large providers and programs, as they publish them or are seen to give them. A rule
fits by the reply code, the enhanced status, and a short pattern; the first that fits is taken. What no rule knows gets
an honest general text by the class and subject of its status: what the server said stands below it anyway.
"""

import re
from typing import NamedTuple

from posthouse.mail.downgrade import Unfit
from posthouse.mail.outcome import Action, Outcome
from posthouse.mail.spelling import readable
from posthouse.mail.status import Status
from posthouse.transport.result import PERHAPS_TAKEN

NO_SMTP = 5  # the subject of a status, where we are who gives it: result.garbled (RFC 3463 §3.6)
LOOKED_AT = 500  # characters of an answer that the patterns see; what matters stands at the beginning


class Words(NamedTuple):
    """For people: two sentences or more. `{address}`, `{domain}`, `{server}` and `{house}` stand for what they name."""

    happened: str
    advice: str


class Rule(NamedTuple):
    """`codes`: how the reply code may begin, blanks between; `statuses` and `text`: patterns, "" for any."""

    name: str
    codes: str
    statuses: str
    text: str
    words: Words


# --- what can be done, where several rules say the same

_CHECK_ADDRESS = "Check the address, above all for typing mistakes, and ask them by another way which one is right."
_ASK_THEM = "Tell them by another way; only they can change it."
_ASK_US = "Show this message to whoever runs {house}; it is for them to put right. Then send it again."
_SEND_LATER = "Send it again later."
_SMALLER = "Send it with smaller or fewer attachments, or put them somewhere they can be fetched from."
_WITHOUT_THAT = "Send it again without that wish, or reach them by another way."
_BELOW = "What it said stands below. "
_ASK_THEIR_SERVER = "Send it again later, or reach them by another way. Whoever runs {server} must put it right."
_ASK_WHETHER = "Ask them by another way whether it has come, before you send it again."
_PLAINER = "If you wrote it: send it again with fewer links and without attachments, or reach them otherwise."

# --- the table, from the particular to the general

RULES = (
    # Google Workspace and Gmail: support.google.com/a/answer/3726730
    Rule("gmail-no-user", "5", r"5\.1\.1", "email account that you tried to reach does not exist", Words(
        "There is no Gmail or Google account called {address}.", _CHECK_ADDRESS)),
    Rule("gmail-inactive", "5", r"5\.2\.1", "account that you tried to reach is (disabled|inactive)", Words(
        "The Google account {address} is switched off or has not been used for very long.", _ASK_THEM)),
    Rule("gmail-full", "4 5", r"[45]\.2\.2", "(out of storage|inbox is full|over quota)", Words(
        "The mailbox of {address} is full.", "Tell them by another way that they must make room, then send it again.")),
    Rule("recipient-busy", "4 5", "", "receiving mail (at a rate|too quickly)|deferred due to excessive volume", Words(
        "{address} gets so much mail at the moment that their server takes no more.", _SEND_LATER)),
    Rule("gmail-unauthenticated", "4 5", r"[45]\.7\.(26|27|30|40)", "unauthenticated|gmail|SPF|DKIM", Words(
        "Google does not believe that this message comes from the domain of its sender, because SPF or DKIM did not"
        " prove it.", _ASK_US)),
    Rule("ptr-status", "4 5", r"[45]\.7\.25", "", Words(
        "The address of our server has no name in the DNS that leads back to it (PTR record), and they want one.",
        _ASK_US)),
    Rule("gmail-rate", "4 5", r"[45]\.7\.28", "", Words(
        "Google has seen so much unwanted mail from our address or domain that it slows us down.", _ASK_US)),
    Rule("gmail-tls", "4 5", r"[45]\.7\.29", "", Words(
        "They only take mail over an encrypted connection, and there was none.", _ASK_US)),
    Rule("gmail-content", "5", r"5\.7\.0", "(potential security issue|content presents)", Words(
        "They do not take this kind of attachment, because it could hold a virus.",
        "Put the file somewhere they can fetch it from, and send them the link.")),
    Rule("gmail-reputation", "4 5", r"[45]\.7\.[01]", "(low reputation|likely (unsolicited|suspicious))", Words(
        "Google takes this message for unwanted mail.", _PLAINER)),
    # Microsoft 365 and Outlook.com: learn.microsoft.com, "Email non-delivery reports"
    Rule("outlook-no-user", "5", r"5\.1\.10|5\.1\.1", "(RecipientNotFound|RESOLVER\\.ADR)", Words(
        "There is no mailbox called {address}.", _CHECK_ADDRESS)),
    Rule("outlook-access-denied", "5", r"5\.4\.1", "Recipient address rejected: Access denied", Words(
        "There is no mailbox called {address}, or their server takes no mail for it from outside.", _CHECK_ADDRESS)),
    Rule("outlook-full", "4 5", r"[45]\.2\.2", "(QuotaExceeded|mailbox full)", Words(
        "The mailbox of {address} is full.", "Tell them by another way that they must make room, then send it again.")),
    Rule("outlook-block-list", "5", r"5\.7\.1", "(part of their network is on our block list|\\(S31[45][0-9]\\))",
        Words(
        "Microsoft has the network of our server on its list of senders of unwanted mail.",
        "Show this message to whoever runs {house}: they can ask Microsoft to take the address off its list"
        " (sender.office.com).")),
    Rule("outlook-banned", "5", r"5\.7\.(51[12]|60[3-9]|6[1-4][0-9]|70[0-9]|750)", "", Words(
        "Microsoft takes no mail from the address of our server.",
        "Show this message to whoever runs {house}: they can ask Microsoft to take the address off its list"
        " (sender.office.com).")),
    Rule("outlook-rate", "4", r"4\.7\.(5[0-9][0-9]|65[0-9])", "", Words(
        "Microsoft slows down mail from our server because it does not know it well.", _SEND_LATER)),
    Rule("outlook-dmarc", "5", r"5\.7\.(509|515)", "", Words(
        "Microsoft does not believe that this message comes from the domain of its sender (SPF, DKIM or"
        " DMARC).", _ASK_US)),
    Rule("outlook-members-only", "5", r"5\.7\.(13[3-6]|12[49])", "", Words(
        "{address} takes mail from people of their own organization only, or from chosen senders.",
        "Ask them by another way to allow your address.")),
    Rule("outlook-loop", "5", r"5\.4\.14", "", Words(
        "Their servers hand the message round in a circle.", _ASK_THEM)),
    Rule("outlook-spam", "5", r"5\.7\.1", "AS\\(", Words(
        "Microsoft takes this message for unwanted mail.", _PLAINER)),
    # Yahoo and AOL: senders.yahooinc.com/smtp-error-codes
    Rule("yahoo-no-user", "5", "", "dd This user doesn't have|mailbox is disabled \\(554\\.30\\)", Words(
        "There is no Yahoo or AOL mailbox called {address}.", _CHECK_ADDRESS)),
    Rule("yahoo-deferred", "4", "", "\\[(TSS?[0-9]{2}|TS[0-9]{2}|IPTS[0-9]{2})\\]", Words(
        "Yahoo has put off mail from our server, because of complaints or because it came too fast.", _SEND_LATER)),
    Rule("yahoo-blocked", "5", "", "\\[(TSS?[0-9]{2}|BL[0-9]{2}|IPTS[0-9]{2}|PH[0-9]{2})\\]", Words(
        "Yahoo takes no mail from the address of our server at present.", _ASK_US)),
    Rule("yahoo-policy", "5", r"5\.7\.9", "", Words(
        "Yahoo did not take this message: its content, or the proof of its sender (SPF, DKIM or DMARC),"
        " did not please.",
        _ASK_US)),
    # Apple iCloud: support.apple.com/102322
    Rule("icloud-policy", "5", "", "\\[(CS01|HM[0-9]{2}|HME[0-9]{1,2})\\]|postmaster info for sender", Words(
        "Apple did not take this message by its own rules.", _ASK_US)),
    # GMX, WEB.DE, mail.com: postmaster.gmx.net
    Rule("gmx-ptr", "5", "", "Bad DNS PTR resource record", Words(
        "GMX and WEB.DE want the address of our server to have a proper name in the DNS (PTR record).", _ASK_US)),
    Rule("gmx-dialup", "5", "", "(IP address is (black ?listed|block ?listed)|Dynamic/zombied/spam IPs blocked)", Words(
        "GMX and WEB.DE have the address of our server on a list of senders of unwanted mail.", _ASK_US)),
    Rule("gmx-no-service", "4 5", "", "No SMTP service|Nemesis ESMTP Service not available", Words(
        "GMX and WEB.DE take no mail from our server at present.", _ASK_US)),
    # T-Online: postmaster.t-online.de
    Rule("t-online", "5", "", "tosa@rx\\.t-online\\.de|toda@rx\\.t-online\\.de", Words(
        "T-Online takes mail only from servers that it knows.",
        "Show this message to whoever runs {house}: they must write to the address that T-Online names below.")),
    # Lists of addresses of senders of unwanted mail
    Rule("spamhaus-policy", "4 5", "",
         "(pbl|zen)\\.spamhaus\\.org.{0,80}(pbl|dynamic)|spamhaus\\.org/query/ip.{0,60}PBL",
        Words(
        "Spamhaus lists the address of our server among those from which no mail should come directly (PBL).",
        "Show this message to whoever runs {house}: such addresses need a smart host, or must be taken off the list at"
        " check.spamhaus.org.")),
    Rule("spamhaus", "4 5", "", "spamhaus", Words(
        "The address of our server, or a domain in the message, is on a list of Spamhaus.",
        "Show this message to whoever runs {house}: check.spamhaus.org tells why, and how to come off the list.")),
    Rule("block-list", "4 5", "",
         "(barracuda|spamcop|sorbs|uceprotect|abuseat|cloudmark|proofpoint|invaluement|mailspike)",
        Words(
        "The address of our server is on a list of senders of unwanted mail that they believe in.", _ASK_US)),
    Rule("some-list", "4 5", "", "(black ?list|block ?list|deny ?list|rbl\\b|dnsbl|blocked using|listed (at|in|on) )",
        Words(
        "The address of our server is on a list of senders of unwanted mail that they believe in.", _ASK_US)),
    # Greylisting: Postgrey, milter-greylist, SQLgrey, Exim, rspamd
    Rule("greylisting", "4", "",
         "(gr[ea]y ?-?list|temporarily deferred, try again|try again in .{1,20}(second|minute))",
        Words(
        "Their server turns away mail from senders it does not know at first, and takes it a little later.",
        _SEND_LATER)),
    # The sender's domain and address
    Rule("dmarc", "4 5", "", "dmarc", Words(
        "The domain of the sender asks others not to take mail that it did not sign (DMARC), and this message has no"
        " such signature that they could see.", _ASK_US)),
    Rule("spf", "4 5", "", "\\bspf\\b|sender policy framework", Words(
        "The domain of the sender does not name our server among those that may send for it (SPF).", _ASK_US)),
    Rule("dkim", "4 5", "", "\\bdkim\\b", Words(
        "The message has no signature (DKIM) that their server accepts.", _ASK_US)),
    Rule("no-ptr", "4 5", "", "(reverse (dns|hostname|lookup)|\\bptr\\b|rdns|cannot find your)", Words(
        "The address of our server has no name in the DNS that leads back to it (PTR record), and they want one.",
        _ASK_US)),
    Rule("helo", "4 5", "", "(helo|ehlo).{0,40}(invalid|reject|not|need|bogus|denied)|helo command rejected", Words(
        "Their server does not like the name by which our server greets it.", _ASK_US)),
    Rule("sender-unknown", "4 5", "", "sender (address )?(verif|rejected|domain)|(domain|host) of sender|sender verify",
        Words(
        "Their server could not find your own address or its domain, and takes no mail from it.",
        "Check that the sender address of your mail program is right. " + _ASK_US)),
    # The recipient
    Rule("full", "4 5", r"[45]\.2\.2", "", Words(
        "The mailbox of {address} is full.", "Tell them by another way that they must make room, then send it again.")),
    Rule("full-by-text", "4 5", "", "(mailbox|quota|inbox|storage).{0,30}(full|exceed|over)|over ?quota", Words(
        "The mailbox of {address} is full.", "Tell them by another way that they must make room, then send it again.")),
    Rule("disabled", "4 5", r"[45]\.2\.1", "", Words(
        "The mailbox of {address} is switched off, or takes no mail.", _ASK_THEM)),
    Rule("moved-to", "551", "", r"\S@\S", Words(  # RFC 5321 §3.4
        "{address} is not there any more, and their server names another address.",
        "The address stands below. Ask them by another way whether it is right, then send it there.")),
    Rule("moved", "5", r"5\.1\.6", "", Words(
        "The mailbox of {address} has moved and left no new address.", _CHECK_ADDRESS)),
    Rule("null-mx", "5", r"5\.1\.10", "", Words(
        "The domain {domain} says that it takes no mail at all.", _CHECK_ADDRESS)),
    Rule("no-user", "5", r"5\.1\.[1-3]", "", Words(
        "There is no mailbox called {address}.", _CHECK_ADDRESS)),
    Rule("no-user-by-text", "5", "",
         "(user|recipient|mailbox|account|address|addressee).{0,60}(unknown|not found|unavailable|does"
         " ?n.t exist|invalid)"
         "|(no such|unknown|invalid|unrouteable|nonexist\\w{0,6}) (local"
         " )?(user|recipient|mailbox|address|account|person)"
         "|doesn't have an? .{0,30}account|no mailbox (here|by)",
         Words("There is no mailbox called {address}.", _CHECK_ADDRESS)),
    Rule("relay-denied", "5", "",
         "(relay(ing)? (access )?(denied|not permitted|not allowed|prohibited)|unable to relay)",
        Words(
        "The server that the domain {domain} names for its mail does not take mail for it.",
        "Check the part of the address behind the @. If it is right, " + _ASK_THEM[0].lower() + _ASK_THEM[1:])),
    # The message
    Rule("size", "5", r"5\.(3\.4|2\.3)", "", Words(
        "The message is larger than they take.",
        _SMALLER)),
    Rule("size-by-text", "5", "", "(message|size|too).{0,30}(exceed|too (large|big)|larger than|size limit)", Words(
        "The message is larger than they take.",
        _SMALLER)),
    Rule("virus", "5", "", "(virus|malware|infected|clamav)", Words(
        "Their server found a virus in the message.", "Check your computer and the attachments for viruses.")),
    Rule("attachment", "5", "",
         "(attachment|file type|file extension|executable).{0,60}(block|reject|not allow|prohibit|banned)",
         Words("They do not take this kind of attachment.",
               "Put the file somewhere they can fetch it from, and send them the link.")),
    Rule("spam", "4 5", "",
         "(spam|unsolicited|junk mail|bulk mail|rejected by content|content rejected|high probability)",
        Words(
        "Their server takes this message for unwanted mail.", _PLAINER)),
    Rule("utf8", "5", r"5\.6\.7", "", Words(
        "Their server does not understand addresses or headers with letters outside ASCII.",
        "Write to an address of theirs in plain letters, from one of yours in plain letters.")),
    Rule("eight-bit", "5", r"5\.6\.[13]", "", Words(
        "Their server cannot take a message of this form.", "Send it again from another mail program, as plain text.")),
    # How it goes over
    Rule("tls-required", "4 5", r"[45]\.7\.(10|11)", "", Words(
        "They only take mail over an encrypted connection, and there was none.", _ASK_US)),
    Rule("tls-required-by-text", "4 5", "",
         "(must issue a starttls|starttls (first|is required)|tls (is )?required|encryption)",
         Words("They only take mail over an encrypted connection, and there was none.", _ASK_US)),
    Rule("requiretls", "5", r"5\.7\.30", "", Words(
        "You asked that this message travels over encrypted connections only, and their server does not promise that.",
        _WITHOUT_THAT)),
    Rule("auth-required", "5", r"5\.7\.(0|8)", "(authenticat|log ?in|auth required)", Words(
        "Their server wants us to log in before it takes mail.",
        "Check the part of the address behind the @. If it is right, " + _ASK_THEM[0].lower() + _ASK_THEM[1:])),
    Rule("login-required", "530", "", "(authenticat|log ?in|auth)", Words(
        "Their server wants us to log in before it takes mail.",
        "Check the part of the address behind the @. If it is right, " + _ASK_THEM[0].lower() + _ASK_THEM[1:])),
    Rule("smart-host-login", "5", r"5\.7\.8", "", Words(
        "The server that carries our mail did not take our password.", _ASK_US)),
    Rule("loop", "5", "", "(mail loop|too many hops|hop count|loops back|routing loop)", Words(
        "The message has been handed round in a circle.", _ASK_THEM)),
    Rule("too-many-recipients", "4 5", r"[45]\.5\.3", "", Words(
        "Their server takes fewer recipients at a time than this message has.",
        "Send the message to fewer people at a time.")),
    Rule("rate", "4", "",
         "rate ?limit|too many (messages|connections|mails|emails)|too (fast|much)|throttl|exceeded.{0,30}(limit|rate)",
         Words("Our server has sent them more mail in a short time than they take.", _SEND_LATER)),
    Rule("policy-by-text", "4 5", "", "policy (violation|restriction|reason)", Words(
        "Their server did not take the message by its own rules.", _BELOW + _ASK_THEM)),
    Rule("busy", "421", "", "", Words("Their server has too much to do, or is about to be restarted.", _SEND_LATER)),
    Rule("disk", "4", r"4\.3\.1", "", Words("Their server has no room for mail at present.", _SEND_LATER)),
    Rule("local-error", "451", "",
         "(local error|local problem|lookup (error|failure|failed)|server (configuration )?error)",
        Words(
        "Something does not work on their server at present.", _SEND_LATER)),
    Rule("policy", "5", r"5\.7\.", "", Words(
        "Their server did not take the message by its own rules.", _BELOW + _ASK_THEM)),
)  # fmt: skip

# What is said where no rule fits: by subject and detail of the status, then by subject (RFC 3463 §3).
GENERAL: dict[tuple[int, int | None], Words] = {
    (1, 2): Words("The domain {domain} does not exist, or takes no mail.", _CHECK_ADDRESS),
    (1, 8): Words("Their server could not find your own address.", _ASK_US),
    (1, 10): Words("The domain {domain} says that it takes no mail at all.", _CHECK_ADDRESS),
    (4, 1): Words("The server of {domain} did not answer.", "Their server may be down. " + _ASK_THEM),
    (4, 2): Words("The connection to the server of {domain} broke off.", _SEND_LATER),
    (4, 3): Words("The DNS could not say where mail for {domain} goes.", "Check the address. " + _SEND_LATER),
    (4, 4): Words("No server can be found that takes mail for {domain}.", _CHECK_ADDRESS),
    (4, 6): Words("The message has been handed round in a circle.", _ASK_US),
    (4, 7): Words(
        "The message could not be delivered in the time there was.", "Their server may be down. " + _ASK_THEM
    ),
    (1, None): Words("Their server does not take mail for {address}.", _CHECK_ADDRESS),
    (2, None): Words("The mailbox of {address} takes no mail at present.", _ASK_THEM),
    (3, 3): Words(
        "Their server cannot do what was asked for with this message.",
        _WITHOUT_THAT,
    ),
    (3, 4): Words("The message is larger than they take.", _SMALLER),
    (3, None): Words(
        "Something does not work on their server.", _SEND_LATER + " If it goes on, tell them by another way."
    ),
    (4, None): Words("Their server could not be reached.", _SEND_LATER),
    (5, None): Words("Their server and ours did not understand each other.", _ASK_US),
    (6, 3): Words(
        "Their server cannot take a message with letters outside ASCII where this one has them.",
        "Send it from another mail program, as plain text and with plain letters in the subject and in names.",
    ),
    (6, 7): Words(
        "Their server does not understand addresses or headers with letters outside ASCII.",
        "Write to an address of theirs in plain letters, from one of yours, with such letters nowhere in the header.",
    ),
    (6, None): Words(
        "Their server cannot take a message of this form.", "Send it from another mail program, as plain text."
    ),
    (7, 10): Words("They do not promise encryption all the way.", _WITHOUT_THAT),
    (7, 30): Words("They do not promise encryption all the way.", _WITHOUT_THAT),
    (7, None): Words("Their server did not take the message by its own rules.", _BELOW + _ASK_THEM),
}
UNKNOWN = Words(
    "Their server did not take the message, and did not say why.",
    "Tell them by another way, and show them this.",
)

# How a reason may end that speaks of the next attempt, and what is said of it where there is none.
_PROMISES = (
    (PERHAPS_TAKEN, "; it may have taken the message"),
    ("; it is asked again later", ""),
    ("; asked again later", ""),
)

_COMPILED = [
    (rule, tuple(rule.codes.split()), re.compile(rule.statuses), re.compile(rule.text, re.IGNORECASE)) for rule in RULES
]


def explain(outcome: Outcome, house: str) -> Words:
    """What this outcome means for the person who wrote the message; `house` is the name of our server."""
    found = _words(outcome)
    address = outcome.recipient.path.address
    names = {
        "{address}": readable(str(outcome.recipient.path)),
        "{domain}": readable(address.domain.name) or house,
        "{server}": outcome.mta or address.domain.name,
        "{house}": house,
    }
    return Words(_named(found.happened, names), _named(found.advice, names))


def _named(text: str, names: dict[str, str]) -> str:
    for mark, name in names.items():
        text = text.replace(mark, name)
    return text


# What helps where our own reason says more than its status.
_HELPS = {
    Unfit.LONG.value: "Send it from another mail program, and to fewer people at a time: the one that wrote such a line"
    " should have broken it.",
    Unfit.SIGNED.value: "Send it without signing or encrypting it, or from another mail program.",
}


def _words(outcome: Outcome) -> Words:
    if outcome.answer is not None:
        rule = find_rule(outcome.answer.code, outcome.answer.status, outcome.answer.text)
        return rule.words if rule else general(outcome.status)
    if not outcome.reason:
        return general(outcome.status)
    text = _with_names(reason(outcome), outcome)
    begun = text[0].upper() if text.startswith(("the ", "a ", "encryption ")) else text[0]  # and not a name
    garbled = outcome.status.subject == NO_SMTP
    happened = f"{begun}{text[1:]}." + (" So {server} does not speak SMTP as it should." if garbled else "")
    if outcome.action is Action.FAILED and outcome.reason.endswith(PERHAPS_TAKEN):
        return Words(happened, _ASK_WHETHER)
    if garbled:
        return Words(happened, _ASK_THEIR_SERVER)
    advice = general(outcome.status).advice.removeprefix(_BELOW)  # nobody said anything
    return Words(happened, _HELPS.get(outcome.reason, advice))


def _with_names(text: str, outcome: Outcome) -> str:
    """A reason in which the server has its name, and the domain that of its people."""
    domain, server = outcome.recipient.path.address.domain.name, outcome.mta
    if "xn--" in domain and domain != server:
        text = text.replace(domain, readable(domain))
    if not server or server in text:
        return text
    for nameless, named in (("the connection was", "the connection to {} was"), ("the server", "the server {}")):
        if nameless in text:
            return text.replace(nameless, named.format(server), 1)
    return text


def reason(outcome: Outcome) -> str:
    """Why, in our words; where it was the last attempt without what they promise of the next."""
    text = outcome.reason
    for promise, instead in _PROMISES if outcome.action is Action.FAILED else ():
        text = text.removesuffix(promise) + instead if text.endswith(promise) else text
    return text


def find_rule(code: int, status: Status | None, text: str) -> Rule | None:
    """The first rule that fits an answer; None: nobody knows it."""
    begins, spelled, text = str(code), str(status or ""), text[:LOOKED_AT]
    for rule, codes, statuses, pattern in _COMPILED:
        if begins.startswith(codes) and statuses.match(spelled) and pattern.search(text):
            return rule
    return None


def general(status: Status) -> Words:
    """An honest text for what nobody knows (RFC 3463 §3)."""
    exact = GENERAL.get((status.subject, status.detail))
    return exact or GENERAL.get((status.subject, None), UNKNOWN)
