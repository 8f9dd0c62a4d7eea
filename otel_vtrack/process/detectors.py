r"""Describes what common kinds of secrets look like.

Sources: the vendors' documentation of their key prefixes; RFC 7519 (JWT), RFC 6750 (Bearer),
RFC 7617 (Basic), RFC 7468 (PEM); ISO/IEC 7812-1 annex B (the check digit of a card number).

A detector has a `pattern`, whose group, if any, is the secret, and a `screen`: an unanchored
pattern for something that every match contains, so that requests without it pass unparsed. A
secret that begins with a common word must not follow a letter or digit, unless that belongs to an
escape (`\n` in JSON, `%20` in a URL).
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

_START: Final = r"(?:^|[^A-Za-z0-9]|\\[bfnrt]|%[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4})"
_LOCAL: Final = r"[\pL\pN_%+.-][\pL\pN._%+'-]*"
_DOMAIN: Final = r"[\pL\pN](?:[\pL\pN.-]*[\pL\pN])?\.(?:xn--[A-Za-z0-9-]+|\pL{2,})"


class Detector(NamedTuple):
    """A kind of secret; `holds` confirms a match where the pattern alone is not enough."""

    about: str
    pattern: str
    screen: str
    holds: Callable[[bytes], bool] | None = None


def passes_luhn(text: bytes) -> bool:
    """Return whether a text's digits, at least one, end with the right Luhn check digit."""
    digits = [byte - 48 for byte in text if 48 <= byte <= 57]
    doubled = (2 * digit - 9 * (digit > 4) for digit in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def is_card(text: bytes) -> bool:
    """Return whether an apparent card number has a valid length and check digit."""
    digits = text.replace(b" ", b"").replace(b"-", b"")
    return 13 <= len(digits) <= (19 if digits == text else 16) and passes_luhn(digits)


def is_token(text: bytes) -> bool:
    """Return whether the text after `Bearer` or `Basic` is a token and not a word."""
    return b"=" in text or any(48 <= byte <= 57 for byte in text) or text[1:] != text[1:].lower()


DETECTORS: Final[Mapping[str, Detector]] = {
    "authorization": Detector(
        "what follows `Bearer` or `Basic`, of 12 characters at least",
        r"(?i:bearer|basic)(?:\s|\+|%20)+([A-Za-z0-9._~+/-]{12,}=*)",
        r"(?i:bearer|basic)",
        is_token,
    ),
    "jwt": Detector(
        "JSON Web Tokens, signed or encrypted",
        r"eyJ[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*){2,4}",
        r"eyJ[A-Za-z0-9_-]{6}",
    ),
    "private_key": Detector(
        "private keys in PEM, cut off ones too",
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        r"(?s:.*?)(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\z)",
        r"-----BEGIN ",
    ),
    "aws": Detector(
        "access key ids, and secret keys by the name before them",
        rf"{_START}((?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{{16}})"
        r"""|(?i:secret_?-?access_?-?key)\\?["']?\s*(?:[:=]|=>)\s*\\?["']?([A-Za-z0-9/+]{40})""",
        r"AKIA|ASIA|ABIA|ACCA|(?i:access_?-?key)",
    ),
    "github": Detector(
        "tokens of GitHub",
        r"(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})",
        r"gh[pousr]_|github_pat_",
    ),
    "gitlab": Detector(
        "tokens of GitLab",
        r"gl(?:pat|dt|rt|ptt|cbt|oas|ft|soat|agent|imt)-[A-Za-z0-9_.-]{20,}",
        r"gl[a-z]{2,5}-",
    ),
    "slack": Detector(
        "tokens and webhooks of Slack",
        r"((?:xox[a-z]|xapp)-[A-Za-z0-9-]{10,})"
        r"|hooks\.slack\.com/(?:services|workflows|triggers)/([A-Za-z0-9/_-]{20,})",
        r"xox[a-z]-|xapp-|hooks\.slack\.com",
    ),
    "openai": Detector(
        "keys that begin with `sk-`: OpenAI, Anthropic, and others alike",
        rf"{_START}(sk-[A-Za-z0-9_-]{{20,}})",
        r"sk-[A-Za-z0-9_-]{20}",
    ),
    "stripe": Detector(
        "keys of Stripe, and secrets of webhooks",
        rf"{_START}((?:[sr]k_(?:live|test)_[A-Za-z0-9]{{16,}}|whsec_[A-Za-z0-9+/]{{24,}}=*))",
        r"k_live_|k_test_|whsec_",
    ),
    "google": Detector(
        "API keys, OAuth tokens and client secrets of Google",
        rf"{_START}(AIza[A-Za-z0-9_-]{{35}}|ya29\.[A-Za-z0-9_-]{{20,}}|GOCSPX-[A-Za-z0-9_-]{{28}})",
        r"AIza|ya29\.|GOCSPX-",
    ),
    "huggingface": Detector(
        "tokens of Hugging Face", rf"{_START}(hf_[A-Za-z0-9]{{30,}})", r"hf_[A-Za-z0-9]{30}"
    ),
    "npm": Detector("tokens of npm", rf"{_START}(npm_[A-Za-z0-9]{{36,}})", r"npm_[A-Za-z0-9]{36}"),
    "pypi": Detector("tokens of PyPI", r"pypi-AgE[A-Za-z0-9_-]{50,}", r"pypi-AgE"),
    "sendgrid": Detector(
        "keys of SendGrid",
        r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}",
        r"SG\.[A-Za-z0-9_-]{16}",
    ),
    "email": Detector(
        "e-mail addresses",
        rf"(?:\\[bfnrt])?({_LOCAL}(?:@|%40){_DOMAIN})",
        r"[A-Za-z0-9_%+.'\x{80}-\x{10FFFF}-](?:@|%40)[A-Za-z0-9\x{80}-\x{10FFFF}]",
    ),
    "card": Detector(
        "payment card numbers, 13 to 19 digits of which the last checks the others",
        r"(?:^|[^0-9])([2-6](?:[0-9]{12,}"
        r"|[0-9]{3} [0-9]{4} [0-9]{4} [0-9]{4,}|[0-9]{3}-[0-9]{4}-[0-9]{4}-[0-9]{4,}"
        r"|[0-9]{3}[ -][0-9]{6}[ -][0-9]{4,}))",
        r"[2-6][0-9]{3}(?:[0-9]{9}|[ -][0-9]{4}[ -][0-9]{4}[ -]|[ -][0-9]{6}[ -])",
        is_card,
    ),
}
