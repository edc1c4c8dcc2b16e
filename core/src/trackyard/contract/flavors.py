"""What makes a class a flavor, and how does it declare a secret?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform

import attrs

from trackyard.contract.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trackyard.contract.records import Capabilities

_Class = TypeVar("_Class", bound=type)

SCHEMES = ("env:", "file:", "keyring:")


def option(
    help: str = "",
    *,
    env: str = "",
    default: Any = attrs.NOTHING,
    factory: Callable[[], Any] | None = None,
    converter: Any = None,
    validator: Any = None,
) -> Any:
    """Declare a field of a flavor; without a default it must be configured.

    Args:
        help: One line for the command line and the docs.
        env: The variable of the SDK that says the same, by which `trackyard init` knows that the
            flavor is wanted, and what to write. Reading it is left to the flavor.
        default: Its default.
        factory: Makes its default; the docstring says what it is.
        converter: As for `attrs.field`.
        validator: As for `attrs.field`.
    """
    return attrs.field(
        default=default,
        factory=factory,
        converter=converter,
        validator=validator,
        metadata={"help": help, "env": env},
    )


@dataclass_transform(eq_default=False, kw_only_default=True, field_specifiers=(attrs.field, option))
def flavor(cls: _Class) -> _Class:
    """Make a class a flavor: its fields are the configuration, its `@hookimpl` methods the tracker.

    It is `attrs.define(eq=False, kw_only=True, slots=False)`: pluggy needs identity, since it
    refuses two equal plugins and puts plugins in sets; without slots any method may keep private
    state. The class docstring is the flavor's description. A class attribute `notice`, such as
    `notice: ClassVar[str] = "..."`, is one line that `register`, `flavor describe` and `check`
    show: what one should know before using it. An instance whose `is_offline` is true when its run
    has ended says that the SDK keeps the run on this machine; `trackyard sync` then calls its
    `tracker_sync_run`.
    """
    return attrs.define(eq=False, kw_only=True, slots=False)(cls)


@attrs.frozen(repr=False)
class Secret:
    """A secret by reference: `env:NAME`, `file:PATH` or `keyring:SERVICE/USER`.

    The value is read when it is needed and never kept; `repr` and `str` show the reference.
    """

    reference: str

    def reveal(self) -> str:
        """Read the value now.

        Raises:
            ConfigError: There is nothing behind the reference.
        """
        scheme, _, rest = self.reference.partition(":")
        if scheme == "env":
            return self._read_environment(rest)
        if scheme == "file":
            return self._read_file(rest)
        return self._read_keyring(*rest.partition("/")[::2])

    def __repr__(self) -> str:
        return f"Secret({self.reference!r})"

    __str__ = __repr__

    def _read_environment(self, name: str) -> str:
        value = os.environ.get(name)
        if not value:
            raise ConfigError(f"{self.reference}: the environment variable {name} is not set")
        return value

    def _read_file(self, path: str) -> str:
        try:
            value = Path(path).expanduser().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError, RuntimeError) as error:
            raise ConfigError(f"{self.reference}: the file cannot be read ({error})") from error
        if not value:
            raise ConfigError(f"{self.reference}: the file is empty")
        return value

    def _read_keyring(self, service: str, user: str) -> str:
        try:
            import keyring
        except ImportError as error:
            raise ConfigError(
                f"{self.reference}: keyring is not installed; "
                f"type: pip install 'trackyard[keyring]'"
            ) from error
        try:
            value = keyring.get_password(service, user)
        except Exception as error:  # backends are strangers', and so is the choice among them
            raise ConfigError(f"{self.reference}: the keyring cannot be read ({error})") from error
        if not value:
            raise ConfigError(
                f"{self.reference}: the keyring has no such entry; "
                f"type: keyring set {service} {user}"
            )
        return str(value)


def _to_secret(value: Any) -> Secret | None:
    if value is None or isinstance(value, Secret):
        return value
    if isinstance(value, str) and value.startswith(SCHEMES) and value.partition(":")[2]:
        return Secret(value)
    # The value itself is not shown: it may well be the secret.
    raise ValueError(
        "is a secret and must be a reference: 'env:NAME', 'file:PATH' or 'keyring:SERVICE/USER'"
    )


def secret(help: str = "", *, env: str = "") -> Any:
    """Declare an optional field that holds a `Secret`, None by default.

    Args:
        help: One line for the command line and the docs.
        env: The variable of the SDK that holds it; `trackyard init` writes a reference to it.
    """
    metadata = {"help": help, "env": env, "secret": True}
    return attrs.field(default=None, converter=_to_secret, metadata=metadata)


def is_secret(field: attrs.Attribute[Any]) -> bool:
    """Tell whether a field was declared by `secret()`."""
    return bool(field.metadata.get("secret"))


def variable_of(field: attrs.Attribute[Any]) -> str:
    """Give the variable of the SDK that says the same as a field, or an empty text."""
    return str(field.metadata.get("env", ""))


def secrets_of(instance: Any) -> Mapping[str, Secret]:
    """Give the secrets that a tracker's configuration refers to, by field name."""
    return {
        field.name: value
        for field in attrs.fields(type(instance))
        if is_secret(field) and (value := getattr(instance, field.name)) is not None
    }


def notice_of(flavor: type) -> str:
    """Give the line that a flavor wants its users to read before they use it, or an empty text."""
    notice = getattr(flavor, "notice", "")
    return notice if isinstance(notice, str) else ""


def is_offline(tracker: Any) -> bool:
    """Tell whether a tracker's SDK keeps the run on this machine, for `tracker_sync_run`."""
    return bool(getattr(tracker, "is_offline", False))


def capabilities_of(tracker: Any) -> Capabilities:
    """Give the limits that a flavor, or one instance of it, declares; the widest by default."""
    from trackyard.contract.records import Capabilities

    declared = getattr(tracker, "capabilities", None)
    return declared if isinstance(declared, Capabilities) else Capabilities()
