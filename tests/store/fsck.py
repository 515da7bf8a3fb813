"""Whether the rows agree with each other: every counter with a count, every reference with what it refers to.

Called at the end of every store test. It changes nothing.
"""

from posthouse.mail.ids import AccountId
from posthouse.mail.summary import Summary
from posthouse.store import threads
from posthouse.store.blobs import BlobKey, Blobs, rows_of
from posthouse.store.script import Script, StoreError, sql

SHOWN = 20  # faults of one kind in an answer

# What must find nothing, and how it is said. The first column names the row; {m}, {e} limit to an account.
_CHECKS: tuple[tuple[str, str], ...] = (
    (
        "mailbox counters differ from a count",
        "SELECT m.id FROM mailbox m LEFT JOIN (SELECT p.mailbox AS mailbox, count(*) AS total,"
        " count(*) - sum(p.flags & 1) AS unseen, sum((p.flags & 16) / 16) AS deleted, sum(e.size) AS size,"
        " max(p.uid) AS uid, max(p.modseq) AS modseq FROM placement p JOIN email e ON e.id = p.email GROUP BY"
        " p.mailbox) AS c ON c.mailbox = m.id"
        " WHERE (m.total <> coalesce(c.total, 0) OR m.unseen <> coalesce(c.unseen, 0)"
        " OR m.deleted <> coalesce(c.deleted, 0) OR m.size <> coalesce(c.size, 0) OR m.uidnext <= coalesce(c.uid, 0)"
        " OR m.modseq < coalesce(c.modseq, 0)) AND {m}",
    ),
    (
        "the counters of an account differ from a count of its mailboxes",
        "SELECT a.id FROM account a LEFT JOIN (SELECT x.account AS account, count(DISTINCT x.id) AS mailboxes,"
        " count(e.id) AS messages, coalesce(sum(e.size), 0) AS octets FROM mailbox x LEFT JOIN placement p"
        " ON p.mailbox = x.id LEFT JOIN email e ON e.id = p.email GROUP BY x.account) AS c ON c.account = a.id"
        " WHERE a.octets <> coalesce(c.octets, 0) OR a.messages <> coalesce(c.messages, 0)"
        " OR a.mailboxes <> coalesce(c.mailboxes, 0)",
    ),
    (
        "a group is no alias",
        "SELECT g.fold FROM grouping g WHERE NOT EXISTS"
        " (SELECT 1 FROM alias a WHERE a.domain = g.domain AND a.fold = g.fold)",
    ),
    (
        "a former name leads nowhere, or is a user's",
        "SELECT f.fold FROM former f WHERE NOT EXISTS (SELECT 1 FROM account a WHERE a.id = f.account)"
        " OR NOT EXISTS (SELECT 1 FROM alias a WHERE a.domain = f.domain AND a.fold = f.fold)"
        " OR EXISTS (SELECT 1 FROM account a WHERE a.domain = f.domain AND a.fold = f.fold)",
    ),
    (
        "an alias has the name of a user",
        "SELECT a.fold FROM alias a JOIN account u ON u.domain = a.domain AND u.fold = a.fold",
    ),
    (
        "a user of the directory is nobody, or has a password here",
        "SELECT d.account FROM directory_user d WHERE NOT EXISTS (SELECT 1 FROM account a WHERE a.id = d.account)"
        " OR EXISTS (SELECT 1 FROM credential c WHERE c.account = d.account)",
    ),
    (
        "another name of a domain has users or aliases, or is of none",
        "SELECT d.name FROM domain d LEFT JOIN domain o ON o.name = d.leads_to WHERE d.leads_to IS NOT NULL AND"
        " (o.name IS NULL OR o.leads_to IS NOT NULL OR EXISTS (SELECT 1 FROM account a WHERE a.domain = d.name)"
        " OR EXISTS (SELECT 1 FROM alias a WHERE a.domain = d.name))",
    ),
    (
        "mailbox modseqs are not ordered",
        "SELECT m.id FROM mailbox m LEFT JOIN account a ON a.id = m.account WHERE ((a.id IS NULL AND NOT EXISTS"
        " (SELECT 1 FROM annotation k WHERE k.mailbox = -1 AND k.reader = -m.account)) OR m.modseq > a.modseq"
        " OR m.flags_modseq > m.modseq OR m.expunged_modseq > m.modseq) AND {m}",
    ),
    (
        "a tombstone is newer than its mailbox says, or stands for a message that is there",
        "SELECT x.mailbox FROM expunged x JOIN mailbox m ON m.id = x.mailbox WHERE (x.modseq > m.expunged_modseq"
        " OR x.uid >= m.uidnext OR EXISTS (SELECT 1 FROM placement p WHERE p.mailbox = x.mailbox AND p.uid = x.uid))"
        " AND {m}",
    ),
    (
        "a message was changed, and no row of the log says where",
        "SELECT p.mailbox FROM placement p JOIN mailbox m ON m.id = p.mailbox WHERE p.modseq > p.created AND NOT EXISTS"
        " (SELECT 1 FROM touched t WHERE t.mailbox = p.mailbox AND p.uid BETWEEN t.first AND t.last"
        " AND (t.modseq = p.modseq OR (t.modseq > p.modseq AND t.first = 1 AND t.last = 4294967295))) AND {m}",
    ),
    (
        "a sheet has messages that are not there",
        "SELECT s.id FROM sheet s WHERE NOT EXISTS (SELECT 1 FROM discarded d WHERE d.mailbox = s.mailbox)"
        " AND s.messages <> (SELECT count(*) FROM placement p WHERE p.mailbox = s.mailbox"
        " AND p.uid BETWEEN s.place * 512 AND s.place * 512 + 511)",
    ),
    (
        "an annotation has no mailbox",
        "SELECT a.mailbox FROM annotation a WHERE a.mailbox NOT IN (0, -1) AND NOT EXISTS (SELECT 1 FROM mailbox m"
        " WHERE m.id = a.mailbox)",
    ),
    (
        "a removed user is there, or can be opened",
        "SELECT k.reader FROM annotation k WHERE k.mailbox = -1 AND (EXISTS (SELECT 1 FROM account a"
        " WHERE a.id = k.reader) OR EXISTS (SELECT 1 FROM credential c WHERE c.account = k.reader)"
        " OR EXISTS (SELECT 1 FROM mailbox m WHERE m.account = k.reader)"
        " OR EXISTS (SELECT 1 FROM url_key u WHERE u.account = k.reader))",
    ),
    (
        "an Email has no placement and is not kept",
        "SELECT e.id FROM email e WHERE NOT EXISTS (SELECT 1 FROM placement p WHERE p.email = e.id)"
        " AND NOT EXISTS (SELECT 1 FROM removed d WHERE d.email = e.id) AND {e}",
    ),
    (
        "what is recently deleted has no act, no Email or another account's, or stands in a mailbox, or is kept twice",
        "SELECT d.email FROM removed d LEFT JOIN removal r ON r.id = d.removal LEFT JOIN email e ON e.id = d.email"
        " WHERE r.id IS NULL OR e.id IS NULL OR e.account <> r.account OR EXISTS (SELECT 1 FROM placement p"
        " WHERE p.email = d.email) UNION ALL SELECT email FROM removed GROUP BY email HAVING count(*) > 1",
    ),
    (
        "an act has removed nothing that is kept",
        "SELECT r.id FROM removal r WHERE NOT EXISTS (SELECT 1 FROM removed d WHERE d.removal = r.id)"
        " AND NOT EXISTS (SELECT 1 FROM discarded d WHERE d.removal = r.id)",
    ),
    (
        "a rule has no mailbox",
        "SELECT x.mailbox FROM retention_rule x WHERE NOT EXISTS (SELECT 1 FROM mailbox m WHERE m.id = x.mailbox)",
    ),
    (
        "a placement has no Email, or no mailbox",
        "SELECT p.mailbox FROM placement p WHERE NOT EXISTS (SELECT 1 FROM email e WHERE e.id = p.email)"
        " OR (NOT EXISTS (SELECT 1 FROM mailbox m WHERE m.id = p.mailbox)"
        " AND NOT EXISTS (SELECT 1 FROM discarded d WHERE d.mailbox = p.mailbox))",
    ),
    (
        "a mailbox and its Email are of different accounts",
        "SELECT e.id FROM email e JOIN placement p ON p.email = e.id JOIN mailbox m ON m.id = p.mailbox"
        " WHERE abs(m.account) <> e.account AND {e}",
    ),
    (
        "an Email's placements differ in keywords, bits or modseq, or are not marked as shared",
        "SELECT e.id FROM email e JOIN placement p ON p.email = e.id WHERE {e} GROUP BY e.id HAVING"
        " min(p.flags & ~16) <> max(p.flags & ~16) OR min(p.keywords) <> max(p.keywords)"
        " OR min(p.modseq) <> max(p.modseq) OR (count(*) > 1 AND min(p.shared) = 0)"
        " OR (count(*) = 1 AND max(p.shared) = 1)",
    ),
    (
        "an Email has no header block or no blob, or their sizes differ",
        "SELECT e.id FROM email e LEFT JOIN header h ON h.email = e.id LEFT JOIN blob b ON b.id = e.blob"
        " WHERE (h.email IS NULL OR b.id IS NULL OR b.size <> e.size OR length(h.block) <> e.header_size) AND {e}",
    ),
    (
        "a header block has no Email",
        "SELECT h.email FROM header h WHERE NOT EXISTS (SELECT 1 FROM email e WHERE e.id = h.email)",
    ),
    (
        "an Email has no summary",
        "SELECT e.id FROM email e WHERE NOT EXISTS (SELECT 1 FROM summary s WHERE s.email = e.id) AND {e}",
    ),
    (
        "a summary has no Email",
        "SELECT s.email FROM summary s WHERE NOT EXISTS (SELECT 1 FROM email e WHERE e.id = s.email)",
    ),
    (
        "an Email's thread is not an earlier Email's",
        "SELECT e.id FROM email e WHERE (e.thread < 0 OR e.thread >= e.id) AND {e}",
    ),
    (
        "a preview has no Email",
        "SELECT v.email FROM preview v WHERE NOT EXISTS (SELECT 1 FROM email e WHERE e.id = v.email)",
    ),
    (
        "a placement was never saved",
        "SELECT p.mailbox FROM placement p WHERE p.saved <= 0",
    ),
    (
        "an access control list has no mailbox, or an entry that gives nothing",
        "SELECT x.mailbox FROM access x WHERE x.rights = '' OR NOT EXISTS"
        " (SELECT 1 FROM mailbox m WHERE m.id = x.mailbox)",
    ),
    (
        "a blob's references differ from a count",
        "SELECT b.id FROM blob b LEFT JOIN (SELECT blob, count(*) AS number FROM (SELECT blob FROM email UNION ALL"
        " SELECT blob FROM queue_item) GROUP BY blob) AS c ON c.blob = b.id WHERE b.refs <> coalesce(c.number, 0)",
    ),
    (
        "an item of the queue names a blob that is not there, or another size",
        "SELECT q.id FROM queue_item q LEFT JOIN blob b ON b.id = q.blob WHERE b.id IS NULL"
        " OR b.size <> q.size + q.skip",
    ),
    (
        "an item of the queue has no open recipient",
        "SELECT q.id FROM queue_item q WHERE NOT EXISTS (SELECT 1 FROM queue_recipient r WHERE r.item = q.id"
        " AND r.settled = 0)",
    ),
    (
        "a recipient has no item in the queue",
        "SELECT r.item FROM queue_recipient r WHERE NOT EXISTS (SELECT 1 FROM queue_item q WHERE q.id = r.item)",
    ),
    (
        "an item of the queue is in a state that cannot be",
        "SELECT q.id FROM queue_item q WHERE (q.state = 2) <> (q.token <> 0) OR (q.state = 3 AND q.held = 0)"
        " OR (q.state < 2 AND q.held <> 0) OR q.attention > q.expires",
    ),
    (
        "a destination of the queue counts its leases wrongly, or would never be looked at",
        "SELECT q.destination FROM queue_item q LEFT JOIN queue_destination d ON d.name = q.destination"
        " GROUP BY q.destination HAVING max(d.name) IS NULL OR max(d.in_flight) <> sum(q.state = 2)"
        " OR (min(q.state) < 2 AND max(d.due) IS NULL)"
        " UNION SELECT d.name FROM queue_destination d WHERE (d.in_flight <> 0 AND NOT EXISTS (SELECT 1 FROM"
        " queue_item q WHERE q.destination = d.name)) OR d.width < 1 OR d.in_flight < 0",
    ),
    (
        "a blob has neither octets nor a file, or both",
        "SELECT b.id FROM blob b LEFT JOIN octets o ON o.blob = b.id WHERE (o.blob IS NULL) = (b.file IS NULL)",
    ),
    ("octets have no blob", "SELECT o.blob FROM octets o WHERE NOT EXISTS (SELECT 1 FROM blob b WHERE b.id = o.blob)"),
    (
        "a UIDVALIDITY is used twice, or is newer than the counter",
        "SELECT m.id FROM mailbox m WHERE m.uidvalidity > (SELECT value FROM counter WHERE name = 'uidvalidity')"
        " OR EXISTS (SELECT 1 FROM mailbox n WHERE n.uidvalidity = m.uidvalidity AND n.id <> m.id)",
    ),
)


