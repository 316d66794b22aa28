"""What proves to the gateway who calls: an API key or a token, sent with every call."""

from collections.abc import Callable

from hemaserve.addresses import is_loopback, replicas

Metadata = tuple[tuple[str, str], ...]
Token = str | Callable[[], str]


class CallCredentials:
    """The metadata of every call.

    Args:
        api_key: a key made by `hemaserve keys`.
        token: a JWT, or what gives the one of the moment: tokens do not live long.
        address: the gateway's, of one replica or several.
        encrypted: whether the way there is.

    Raises:
        ValueError: both are given, or they would be sent where others can read them.
    """

    def __init__(self, *, api_key: str | None, token: Token | None, address: str, encrypted: bool) -> None:
        if api_key is not None and token is not None:
            raise ValueError("give an API key or a token, not both")
        given = api_key if api_key is not None else token
        if given is not None and not (encrypted or all(map(is_loopback, replicas(address)))):
            raise ValueError(
                f"credentials are not sent to {address} without TLS: anybody on the way could take them"
            )
        self._given = given

    def metadata(self) -> Metadata:
        """What a call that begins now carries."""
        if self._given is None:
            return ()
        text = self._given() if callable(self._given) else self._given
        return (("authorization", f"Bearer {text.strip()}"),)
