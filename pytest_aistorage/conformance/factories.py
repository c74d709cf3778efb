"""A storage by the name of its factory, ``package.module:factory``, which any process can find and call.

It imports neither pytest nor Hypothesis, so that a process of a race starts quickly.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..capabilities import Capability
from ..errors import ConfigurationError

if TYPE_CHECKING:
    from ..storage import AIStorage

__all__ = [
    "EXPECTED",
    "Supplied",
    "capability",
    "find_factory",
    "is_reference",
    "open_store",
    "reasons_to_withhold",
    "search_path",
]

EXPECTED = (
    "expected is package.module:factory, a callable factory(store_id: str) that returns an open storage"
)
"""What a reference must lead to."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Supplied:
    """What the author of a storage supplies beside the storage itself, as attributes of the factory.

    Attributes:
        capabilities: what the storage declares; None: what its instances say.
        deviations: by a contract test's name, why the storage can't keep that promise.
        withheld: by a guarantee that is kept and not declared, why it is not declared.
        raw: gets the id of a store, and returns what reads the store around the storage.
        crashable: gets an id, and returns a store of that id on a server that can be killed.
        drop: gets the id of a store that nobody needs any more.
    """

    capabilities: frozenset[Capability] | None = None
    deviations: Mapping[str, str] = dataclasses.field(default_factory=dict)
    withheld: Mapping[Capability, str] = dataclasses.field(default_factory=dict)
    raw: Callable[[str], Any] | None = None
    crashable: Callable[[str], Any] | None = None
    drop: Callable[[str], object] | None = None

    @classmethod
    def by(cls, factory: Any, named: Iterable[object] | None = None) -> Supplied:
        """Read the attributes of a factory, or of a registered class.

        Args:
            factory: it.
            named: the capabilities that were given otherwise; None: none were.

        Raises:
            ConfigurationError: one of the capabilities is none, or is withheld without a reason.
        """
        declared: Any = getattr(factory, "capabilities", None) if named is None else named
        # A class may be a factory, too; its methods of these names are about something else.
        hooks: Any = None if isinstance(factory, type) else factory
        return cls(
            # A property of a class says nothing before there is an instance.
            capabilities=frozenset(map(capability, declared)) if _is_collection(declared) else None,
            deviations=getattr(factory, "deviations", {}),
            withheld=reasons_to_withhold(factory),
            raw=getattr(hooks, "raw", None),
            crashable=getattr(hooks, "crashable", None),
            drop=getattr(hooks, "drop", None),
        )


def _is_collection(value: object) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, (str, bytes))


def capability(name: object) -> Capability:
    """Return a capability by its name, ``"LINEARIZABLE"`` or ``"linearizable"``, or as it is.

    Raises:
        ConfigurationError: there is none of that name.
    """
    if isinstance(name, Capability):
        return name
    for one in Capability:
        if isinstance(name, str) and name.upper().replace("-", "_") == one.name:
            return one
    known = ", ".join(one.value for one in Capability)
    raise ConfigurationError(f"there is no capability {name!r}; there are {known}")


def reasons_to_withhold(holder: Any) -> dict[Capability, str]:
    """Return the attribute ``withheld``: why guarantees are not declared that are kept; empty: there is none.

    Args:
        holder: a factory, a storage or a test class.

    Raises:
        ConfigurationError: it names what is no capability, or gives no reason.
    """
    written = getattr(holder, "withheld", {})
    if not isinstance(written, Mapping):
        raise ConfigurationError(
            f"withheld: a mapping of capabilities to reasons is expected, got {written!r}"
        )
    found = {}
    for name, reason in written.items():
        try:
            found[capability(name)] = reason
        except ConfigurationError as error:
            raise ConfigurationError(f"withheld: {error}") from None
        if not isinstance(reason, str) or not reason.strip():
            raise ConfigurationError(
                f"withheld: {capability(name).name} needs a written reason, got {reason!r}"
            )
    return found


def is_reference(name: str) -> bool:
    """Whether a name means a factory, and no backend or URL."""
    return ":" in name and "://" not in name


def find_factory(reference: str) -> Callable[[str], AIStorage]:
    """Import a factory.

    Args:
        reference: ``package.module:factory``.

    Raises:
        ConfigurationError: it can't be imported or is no factory. What the module itself raised is the cause.
    """
    module_name, _, attribute = reference.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), *attribute.split("."))):
        raise ConfigurationError(f"{reference!r}: {EXPECTED}")
    try:
        found: Any = import_module(module_name)
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and f"{module_name}.".startswith(f"{missing}."):
            raise ConfigurationError(
                f"{reference}: there is no module {missing!r} in {Path.cwd()}, nor is one installed; {EXPECTED}"
            ) from None
        raise ConfigurationError(
            f"{reference}: importing {module_name} raised {type(error).__name__}: {error}"
        ) from error
    for name in attribute.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise ConfigurationError(
                f"{reference}: {module_name} has no attribute {attribute!r}; {EXPECTED}"
            ) from None
    return _checked(reference, found)


def _checked(reference: str, found: Any) -> Callable[[str], AIStorage]:
    if not callable(found):
        raise ConfigurationError(f"{reference} is {found!r}, which can't be called; {EXPECTED}")
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):  # a builtin that tells nothing about itself
        return found  # type: ignore[no-any-return]
    try:
        signature.bind("store")
    except TypeError as error:
        name = reference.partition(":")[2]
        raise ConfigurationError(
            f"{reference}: its signature is {name}{signature}, which can't be called with one argument "
            f"({error}); {EXPECTED}"
        ) from None
    return found  # type: ignore[no-any-return]


def search_path() -> tuple[str, ...]:
    """Where this process looks for modules, for another to look there as well."""
    return tuple(str(Path(entry).absolute()) for entry in sys.path)


def open_store(reference: str, path: tuple[str, ...], store_id: str) -> AIStorage:
    """Open one more client of a store, in whatever process this is.

    Args:
        reference: of the factory.
        path: where else to look for its module.
        store_id: the store's.
    """
    sys.path.extend(entry for entry in path if entry not in sys.path)
    return find_factory(reference)(store_id)
