"""`posthouse quota`: what users keep and may keep, while the server runs. A new limit holds at once."""

import json
from collections.abc import Iterator, Sequence

from posthouse import admin
from posthouse.admin import Refused
from posthouse.config_octets import parse_octets
from posthouse.mail.address import Domain
from posthouse.mail.ids import AccountId
from posthouse.mail.size import counted, in_words
from posthouse.store import accounts, quota
from posthouse.store.quota import LARGEST, UNLIMITED, Account, Limits, Quota, Rules, Whose, Wrong, percent_of
from posthouse.store.script import NotFound
from posthouse.store.store import SyncStore

EVERYBODY = "default"
NONE = "none"
RESOURCES = ("storage", "messages", "mailboxes")  # in the order of quota.Limits
PAGE = 500  # users read at once
NUMBER = 10**15  # the highest number of messages or mailboxes that can be said


def whose_of(store: SyncStore, text: str) -> Whose:
    """Whose limits are meant. Raises Refused with the reason."""
    if text == EVERYBODY:
        return Whose()
    if "@" not in text:
        domain = admin.domain_of(text)
        admin.require_domain(store, domain, "`posthouse domain list` shows them")
        leads_to = next(row.leads_to for row in store.read(accounts.list_domains) if row.name == domain)
        if leads_to is not None:  # it has no users, so a limit would say nothing
            raise Refused(f"{domain} is another name of {leads_to}; say that one")
        return Whose(domain=domain)
    return Whose(admin.user_of(store, text).account)


# --- showing


def show(store: SyncStore, text: str, rules: Rules, *, as_json: bool) -> None:
    """posthouse quota show."""
    whose = whose_of(store, text)
    if whose.account is not None:
        _show_user(store, whose.account, rules, as_json=as_json)
        return
    own = store.read(quota.own_limits, whose)
    if as_json:
        print(json.dumps({"whose": text, **_json_limits(own)}, indent=2))
        return
    name = f"every user of {text}" if whose.domain else "everybody"
    print(f"For {name}: {_said(own) or 'nothing is set'}.")
    if whose.domain is None:
        print(f"The settings say: {_said(rules.default) or 'no limit'}.")


def _show_user(store: SyncStore, account: AccountId, rules: Rules, *, as_json: bool) -> None:
    [found] = store.read(quota.everybody, rules, AccountId(account - 1), 1)
    if as_json:
        own = store.read(quota.own_limits, Whose(account))
        print(json.dumps({**_json(found), "own": _json_limits(own), "warned": found.warned}, indent=2))
        return
    for sentence in sentences(str(found.address), found.quota):
        print(sentence)
    for name, octets, count in store.read(quota.largest, account, 10):
        print(f"  {name}: {in_words(octets)} in {counted(count, 'message')}")


def sentences(name: str, root: Quota) -> Iterator[str]:
    """How it stands, a line for each: "anna@example.org uses 412 MiB of 500 MiB (82 %)"."""
    used, most = root.usage, root.limits
    if most.octets is None:
        yield f"{name} uses {in_words(used.octets)}, without a limit"
    else:
        percent = percent_of(used.octets, most.octets)
        yield f"{name} uses {in_words(used.octets)} of {in_words(most.octets)} ({percent} %)"
    for count, limit, thing in (
        (used.messages, most.messages, "messages"),
        (used.mailboxes, most.mailboxes, "mailboxes"),
    ):
        name = thing if count != 1 or limit is not None else thing.removesuffix("es" if thing == "mailboxes" else "s")
        yield f"  {count:,} {name}" + ("" if limit is None else f" of {limit:,} ({percent_of(count, limit)} %)")


def _said(limits: Limits) -> str:
    words = []
    if limits.octets is not None:
        words.append("any size" if limits.octets == UNLIMITED else in_words(limits.octets))
    for most, thing in ((limits.messages, "messages"), (limits.mailboxes, "mailboxes")):
        if most is not None:
            words.append(f"any number of {thing}" if most == UNLIMITED else f"{most:,} {thing}")
    return ", ".join(words)


def _json_limits(limits: Limits) -> dict[str, int | str | None]:
    named = zip(RESOURCES, limits, strict=True)
    return {name: NONE if most == UNLIMITED else most for name, most in named}


def _json(user: Account) -> dict[str, object]:
    root = user.quota
    return {
        "user": str(user.address),
        "used": dict(zip(RESOURCES, root.usage, strict=True)),
        "limits": _json_limits(root.limits),
        "percent": root.percent,
    }


