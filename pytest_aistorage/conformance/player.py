"""What the operations of a sequence stand for: plain numbers and words, until a client does them."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from ..capabilities import Capability
from .agreement import LETTERS, Agreement
from .material import change_of, expected_version, query_of

__all__ = ["Operation", "Player"]

Operation = tuple[str, Mapping[str, Any]]
"""What is done, and with which arguments; what they mean depends on what is stored when it is done."""


class Player:
    """Does operations, one after another, on an agreement.

    Args:
        agreement: on which they are done.
        capabilities: what the storage declares.
        names: of the models; an operation has them by number.

    Attributes:
        agreement: the same.
        played: the operations so far, with the one that failed.
    """

    def __init__(
        self, agreement: Agreement, capabilities: frozenset[Capability], names: Sequence[str]
    ) -> None:
        self.agreement = agreement
        self.played: list[Operation] = []
        self._capabilities = capabilities
        self._names = names

    def play(self, operation: Operation) -> None:
        """Do an operation.

        Raises:
            Disagreement: it ended otherwise than the specification says.
        """
        self.played.append(operation)
        what, given = operation
        arguments = dict(copy.deepcopy(given))  # they will be tampered with
        client = arguments.pop("client")
        if what == "toggle" or not self.agreement.open:
            self._toggle(client)
        else:
            getattr(self, f"_{what}")(self._letter(client), **arguments)

    def _letter(self, number: int) -> str:
        letters = sorted(self.agreement.open)
        return letters[number % len(letters)]

    def _name(self, number: int) -> str:
        return self._names[number % len(self._names)]

    # -- clients --------------------------------------------------------------------------------------------

    def _toggle(self, client: int) -> None:
        """Close a client, or open it."""
        letter, others = LETTERS[client], set(self.agreement.open) - {LETTERS[client]}
        if letter not in self.agreement.open:
            self.agreement.open_client(letter)
        elif others or Capability.SURVIVES_CLOSE in self._capabilities:
            self.agreement.close_client(letter)

    def _look(self, client: int | None, name: str) -> None:
        """Let another client read what was written."""
        if client is not None:
            self.agreement.get(self._letter(client), name)

    # -- writes ---------------------------------------------------------------------------------------------

    def _save(
        self, letter: str, name: int, fields: dict[str, Any], ttl: timedelta | None, reader: int | None
    ) -> None:
        chosen = self._name(name)
        self.agreement.save(letter, chosen, fields, None, ttl)
        self._look(reader, chosen)

    def _compare_and_set(self, letter: str, name: int, fields: dict[str, Any], expected: str) -> None:
        chosen = self._name(name)
        version = expected_version(self.agreement.state, chosen, expected)
        self.agreement.save(letter, chosen, fields, version)

    def _save_many(self, letter: str, batch: list[tuple[int, dict[str, Any]]]) -> None:
        chosen = {self._name(number): fields for number, fields in batch}
        self.agreement.save_many(letter, list(chosen.items()))

    def _save_invalid(
        self, letter: str, name: int, fields: dict[str, Any], invalid: tuple[str, Any], way: str
    ) -> None:
        chosen, (field, value) = self._name(name), invalid
        good = (self._name(name + 1), fields)
        bad = (value, fields) if field == "model_name" else (chosen, {**fields, field: value})
        batch = {"alone": [bad], "last of a batch": [good, bad], "twice in a batch": [good, good]}[way]
        self.agreement.refuse(letter, batch, many=way != "alone")

    def _update(self, letter: str, name: int, fields: dict[str, Any], way: str, reader: int | None) -> None:
        chosen = self._name(name)
        said, change = change_of(way, chosen, fields)
        self.agreement.update(letter, chosen, said, change)
        self._look(reader, chosen)

    def _delete(self, letter: str, name: int, expected: str, reader: int | None) -> None:
        chosen = self._name(name)
        version = expected_version(self.agreement.state, chosen, expected)
        self.agreement.delete(letter, chosen, version)
        self._look(reader, chosen)

    def _expire(self, letter: str, name: int, reader: int | None) -> None:
        chosen = self._name(name)
        if Capability.EXPIRY in self._capabilities and hasattr(self.agreement.open[letter], "expire_now"):
            self.agreement.expire(letter, chosen)
            self._look(reader, chosen)

    def _tamper(self, letter: str, which: str) -> None:
        self.agreement.tamper(which)

    # -- reads ----------------------------------------------------------------------------------------------

    def _get(self, letter: str, name: int) -> None:
        self.agreement.get(letter, self._name(name))

    def _list(self, letter: str, way: str, batch_size: int) -> None:
        if way == "iterate":
            self.agreement.iterate(letter, batch_size)
        else:
            (self.agreement.load if way == "load" else self.agreement.count)(letter)

    def _iterate_meanwhile(self, letter: str, batch_size: int, which: int, most: int) -> None:
        under_way = [one for one in self.agreement.iterations if not one.ended]
        if which < len(under_way):
            under_way[which].go_on(most)
        else:
            self.agreement.begin_iteration(letter, batch_size)
            self.agreement.iterations[-1].go_on(most)

    def _query(
        self, letter: str, condition: str, pick: int, order_by: str, limit: int | None, goes_on: bool
    ) -> None:
        if goes_on and self.agreement.page is not None:
            before, last = self.agreement.page
            query = dataclasses.replace(before, after=last)
        else:
            query = query_of(self.agreement.state.records(), condition, pick, order_by, limit)
        self.agreement.query(letter, query)
