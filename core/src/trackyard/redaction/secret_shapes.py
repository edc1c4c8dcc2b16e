"""What does a secret look like: by its own shape, by the name beside it, in a URL?

Numbers are never taken for secrets, and a name has to say that it is one as whole words: `api_key`
and `authToken` do, `num_tokens`, `tokens_per_sec`, `pad_token`, `secretary` and `author` do not.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterable, Iterator


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Words with which a shape begins, or behind which it does: they are quick to search for. A shape is
# compiled when a text has one of them, since to compile all takes longer than most steps.
_SHAPES = tuple(
    (_words(words), shape)
    for words, shape in (
        ("AKIA ASIA", r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),  # AWS
        ("ghp_ gho_ ghu_ ghs_ ghr_", r"\bgh[pousr]_[A-Za-z0-9]{36,251}"),
        ("github_pat_", r"\bgithub_pat_[A-Za-z0-9_]{22,251}"),
        ("glpat- glptt- gldt- glrt-", r"\bgl(?:pat|ptt|dt|rt)-[A-Za-z0-9_-]{20,100}"),  # GitLab
        # OpenAI, Anthropic and others; without a digit it would be a name with dashes.
        (
            "sk-",
            r"(?<![\w-])sk-(?=[A-Za-z_-]{0,80}[0-9])(?:[A-Za-z0-9]{2,8}-){0,2}[A-Za-z0-9_]{20}[\w-]*",
        ),
        ("xox", r"\bxox[a-z]-[A-Za-z0-9-]{10,250}"),  # Slack
        ("xapp-", r"\bxapp-[0-9]-[A-Za-z0-9-]{10,250}"),
        ("hooks.slack.com/services/", r"(?<=hooks\.slack\.com/services/)[A-Za-z0-9/]{20,80}"),
        ("AIza", r"\bAIza[A-Za-z0-9_-]{35}"),  # Google
        ("ya29.", r"\bya29\.[A-Za-z0-9_-]{20,}"),
        ("GOCSPX-", r"\bGOCSPX-[A-Za-z0-9_-]{28}"),
        ("hf_ api_org_", r"\b(?:hf|api_org)_[A-Za-z0-9]{34,40}\b"),  # Hugging Face
        (
            "sk_live_ sk_test_ rk_live_ rk_test_",
            r"\b[sr]k_(?:live|test)_[A-Za-z0-9]{16,250}",
        ),  # Stripe
        ("npm_", r"\bnpm_[A-Za-z0-9]{36}\b"),
        ("pypi-", r"\bpypi-[A-Za-z0-9_-]{50,}"),
        ("dapi", r"\bdapi[0-9a-f]{32}\b"),  # Databricks
        ("dop_v1_", r"\bdop_v1_[0-9a-f]{64}\b"),  # DigitalOcean
        ("dckr_pat_", r"\bdckr_pat_[A-Za-z0-9_-]{20,}"),  # Docker
        ("SG.", r"\bSG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"),  # SendGrid
        ("r8_", r"\br8_[A-Za-z0-9]{37}\b"),  # Replicate
        ("gsk_", r"\bgsk_[A-Za-z0-9]{48,60}\b"),  # Groq
        ("wandb_v", r"\bwandb_v[0-9]_[A-Za-z0-9_]{20,}"),
        ("eyJ", r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*"),  # JWT
        ("eyJhcGlf", r"\beyJhcGlfYWRkcmVzcyI6[A-Za-z0-9+/_-]{20,}={0,2}"),  # Neptune
        ("AccountKey=", r"(?<=AccountKey=)[A-Za-z0-9+/]{40,}={0,2}"),  # Azure
        (
            "-----BEGIN",
            r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----.*?(?:-----END[^\n]*|\Z)",
        ),
    )
)
_header = (
    r"(?i)\b(bearer|authorization\"?'?:?\s+\"?'?(?:basic|token)|wandb\s+login)(\s+)"
    r"(?=[^\s\"',;]*[0-9=])[^\s\"',;]{8,}"
)
# It looks for "://" first: a pattern that begins with the scheme takes hours for a long word.
_url_credentials = r"(?<=://)[^\s/?#'\"]+@"
_url_argument = r"(?<=[?&])([A-Za-z0-9_.%-]{1,64})=([^&\s\"'<>#]+)"
_TRIGGERS = _words("passw passphrase pwd secret token key credential auth cookie dsn jwt")
_HEADERS = _words("bearer authorization wandb")

# `name = value`, `"name": "value"`, `--name=value`, as in settings, tracebacks and commands. It
# begins inside of the name, for the same reason.
_assignment = (
    rf"(?i)((?:{'|'.join(_TRIGGERS)})[A-Za-z0-9_.-]{{0,32}})"
    r"(\\?[\"']?\s{0,4}(?:=>|[:=])\s{0,4})"
    r"(?:[bru]{0,2}(\\?[\"'])((?:(?!\3)[^\n])+)|([^\s\"'\\,;&<>()\[\]{}]{4,}+)(?![(\[]))"
)
# `--name value` in a command, and `'--name', 'value'` in a list of arguments.
_option = (
    r"(?<![\w-])--([A-Za-z][A-Za-z0-9_.-]{0,64})"
    r"((?:\\?[\"'])?(?:\s{1,4}|\s{0,4},\s{0,4})(?:\\?[\"'])?)([^\s\"'\\,;&<>()\[\]{}-][^\s\"'\\]{3,})"
)
_before = r"[A-Za-z0-9_.-]{0,64}\Z"
# What a system says of a file, as in `/etc/passwd: Permission denied`.
_complaint = (
    r"(?i)(?:cannot|can't|could not|unable to|failed to|is an? directory|not an? directory"
    r"|not found|no such (?:file|device)|(?:permission|access) denied|operation not"
    r"|read-only file|exec format|text file busy|file (?:exists|name too long|too large)"
    r"|too many|input/output error)(?![\w-])"
)
_NOTHING = r"(?i)none|null|true|false|bearer|basic|\*+|[0-9.]{1,6}"

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
# Words that make a name that of a secret, wherever they stand in it.
_TELLING = _words(
    """
    password passwords passwd passphrase secret secrets credential credentials apikey apikeys
    authorization cookie cookies jwt dsn sessionid csrftoken authtoken accesstoken
    refreshtoken secretkey privatekey accesskey clientsecret dbpassword userpassword
    """
)
# What may stand before `key`, as in `api_key`.
_OF_KEYS = _words(
    """
    api access private secret signing encryption account ssh auth master service storage
    license deploy hmac aes rsa ssl tls wandb comet openai anthropic aws
    """
)
# What stands before `token` where it is a piece of text, a place in it, or a measure.
_NO_TOKENS = _words(
    """
    pad padding eos bos unk unknown mask sep cls special stop next image first last start end
    begin sos eot decoder encoder target source per num n max min by of word new prefix suffix
    middle video audio text control trigger class register prompt separator sentence blank
    space newline boundary system role placeholder think tool generated predicted input output
    single each sub initial
    """
)
# What stands last in a name that speaks about a secret and does not hold it.
_ABOUT = _words(
    """
    name names path file files folder dir count counts length len size policy type kind ref
    arn id ids env variable enabled required expiry expires ttl age rotation manager backend
    store provider scope limit rate ratio loss accuracy usage cost budget index hint mode
    field format algorithm url uri endpoint
    """
)
# All words of the above; those of names make sure that each name of a secret has one.
_EXACT_WORDS = ("://", *(word for words, _ in _SHAPES for word in words))
_WORDS = (*_TRIGGERS, *_HEADERS, "sessionid", "github", "gitlab", "azure")
# The same as one regular expression, for libraries that search many texts at once.
SUSPECTS = "|".join([*map(re.escape, _EXACT_WORDS), f"(?i:{'|'.join(map(re.escape, _WORDS))})"])
# A shape that may begin at more than every so many characters is sought by its regular expression.
_SPARSE = 40


def is_secret_name(name: str) -> bool:
    """Tell whether what bears a name is a secret, from the words of the name."""
    words: list[str] = [word.lower() for word in _WORD.findall(name[:200])]
    if not words or words[-1] in _ABOUT:
        return False
    if any(word in _TELLING for word in words):
        return words[0] not in ("num", "n", "use", "has", "is", "with", "no", "count")
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    is_kind = {
        "token": before not in _NO_TOKENS,
        "key": before in _OF_KEYS,
        "keys": before in _OF_KEYS,
        "auth": before in ("", "basic", "http", "proxy", "server"),
        "pwd": before != "",  # alone it is the working directory
        "pat": before in ("github", "gitlab", "azure"),
    }
    return is_kind.get(last, last.endswith(("password", "passwd", "apikey")))


# Short texts that have none: the keys of params and metrics are the same ones in each run.
_clean: set[str] = set()
_SHORT, _MOST_CLEAN = 100, 10_000


def without_secrets(text: str) -> str:
    """Give a text with `***` in place of what looks like a secret."""
    if text in _clean:
        return text
    without = _without(text)
    if without == text and len(text) <= _SHORT and len(_clean) < _MOST_CLEAN:
        _clean.add(text)
    return without


def _without(text: str) -> str:
    for words, shape in _SHAPES:
        text = _replaced(text, text, words, shape, "***")
    if "://" in text:
        text = _replaced(text, text, ("://",), _url_credentials, "***@")
        text = _replaced(text, text, ("?", "&"), _url_argument, _without_argument)
    lowered = _lowered(text)
    without = _replaced(text, lowered, _HEADERS, _header, r"\1\2***")
    if without is not text:
        text, lowered = without, _lowered(without)
    if any(word in lowered for word in _TRIGGERS):
        text = _replaced(text, lowered, _TRIGGERS, _assignment, _without_value)
        text = _replaced(text, text, ("--",), _option, _without_option)
    return text


def suspects(text: str) -> list[int]:
    """Give the places in a text, in order, about which something may be a secret.

    Without one `without_secrets` leaves the text as it is, and no name in it is that of a secret.
    """
    lowered = _lowered(text)
    # `in` first: most texts have none of the words, and each line that is printed gets here.
    exact = [word for word in _EXACT_WORDS if word in text]
    words = [word for word in _WORDS if word in lowered]
    places = [place for word in exact for place in _places(text, word)]
    places += [place for word in words for place in _places(lowered, word)]
    return sorted(places)


def _lowered(text: str) -> str:
    """Give a text in small letters, each at its place."""
    return (text.replace("\u0130", "i") if "\u0130" in text else text).lower()


def _places(text: str, word: str) -> Iterator[int]:
    place = text.find(word)
    while place >= 0:
        yield place
        place = text.find(word, place + 1)


def _ends(text: str, word: str) -> Iterator[int]:
    return (place + len(word) for place in _places(text, word))


def _replaced(
    text: str,
    searched: str,
    words: Iterable[str],
    shape: str,
    replacement: str | Callable[[re.Match[str]], str],
) -> str:
    """Do what `shape.sub` does, which would try every character of a long text.

    Args:
        text: The text.
        searched: The same, or the same in small letters.
        words: What each match begins with, or stands behind.
        shape: What to look for.
        replacement: As for `re.sub`.

    Returns:
        The text itself where there is nothing to replace.
    """
    count = sum(searched.count(word) for word in words)
    if count == 0:
        return text
    compiled = re.compile(shape)
    if count * _SPARSE > len(text):
        return compiled.sub(replacement, text)
    places = _ends if shape.startswith("(?<=") else _places
    parts, end = [], 0
    for place in heapq.merge(*(places(searched, word) for word in words)):
        match = compiled.match(text, place) if place >= end else None
        if match is not None:
            new = match.expand(replacement) if isinstance(replacement, str) else replacement(match)
            parts += [text[end:place], new]
            end = match.end()
    return "".join([*parts, text[end:]]) if parts else text


def _without_option(match: re.Match[str]) -> str:
    return f"--{match[1]}{match[2]}***" if is_secret_name(match[1]) else match[0]


def _without_argument(match: re.Match[str]) -> str:
    name = match[1]
    is_secret = name.lower() in ("key", "sig", "signature", "x-amz-signature")
    return f"{name}=***" if is_secret or is_secret_name(name) else match[0]


def _without_value(match: re.Match[str]) -> str:
    rest, between, quote, quoted, bare = match.groups()
    start = match.start()
    beginning = re.compile(_before).search(match.string, max(0, start - 64), start)
    name = beginning[0] + rest if beginning else rest
    if re.fullmatch(_NOTHING, quoted or bare) or not is_secret_name(name):
        return match[0]
    is_path = match.string[: start - len(name) + len(rest)].endswith("/")
    if (
        is_path
        and bare
        and between[:1] == ":"
        and between[1:]
        and re.compile(_complaint).match(match.string, match.start(5))
    ):
        return match[0]
    return f"{rest}{between}{quote or ''}***"
