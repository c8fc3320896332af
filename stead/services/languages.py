"""Names of languages as tesseract has them, from the codes that people and programs use."""

from __future__ import annotations

import re

#: ISO 639-1 to tesseract's names (ISO 639-2/T for most).
_CODES = {
    "af": "afr", "am": "amh", "ar": "ara", "az": "aze", "be": "bel", "bg": "bul", "bn": "ben",
    "bs": "bos", "ca": "cat", "cs": "ces", "cy": "cym", "da": "dan", "de": "deu", "el": "ell",
    "en": "eng", "eo": "epo", "es": "spa", "et": "est", "eu": "eus", "fa": "fas", "fi": "fin",
    "fr": "fra", "ga": "gle", "gl": "glg", "gu": "guj", "he": "heb", "hi": "hin", "hr": "hrv",
    "hu": "hun", "hy": "hye", "id": "ind", "is": "isl", "it": "ita", "ja": "jpn", "ka": "kat",
    "kk": "kaz", "km": "khm", "kn": "kan", "ko": "kor", "la": "lat", "lb": "ltz", "lo": "lao",
    "lt": "lit", "lv": "lav", "mk": "mkd", "ml": "mal", "mn": "mon", "mr": "mar", "ms": "msa",
    "mt": "mlt", "my": "mya", "nb": "nor", "ne": "nep", "nl": "nld", "nn": "nor", "no": "nor",
    "pa": "pan", "pl": "pol", "pt": "por", "ro": "ron", "ru": "rus", "si": "sin", "sk": "slk",
    "sl": "slv", "sq": "sqi", "sr": "srp", "sv": "swe", "sw": "swa", "ta": "tam", "te": "tel",
    "th": "tha", "tr": "tur", "uk": "ukr", "ur": "urd", "uz": "uzb", "vi": "vie", "yi": "yid",
    "zh": "chi_sim", "zh-cn": "chi_sim", "zh-hans": "chi_sim", "zh-tw": "chi_tra",
    "zh-hant": "chi_tra", "zh-hk": "chi_tra",
}  # fmt: skip
_NAME = re.compile(r"[a-z]{3}(?:_[a-z]{2,5})*\Z")


def tesseract_code(name: str) -> str:
    """Tesseract's name for ``de``, ``de-AT``, ``deu`` or ``chi_sim``; empty: no language."""
    lower = name.strip().lower()
    if lower in _CODES:
        return _CODES[lower]
    if _NAME.match(lower):
        return lower
    return _CODES.get(re.split(r"[-_]", lower)[0], "")