def consistency(account: AccountId | None = None) -> Script[list[str]]:
    """Faults as sentences, empty when there are none; of one account where that can be told, else of all."""
    faults: list[str] = []
    number = None if account is None else int(account)
    mailboxes = "1 = 1" if number is None else f"m.account = {number}"
    emails = "1 = 1" if number is None else f"e.account = {number}"
    for words, text in _CHECKS:
        rows = yield sql(text.replace("{m}", mailboxes).replace("{e}", emails) + f" LIMIT {SHOWN}")
        if rows:
            faults.append(f"{words}: {', '.join(str(identity) for (identity, *_) in rows)}")
    lost = yield from _lost_threads(emails)
    return faults + lost


def _lost_threads(emails: str) -> Script[list[str]]:
    """Each Email with a Message-ID is found in its thread by it."""
    known = {
        (account, key): thread for account, key, thread in (yield sql("SELECT account, key, thread FROM thread_key"))
    }
    rows = yield sql(
        "SELECT e.account, coalesce(nullif(e.thread, 0), e.id), s.* FROM email e JOIN summary s ON s.email = e.id"
        f" WHERE {emails}"
    )
    lost = [
        email
        for account, thread, email, *columns in rows
        if (summary := Summary(*columns)).message_id and known.get((account, threads.keys(summary)[0])) != thread
    ]
    return [f"an Email is not found in its thread by its Message-ID: {lost[:SHOWN]}"] if lost else []


def blob_keys(after: BlobKey, limit: int = 1_000) -> Script[list[BlobKey]]:
    """Blobs in order of their rows, for a walk over all of them."""
    rows = yield sql("SELECT id FROM blob WHERE id > $1 ORDER BY id LIMIT $2", after, limit)
    return [BlobKey(blob) for (blob,) in rows]


def damaged(blobs: Blobs, keys: list[BlobKey]) -> Script[list[BlobKey]]:
    """Those whose octets cannot be read or have another digest than when they came."""
    found: list[BlobKey] = []
    for key in keys:
        [row] = yield from rows_of((key,))
        try:
            blobs.octets(row)
        except StoreError:
            found.append(key)
    return found
