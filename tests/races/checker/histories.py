"""Small random histories, good ones and spoilt ones, and a brute force that tells which is which."""

from __future__ import annotations

from random import Random
from typing import Any

from pytest_aistorage.races.history import Operation, Part

State = dict[str, tuple[int, Any]]
"""By model: the last version, and the value that is there; None: nothing is."""

_NOTHING = (0, None)


class _Client:
    def __init__(self, number: int, called: int, kind: str, model_name: str, tag: int) -> None:
        self.fields: dict[str, Any] = {
            "process": number,
            "called": called,
            "kind": kind,
            "model_name": model_name,
        }
        self.tag = tag
        self.took_place = False


def history(random: Random, kinds: tuple[str, ...], models: tuple[str, ...]) -> list[Operation]:
    """Simulate clients: each operation takes place at one moment between its call and its return."""
    state: State = {}
    operations: list[Operation] = []
    clients: list[_Client | None] = [None] * random.randint(2, 4)
    wanted, begun, now = random.randint(2, 8), 0, 0
    while begun < wanted or any(clients):
        number = random.randrange(len(clients))
        client = clients[number]
        now += 1
        if client is None:
            if begun < wanted:
                begun += 1
                kind = random.choice(kinds)
                model = "" if kind in ("load", "save_many") else random.choice(models)
                clients[number] = _Client(number, now, kind, model, begun)
        elif not client.took_place:
            client.took_place = True
            _take_place(client, state, models, random)
        else:
            fields = client.fields
            lost = fields.get("outcome") == "unknown" and random.random() < 0.5
            operations.append(Operation(returned=None if lost else now, **fields))
            clients[number] = None
    if "unknown" in kinds or random.random() < 0.2:
        operations.append(Operation(9, "save", models[0], random.randint(0, now), None, "unknown", value=999))
    return operations


def _take_place(client: _Client, state: State, models: tuple[str, ...], random: Random) -> None:
    fields, kind = client.fields, client.fields["kind"]
    if kind == "load":
        fields["parts"] = tuple(
            Part(name, *state[name]) for name in models if state.get(name, _NOTHING)[1] is not None
        )
        return
    if kind == "save_many":
        parts = []
        for place, name in enumerate(random.sample(models, 2)):
            state[name] = (state.get(name, _NOTHING)[0] + 1, client.tag * 100 + place)
            parts.append(Part(name, *state[name]))
        fields["parts"] = tuple(parts)
        return
    name = fields["model_name"]
    version, value = state.get(name, _NOTHING)
    current = 0 if value is None else version
    if kind == "get":
        fields.update(version=current, value=value)
        return
    if kind in ("save", "delete") and random.random() < 0.4:
        fields["base"] = random.choice((0, current, current, max(0, version - 1)))
    if kind != "delete":
        fields["value"] = client.tag
    if fields.get("base") not in (None, current):
        fields.update(outcome="failed", actual=current)
        return
    if kind == "delete" and value is None:
        fields["base"] = None
        fields["version"] = 0
        return
    if kind == "update":
        fields.update(base=current, consumed=value)
    state[name] = (version + 1, fields.get("value"))
    if random.random() < 0.15:
        fields["outcome"] = "unknown"
    else:
        fields["version"] = version + 1


def spoilt(random: Random, operations: list[Operation]) -> list[Operation]:
    """Change one or two things; often enough a violation comes of it."""
    changed = list(operations)
    for _ in range(random.randint(1, 2)):
        number = random.randrange(len(changed))
        one = changed[number]
        other = random.choice(changed)
        what = random.randrange(7)
        if what == 0:
            shift = random.randint(-15, 15)
            one = one._replace(
                called=one.called + shift, returned=None if one.returned is None else one.returned + shift
            )
        elif what == 1 and one.version is not None:
            least = 0 if one.kind in ("get", "delete") else 1
            one = one._replace(version=max(least, one.version + random.choice((-1, 1))))
        elif what == 2 and one.kind == "get":
            one = one._replace(value=other.value, version=0 if other.value is None else one.version)
        elif what == 3 and one.kind == "get":
            one = one._replace(version=0, value=None)
        elif what == 4 and one.base is not None:
            one = one._replace(base=max(0, one.base + random.choice((-1, 1))))
        elif what == 5 and one.kind == "load" and other.kind == "load":
            names = sorted({part.model_name for part in (*one.parts, *other.parts)})
            if names:
                name = random.choice(names)
                kept = [part for part in one.parts if part.model_name != name]
                taken = [part for part in other.parts if part.model_name == name]
                one = one._replace(parts=(*kept, *taken))
        elif what == 6:
            one = one._replace(called=one.called - random.randint(0, 8))
        changed[number] = one
    return changed


def without_versions(operations: list[Operation]) -> list[Operation]:
    """What a storage without versions would have told: of an absence that is all, of a change nothing."""
    plain = []
    for one in operations:
        if one.outcome == "failed":
            continue
        nothing = one.version == 0 or (one.kind == "get" and one.value is None)
        version = 0 if nothing else None
        base = 0 if one.kind == "update" and one.base == 0 else None
        plain.append(one._replace(version=version, base=base))
    return plain


def is_linearizable(operations: list[Operation]) -> bool:
    """Try every order that respects real time. The definition, and far too slow for anything else."""
    return _explainable(
        [
            one
            for one in operations
            if one.outcome == "ok"
            or (one.outcome == "unknown" and one.kind != "get")
            or (one.outcome == "failed" and one.actual is not None)
        ],
        {},
    )


def _explainable(left: list[Operation], state: State) -> bool:
    certain = [one for one in left if one.outcome != "unknown"]
    if not certain:
        return True
    limit = min((one.returned for one in certain if one.returned is not None), default=1 << 60)
    for number, one in enumerate(left):
        if one.called <= limit:
            after = _after(one, state)
            if after is not None and _explainable(left[:number] + left[number + 1 :], after):
                return True
    return False


def _after(one: Operation, state: State) -> State | None:
    if one.kind == "load":
        there = {name: found for name, found in state.items() if found[1] is not None}
        return state if {part.model_name: part[1:] for part in one.parts} == there else None
    if one.kind == "save_many":
        changed = dict(state)
        for part in one.parts:
            version = changed.get(part.model_name, _NOTHING)[0] + 1
            if part.version != version:
                return None
            changed[part.model_name] = (version, part.value)
        return changed
    version, value = state.get(one.model_name, _NOTHING)
    current = 0 if value is None else version
    if one.outcome == "failed":
        return state if one.actual == current and one.base != current else None
    if one.kind == "get" or (one.kind == "delete" and one.outcome == "ok" and one.version == 0):
        if one.kind == "delete" and one.base:
            return None  # to delete what is not there, on the condition that it is, is refused
        if one.version == 0:
            return state if value is None else None
        fits = one.version in (None, version) and one.value in (None, value)
        return state if value is not None and fits else None
    if one.base is not None and one.base != current:
        return None
    if one.consumed is not None and one.consumed != value:
        return None
    if one.kind == "delete" and value is None:
        return state if one.version is None and one.outcome == "ok" else None
    if one.outcome == "ok" and one.version not in (None, version + 1):
        return None
    return {**state, one.model_name: (version + 1, None if one.kind == "delete" else one.value)}