def list_all(store: SyncStore, rules: Rules, *, as_json: bool) -> None:
    """posthouse quota list."""
    users = sorted(_everybody(store, rules), key=lambda user: (-user.quota.percent, -user.quota.usage.octets))
    if as_json:
        print(json.dumps([_json(user) for user in users], indent=2, ensure_ascii=False))
        return
    rows = [_row(user) for user in users]
    admin.show(("user", "full", "storage", "of", "messages", "of ", "mailboxes"), rows, as_json=False)


def _row(user: Account) -> tuple[object, ...]:
    used, most = user.quota.usage, user.quota.limits
    limited = most.octets is not None or most.messages is not None
    return (
        user.address,
        f"{user.quota.percent} %" if limited else None,
        in_words(used.octets),
        None if most.octets is None else in_words(most.octets),
        used.messages,
        most.messages,
        used.mailboxes,
    )


def _everybody(store: SyncStore, rules: Rules) -> Iterator[Account]:
    after = AccountId(0)
    while some := store.read(quota.everybody, rules, after, PAGE):
        yield from some
        after = some[-1].id


# --- setting


def change(store: SyncStore, text: str, said: Sequence[str | None], rules: Rules) -> None:
    """posthouse quota set: storage, messages and mailboxes, None for what stays."""
    whose = whose_of(store, text)
    storage, messages, mailboxes = said
    before = store.read(quota.own_limits, whose)
    limits = Limits(
        before.octets if storage is None else _octets(storage),
        before.messages if messages is None else _number(messages, "messages"),
        before.mailboxes if mailboxes is None else _number(mailboxes, "mailboxes"),
    )
    store.run(quota.set_limits, whose, limits)
    _tell(store, text, whose, rules)


def clear(store: SyncStore, text: str, rules: Rules) -> None:
    """posthouse quota clear."""
    whose = whose_of(store, text)
    store.run(quota.set_limits, whose, Limits())
    _tell(store, text, whose, rules)


def _tell(store: SyncStore, text: str, whose: Whose, rules: Rules) -> None:
    show(store, text, rules, as_json=False)
    if whose.account is None:
        full = sum(1 for user in _everybody(store, rules) if _meant(user, whose.domain) and user.quota.full)
        if full:
            print(f"{full} of them {'has' if full == 1 else 'have'} no room for new mail now: posthouse quota list")


def _meant(user: Account, domain: Domain | None) -> bool:
    return domain is None or user.address.domain == domain


def _octets(text: str) -> int:
    """Raises Refused."""
    if text.lower() == NONE:
        return UNLIMITED
    found = 0 if text == "0" else parse_octets(int(text) if text.isascii() and text.isdecimal() else text)
    if found is None:
        raise Refused(f"{text!r} is no size; they look like 500MiB, 2GiB or none")
    if found > LARGEST:
        raise Refused(f"{text} is more than can be counted; say none for no limit")
    return int(found)


def _number(text: str, thing: str) -> int:
    """Raises Refused."""
    if text.lower() == NONE:
        return UNLIMITED
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= NUMBER):
        raise Refused(f"{text!r} is no number of {thing}; say one, or none for any")
    return int(text)


# --- proof


def recount(store: SyncStore, name: str | None, rules: Rules) -> None:
    """posthouse quota recount."""
    whose = None if name is None else whose_of(store, name)
    if whose is not None and whose.account is None:
        raise Refused(f"{name} is no user; say an address, or nobody for all")
    count, wrong = 0, 0
    for user in _everybody(store, rules):
        if whose is not None and user.id != whose.account:
            continue
        found = _recounted(store, user)
        count += 1
        wrong += len(found)
        for each in found:
            where = f"{user.address}, {each.mailbox}" if each.mailbox else str(user.address)
            print(f"{where}: {each.counter} was {each.counted:,}, and is {each.found:,}")
    users = f"{count} user{'' if count == 1 else 's'}"
    said = {0: "all counters are right", 1: "1 counter was wrong and is right now"}
    print(f"Counted {users}: {said.get(wrong, f'{wrong} counters were wrong and are right now')}.")


def _recounted(store: SyncStore, user: Account) -> list[Wrong]:
    try:
        return store.run(quota.recount, user.id)
    except NotFound:  # removed meanwhile
        return []
