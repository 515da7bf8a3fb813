"""Ten clients on two workers, random commands: every response is held against a small model (Hypothesis).

Each client keeps a mirror made of responses alone; the model says what each command does; the rows of the store say
whether the model is right. The workers are two Stores over one directory, so hints go by the datagrams they use between
processes; system/test_devices.py plays the same with two real workers. POSTHOUSE_THOROUGH=1: more, others each time.
"""

import asyncio
import itertools
import re
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from serve.imap.device import Device, Kind
from serve.imap.dialogue import Client
from serve.imap.draws import (
    WISHES,
    Stage,
    device_of,
    fits,
    flags_of,
    key_of,
    mode_of,
    picks_of,
    target_of,
    written,
)
from serve.imap.folders import Account, Deed, Outcome, changed
from serve.imap.mirror import Heard, spelled
from serve.imap.world import WORKERS, World
from thorough import examples

EXAMPLES = examples(100)
STEPS = 60


class Devices(RuleBasedStateMachine):
    """Ten devices of one user."""

    def __init__(self, world: "Stage") -> None:
        super().__init__()
        self.world = world
        self.run = world.run
        self.failed = True

    @initialize(first=st.integers(0, 3))
    def begin(self, first: int) -> None:
        """A new user with some mail, and who has which device."""
        self.user = self.world.person()
        self.account = Account()
        for name in sorted(self.world.truth(self.user)):
            self.account.make(name)
        self.work = self.account.named("Archive")
        self.devices = self.run(self._devices())
        self.names = itertools.count(1)
        for _ in range(first):
            self.append(0, 0, "\\Seen", 1)

    async def _devices(self) -> list[Device]:
        async def connect(worker: int) -> Client:
            return await self.world.connect(worker, self.user)

        probe = await connect(0)
        [line] = await probe.do("CAPABILITY")
        await probe.do("LOGOUT")
        probe.writer.close()
        able = line.decode().split()
        kinds = [tuple(name for name in wish if name in able) for wish in WISHES]
        return [Device(n, Kind(n % WORKERS, kind), connect) for n, kind in enumerate(kinds)]

    # --- what every rule needs

    def folder_of(self, choice: int) -> int:
        """INBOX, or the other folder that this test plays with."""
        return self.work if choice else self.account.named("INBOX")

    def name(self, key: int) -> str:
        """What a folder is called now."""
        return self.account.folders[key].name

    async def selected(self, number: int) -> Device:
        """A device with a mailbox and no uid that it could know and does not."""
        device = self.devices[number]
        await device.ready()
        if not device.folder:
            key = device.away[0] if device.away is not None and device.away[0] in self.account.folders else 0
            await self.select_on(device, key or self.folder_of(0))
        await device.learn()
        if not device.mirror.entries:
            await self.refill(device)
            await device.learn()
        return device

    async def refill(self, device: Device) -> None:
        """Mail for an empty mailbox, lest most commands have nothing to do."""
        for flags in ("", "\\Seen"):
            command, deed = self.appending(0 if device.folder == self.folder_of(0) else 1, flags)
            await device.do(command)
            self.account.apply(deed)
        await device.do("NOOP")

    async def select_on(self, device: Device, key: int, *, read_only: bool = False) -> None:
        """SELECT, and what it must have said."""
        returning = device.away is not None and device.away[0] == key
        await device.select(key, self.name(key), read_only=read_only)
        folder = self.account.folders[key]
        assert len(device.mirror.entries) == len(folder.messages)
        assert device.mirror.codes["UIDNEXT"] == folder.uidnext
        if returning:
            assert None not in device.mirror.uids
            self.agree(device)

    def agree(self, device: Device) -> None:
        """The mirror is the truth."""
        assert not (wrong := self.differs(device)), f"device {device.number}: {wrong}"

    def differs(self, device: Device) -> str:
        """What a device has wrong."""
        return device.mirror.differs(self.account.folders[device.folder].truth)

    def check(self) -> None:
        """The model is what the rows say."""
        assert self.world.truth(self.user) == self.account.truth

    def named(self, device: Device, picks: list[int], uid: bool) -> tuple[str, list[int]]:
        """Some messages as a set of numbers or uids, and their places."""
        total = len(device.mirror.entries)
        places = sorted({pick % total for pick in picks})
        star = picks[0] > 25
        if star:
            places = sorted({*places, *range(places[-1], total)})
        known = [place for place in places if not uid or device.mirror.entries[place].uid is not None]
        spelled = [str(device.mirror.entries[place].uid if uid else place + 1) for place in known]
        return ",".join(spelled) or "4000000000", known

    def deed(self, device: Device, word: str, picks: list[int], uid: bool) -> tuple[Deed, str]:
        """A command on some messages, and how it names them."""
        numbers, places = self.named(device, picks, uid)
        uids = tuple(entry.uid for entry in device.entries(places) if entry.uid is not None)
        return Deed(word, device.folder, uids, uid, lost=len(uids) < len(places)), numbers

    # --- rules on messages

    @rule(number=device_of, choice=target_of, flags=flags_of, count=st.sampled_from([1, 1, 3]))
    def append(self, number: int, choice: int, flags: str, count: int) -> None:
        """APPEND, also of several messages (RFC 3502)."""
        device = self.devices[number]
        command, deed = self.appending(choice, flags, count)
        heard = self.run(device.do(command))
        assert heard.given == set(self.account.apply(deed).given), device.last
        if device.folder == deed.key:
            self.agree(device)  # RFC 9051 §6.3.12: EXISTS at once
        self.check()

    def appending(self, choice: int, flags: str, count: int = 1) -> tuple[str, Deed]:
        """APPEND of short messages."""
        key = self.folder_of(choice)
        lower = frozenset(flags.lower().split())
        return f"APPEND {self.name(key)}{written(flags) * count}", Deed("APPEND", key, flags=lower, count=count)

    @rule(number=device_of, pick=st.integers(0, 30), uid=st.booleans(), choice=target_of, flags=flags_of)
    def replace(self, number: int, pick: int, uid: bool, choice: int, flags: str) -> None:
        """REPLACE and UID REPLACE (RFC 8508 §3)."""
        self.run(self._replace(number, pick, uid, (choice, flags)))

    async def _replace(self, number: int, pick: int, uid: bool, what: tuple[int, str]) -> None:
        device = await self.selected(number)
        command, deed = self.replacing(device, pick, uid or device.kind.uidonly, what)
        if device.read_only:
            await device.do(command, fails="NO")
            return
        outcome = self.account.apply(deed)
        heard = await device.do(command, fails="OK" if outcome.ok else "NO [EXPUNGEISSUED]")
        assert heard.given == set(outcome.given), device.last
        self.check()
        if outcome.ok:
            self.agree(device)

    def replacing(self, device: Device, pick: int, uid: bool, what: tuple[int, str]) -> tuple[str, Deed]:
        """The command and the deed."""
        choice, flags = what
        deed, numbers = self.deed(device, "REPLACE", [pick % 25], uid)
        deed = Deed(**{**vars(deed), "target": self.folder_of(choice), "flags": frozenset(flags.lower().split())})
        return f"{'UID ' if uid else ''}REPLACE {numbers} {self.name(deed.target)}{written(flags)}", deed

    @rule(number=device_of, picks=picks_of, uid=st.booleans(), mode=mode_of, silent=st.booleans(), flags=flags_of)
    def store(self, number: int, picks: list[int], uid: bool, mode: str, silent: bool, flags: str) -> None:
        """STORE in all its forms."""
        self.run(self._store(number, picks, uid, (mode, ".SILENT" if silent else "", flags)))

    async def _store(self, number: int, picks: list[int], uid: bool, how: tuple[str, str, str]) -> None:
        device = await self.selected(number)
        uid = uid or device.kind.uidonly
        command, deed = self.storing(device, picks, uid, how)
        if device.read_only:
            await device.do(command, fails="NO")
            return
        heard = await device.do(command)
        outcome = self.account.apply(deed)
        self.check()
        self.stored(device, deed, outcome, heard, silent=bool(how[1]))

    def storing(self, device: Device, picks: list[int], uid: bool, how: tuple[str, str, str]) -> tuple[str, Deed]:
        """The command and the deed."""
        mode, silent, flags = how
        deed, numbers = self.deed(device, "STORE", picks, uid)
        deed = Deed(**{**vars(deed), "mode": mode, "flags": frozenset(flags.lower().split())})
        return f"{'UID ' if uid else ''}STORE {numbers} {mode}FLAGS{silent} ({flags})", deed

    def stored(self, device: Device, deed: Deed, outcome: Outcome, heard: Heard, *, silent: bool) -> None:
        """What STORE must have said."""
        truth = self.account.folders[deed.key].truth
        for uid in outcome.uids:
            if not silent:
                assert heard.flags.get(uid) == truth[uid], (uid, heard.flags, truth)
            elif (place := device.mirror.place(uid)) is not None:
                entry = device.mirror.entries[place]
                before = entry.flags
                entry.flags = (
                    None if before is None and deed.mode else changed(before or frozenset(), deed.mode, deed.flags)
                )
                assert entry.flags in (None, truth[uid]), (uid, entry.flags, truth[uid])

    @rule(number=device_of, picks=picks_of, uid=st.booleans(), move=st.booleans(), choice=target_of)
    def transfer(self, number: int, picks: list[int], uid: bool, move: bool, choice: int) -> None:
        """COPY and MOVE, also into the same mailbox."""
        self.run(self._transfer(number, picks, uid, ("MOVE" if move else "COPY", choice)))

    async def _transfer(self, number: int, picks: list[int], uid: bool, what: tuple[str, int]) -> None:
        device = await self.selected(number)
        uid = uid or device.kind.uidonly
        command, deed = self.transferring(device, picks, uid, what)
        if device.read_only and deed.word == "MOVE":
            await device.do(command, fails="NO")
            return
        outcome = self.account.apply(deed)
        await device.do(command, fails="OK" if outcome.ok else "NO [EXPUNGEISSUED]")
        self.check()
        if outcome.ok and deed.word == "MOVE":
            self.agree(device)

    def transferring(self, device: Device, picks: list[int], uid: bool, what: tuple[str, int]) -> tuple[str, Deed]:
        """The command and the deed."""
        word, choice = what
        deed, numbers = self.deed(device, word, picks, uid)
        deed = Deed(**{**vars(deed), "target": self.folder_of(choice)})
        return f"{'UID ' if uid else ''}{word} {numbers} {self.name(deed.target)}", deed

    @rule(number=device_of, picks=st.none() | picks_of)
    def expunge(self, number: int, picks: list[int] | None) -> None:
        """EXPUNGE and UID EXPUNGE."""
        self.run(self._expunge(number, picks))

    async def _expunge(self, number: int, picks: list[int] | None) -> None:
        device = await self.selected(number)
        command, deed = self.expunging(device, picks)
        await device.do(command, fails="NO" if device.read_only else "OK")
        if not device.read_only:
            self.account.apply(deed)
            self.agree(device)
        self.check()

    def expunging(self, device: Device, picks: list[int] | None) -> tuple[str, Deed]:
        """The command and the deed."""
        if picks is None:
            return "EXPUNGE", Deed("EXPUNGE", device.folder)
        deed, numbers = self.deed(device, "EXPUNGE", picks, True)
        return f"UID EXPUNGE {numbers}", deed

    @rule(number=device_of, picks=picks_of, uid=st.booleans(), flags=flags_of, behind=st.integers(0, 4))
    def conditional(self, number: int, picks: list[int], uid: bool, flags: str, behind: int) -> None:
        """STORE UNCHANGEDSINCE, of devices that know mod-sequences (RFC 7162 §3.1.3)."""
        self.run(self._conditional(number, picks, uid, (flags, behind)))

    async def _conditional(self, number: int, picks: list[int], uid: bool, how: tuple[str, int]) -> None:
        flags, behind = how
        device = await self.selected(number)
        if not device.kind.modseqs or device.read_only:
            return
        uid = uid or device.kind.uidonly
        deed, numbers = self.deed(device, "STORE", picks, uid)
        modseqs = self.world.modseqs(self.user, self.name(device.folder))
        since = self.some_modseq(device, modseqs, behind)
        failing = {told for told in deed.uids if modseqs.get(told, 0) > since}
        passing = tuple(told for told in deed.uids if told not in failing)
        deed = Deed(**{**vars(deed), "uids": passing, "mode": "+", "flags": frozenset(flags.lower().split())})
        places = {entry.uid: place for place, entry in enumerate(device.mirror.entries, 1)}
        heard = await device.do(
            f"{'UID ' if uid else ''}STORE {numbers} (UNCHANGEDSINCE {since}) +FLAGS.SILENT ({flags})"
        )
        modified = {told if uid else places[told] for told in failing}
        found = re.match(r"OK \[MODIFIED ([0-9:,]+)\]", device.last)
        assert (spelled(found[1].encode()) if found else set()) == modified, (device.last, modified)
        outcome = self.account.apply(deed)
        self.check()
        self.stored(device, deed, outcome, heard, silent=True)

    def some_modseq(self, device: Device, modseqs: dict[int, int], behind: int) -> int:
        """One that a client may name: what it knows, those of messages, or the first."""
        several = sorted(modseqs.values()) or [1]
        return (device.mirror.highest or 1, several[len(several) // 2], several[-1], 1, max(1, several[-1] - 1))[behind]

    # --- rules that ask

    @rule(number=device_of, picks=picks_of, uid=st.booleans(), vanished=st.booleans(), behind=st.integers(0, 4))
    def changed_since(self, number: int, picks: list[int], uid: bool, vanished: bool, behind: int) -> None:
        """FETCH CHANGEDSINCE, with VANISHED where it may stand (RFC 7162 §3.1.4.1, §3.2.6)."""
        self.run(self._changed_since(number, picks, (uid, vanished), behind))

    async def _changed_since(self, number: int, picks: list[int], how: tuple[bool, bool], behind: int) -> None:
        uid, vanished = how
        device = await self.selected(number)
        uid = uid or device.kind.uidonly
        if not device.kind.modseqs:
            return
        deed, numbers = self.deed(device, "FETCH", picks, uid)
        modseqs = self.world.modseqs(self.user, self.name(device.folder))
        since = self.some_modseq(device, modseqs, behind)
        vanished = vanished and uid and device.kind.vanishing
        heard = await device.do(
            f"{'UID ' if uid else ''}FETCH {numbers} (FLAGS) (CHANGEDSINCE {since}{' VANISHED' if vanished else ''})"
        )
        truth = self.account.folders[device.folder].truth
        for told in deed.uids:
            if told in truth and modseqs[told] > since:
                assert heard.flags.get(told) == truth[told], (told, since, heard.flags)
        if behind == 0:  # all that it knows: what is told has changed since, asked for or not
            assert all(modseqs[told] > since for told in heard.flags if told in modseqs), (since, heard.flags, modseqs)
        assert not heard.earlier & set(truth), (heard.earlier, truth)
        if vanished:
            self.agree_on_removals(device)
        self.check()

    def agree_on_removals(self, device: Device) -> None:
        """Nothing is counted that is gone."""
        assert set(device.mirror.uids) - {None} <= set(self.account.folders[device.folder].truth)

    @rule(
        number=device_of, picks=picks_of, uid=st.booleans(), items=st.sampled_from(["FLAGS", "(UID FLAGS)", "BODY[]"])
    )
    def fetch(self, number: int, picks: list[int], uid: bool, items: str) -> None:
        """FETCH, which may set \\Seen."""
        self.run(self._fetch(number, picks, uid, items))

    async def _fetch(self, number: int, picks: list[int], uid: bool, items: str) -> None:
        device = await self.selected(number)
        uid = uid or device.kind.uidonly
        deed, numbers = self.deed(device, "STORE", picks, uid)
        heard = await device.do(f"{'UID ' if uid else ''}FETCH {numbers} {items}")
        if items == "BODY[]" and not device.read_only:
            self.account.apply(Deed(**{**vars(deed), "mode": "+", "flags": frozenset({"\\seen"})}))
        self.check()
        truth = self.account.folders[device.folder].truth
        for told in deed.uids:
            assert told not in truth or items == "BODY[]" or heard.flags.get(told) == truth[told], (told, heard.flags)

    @rule(number=device_of, uid=st.booleans(), key=key_of, behind=st.none() | st.integers(0, 4))
    def search(self, number: int, uid: bool, key: str, behind: int | None) -> None:
        """SEARCH finds what the client knows and is so; of what is gone already it may say anything."""
        self.run(self._search(number, uid, key, behind))

    async def _search(self, number: int, uid: bool, key: str, behind: int | None) -> None:
        device = await self.selected(number)
        modseqs = self.world.modseqs(self.user, self.name(device.folder))
        since = self.some_modseq(device, modseqs, behind) if device.kind.modseqs and behind is not None else 0
        known = set(device.mirror.uids) - {None}
        words = f"{'UID ' if uid or device.kind.uidonly else ''}SEARCH {key}"
        heard = await device.do(f"{words} MODSEQ {since}" if since else words)
        truth = self.account.folders[device.folder].truth
        right = {u for u, flags in truth.items() if u in known and fits(key, flags) and modseqs[u] >= since}
        assert heard.found is not None
        found = {u for u in heard.found if u in truth}
        assert found == right, (key, heard.found, right)
        if since and set(heard.found) == right:  # RFC 7162 §3.1.5: the highest among those found
            assert heard.newest == max((modseqs[u] for u in right), default=None), (heard.newest, right, modseqs)
        self.check()

    @rule(number=device_of)
    def noop(self, number: int) -> None:
        """NOOP, after which the mirror is the truth."""
        self.run(self._noop(number))

    async def _noop(self, number: int) -> None:
        device = await self.selected(number)
        await device.do("NOOP")
        self.agree(device)

    # --- rules on time and mailboxes

    @rule(number=device_of)
    def idle(self, number: int) -> None:
        """IDLE, until another rule wants something of the device."""
        if not self.devices[number].idling:
            self.run(self._idle(number))

    async def _idle(self, number: int) -> None:
        device = await self.selected(number)
        await device.idle()

    @rule()
    def hear(self) -> None:
        """Who is in IDLE hears of everything without a word."""
        self.run(self._hear())

    async def _hear(self) -> None:
        for device in self.devices:
            if device.idling:
                await device.hear(lambda device=device: self.differs(device))  # type: ignore[misc]

    @rule(number=device_of, choice=target_of, read_only=st.booleans())
    def select(self, number: int, choice: int, read_only: bool) -> None:
        """SELECT or EXAMINE, also from another mailbox."""
        self.run(self.devices[number].ready())
        self.run(self.select_on(self.devices[number], self.folder_of(choice), read_only=read_only))

    @rule(number=device_of, word=st.sampled_from(["CLOSE", "UNSELECT"]))
    def close(self, number: int, word: str) -> None:
        """CLOSE expunges without a word."""
        device = self.devices[number]
        if not device.folder:
            return
        self.run(device.ready())
        before = len(device.mirror.entries)
        device.remember()
        self.run(device.do(word))
        assert len(device.mirror.entries) >= before, "CLOSE told of an EXPUNGE"
        if word == "CLOSE" and not device.read_only:
            self.account.apply(Deed("EXPUNGE", device.folder))
        device.folder = 0
        self.check()

    @rule(number=device_of, what=st.integers(0, 7))
    def upheaval(self, number: int, what: int) -> None:
        """What happens now and then."""
        match what:
            case 0:
                self.delete(number)
            case 1 | 2:
                self.rename(number, inbox=what == 1)
            case _:
                self.leave(number, politely=what % 2 == 0)

    def leave(self, number: int, *, politely: bool) -> None:
        """The connection ends; with QRESYNC the device comes back to the same mailbox."""
        self.run(self._leave(number, politely))

    async def _leave(self, number: int, politely: bool) -> None:
        device = self.devices[number]
        if device.client is not None and device.folder and not device.idling:
            await device.learn()
        await device.leave(politely=politely)

    def rename(self, number: int, *, inbox: bool) -> None:
        """RENAME of a mailbox that others have selected: they go on. Of INBOX: its messages leave it."""
        device = self.devices[number]
        name = f"n{next(self.names)}"
        self.run(device.do(f"RENAME {'INBOX' if inbox else self.name(self.work)} {name}"))
        if inbox:
            self.account.empty_inbox(name)
        else:
            self.account.folders[self.work].name = name
        self.check()

    def delete(self, number: int) -> None:
        """DELETE of a mailbox that others have selected, and a new one of the same name."""
        self.run(self._delete(self.devices[number]))

    async def _delete(self, deleter: Device) -> None:
        name, gone = self.name(self.work), self.work
        others = [device for device in self.devices if device.folder == gone and device is not deleter]
        heard = await deleter.do(f"DELETE {name}")
        assert heard.closed == (deleter.folder == 0 and heard.closed)
        for device in others:
            await self._bereaved(device)
        del self.account.folders[gone]
        await deleter.do(f"CREATE {name}")
        self.work = self.account.make(name)
        self.check()

    async def _bereaved(self, device: Device) -> None:
        """IMAP4rev2: CLOSED; IMAP4rev1: BYE (RFC 9051 §3)."""
        if device.idling:
            assert device.client is not None
            tag, device.idling = device.idling, b""
            device.client.writer.write(b"DONE\r\n")
            heard = await device.finish(tag, "IDLE")
            if not (heard.closed or heard.bye):
                heard = await device.do("NOOP")
        else:
            heard = await device.do("NOOP")
        assert (heard.closed, heard.bye) == (device.kind.rev2, not device.kind.rev2)

    # --- two at once

    @rule(numbers=st.tuples(device_of, device_of), draws=st.data())
    def race(self, numbers: tuple[int, int], draws: st.DataObject) -> None:
        """Two devices change messages at the same instant: it must come out as one after the other."""
        self.run(self._race(numbers, draws))

    async def _race(self, numbers: tuple[int, int], draws: st.DataObject) -> None:
        if numbers[0] == numbers[1]:
            return
        pair = [await self.selected(number) for number in numbers]
        if any(device.read_only or not device.mirror.entries for device in pair):
            return
        both = [self.any_deed(device, draws) for device in pair]
        clients = [await device.ready() for device in pair]
        tags = [client.write(command) for client, (command, _) in zip(clients, both, strict=True)]
        given = []
        for device, tag, (command, _deed) in zip(pair, tags, both, strict=True):
            given.append((await device.finish(tag, command)).given)
            if ".SILENT" in command:
                for entry in device.mirror.entries:
                    entry.flags = None
        self.adopt([(deed, uids) for (_, deed), uids in zip(both, given, strict=True)])

    def any_deed(self, device: Device, draws: st.DataObject) -> tuple[str, Deed]:
        """One of the commands above."""
        picks, uid = draws.draw(picks_of), draws.draw(st.booleans()) or device.kind.uidonly
        match draws.draw(st.integers(0, 4)):
            case 0:
                how = (draws.draw(mode_of), draws.draw(st.sampled_from(["", ".SILENT"])), draws.draw(flags_of))
                return self.storing(device, picks, uid, how)
            case 1:
                word = draws.draw(st.sampled_from(["COPY", "MOVE"]))
                return self.transferring(device, picks, uid, (word, draws.draw(target_of)))
            case 2:
                return self.expunging(device, picks if uid else None)
            case 3:
                return self.replacing(device, picks[0], uid, (draws.draw(target_of), draws.draw(flags_of)))
            case _:
                return self.appending(draws.draw(target_of), draws.draw(flags_of))

    def adopt(self, deeds: list[tuple[Deed, set[int]]]) -> None:
        """One order or the other is what happened: the one with these rows, in which the deeds gave these uids."""
        real = self.world.truth(self.user)
        outcomes = []
        for order in (deeds, deeds[::-1]):
            trial = self.account.copy()
            said = all(set(trial.apply(deed).given) == given for deed, given in order)
            outcomes.append(trial.truth)
            if said and trial.truth == real:
                self.account = trial
                return
        raise AssertionError(f"{deeds} one after the other gives {outcomes}, not {real}")

    # --- the end

    def teardown(self) -> None:
        """Everybody hears of everything; every mirror is the truth."""
        try:
            if hasattr(self, "devices"):
                self.run(self._end())
        finally:
            for task in self.world.tasks:
                self.runner_cancel(task)

    def runner_cancel(self, task: "asyncio.Task[None]") -> None:
        """A session of a failed example."""
        self.world.runner.get_loop().call_soon(task.cancel)

    async def _end(self) -> None:
        await self._hear()
        for device in self.devices:
            if device.folder:
                await device.ready()
                await device.do("NOOP")
                self.agree(device)
            await device.leave(politely=False)


def play(stage: Stage, examples: int) -> None:
    """Run the machine."""
    run_state_machine_as_test(
        lambda: Devices(stage),
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            phases=[Phase.generate],  # shrinking would take minutes, and the steps that failed are printed
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_many_devices() -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        try:
            play(world, EXAMPLES)
        finally:
            world.close()
