"""The name of a taxi company, cleaned, and the bucket that a model embeds it by.

The city's records write one company in many ways: `2733 - 74600 Benny Jona`, `Benny Jona, Inc.`, `BENNY  JONA`.
"""

import re
from pathlib import Path

from lockstep_plugin import BadParameter, Feature, Int32, Parameter, transform

LEGAL_FORMS = ("inc", "corp", "co")
LICENCE = re.compile(r"([0-9]+) - ([0-9]+)(?: (.*))?", re.DOTALL)
# Unicode's White_Space; Python's own `split` and `strip` take U+001C to U+001F as well.
WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
WORDS = re.compile(f"[^{WHITE_SPACE}]+")


def escaped(code):
    return f"\\U{int(code, 16):08x}"


def characters(table):
    """`41-5a 5f`, in hexadecimal, as a regular expression writes a class of characters."""
    return "".join("-".join(escaped(code) for code in part.split("-")) for part in table.split())


# Letters and digits of all scripts, by one table in every language. The file becomes a part of the component.
ALPHANUMERIC = characters((Path(__file__).parent / "alphanumeric.txt").read_text())
DROPPED = re.compile(f"[^{ALPHANUMERIC}{WHITE_SPACE}]+")


def check(buckets):
    if not 1 <= buckets <= 0x7FFF_FFFF:
        raise BadParameter("buckets", f"{buckets} is not between 1 and 2147483647")


@transform(
    name="taxi_company",
    version="1.0.0",
    outputs={"company_clean": str, "company_bucket": Int32},
    parameters={"buckets": "Number of buckets, 1 to 2147483647."},
    check=check,
)
def taxi_company(company_name: Feature[str], buckets: Parameter[int] = 64):
    """The company's name without licence number, punctuation and legal form; and its hash bucket."""
    name = clean(company_name)
    return name, fnv_1a(name.encode()) % buckets


def clean(name):
    """`"2733 - 74600 Benny Jona, Inc."` becomes `"benny jona"`."""
    lower = name.lower().strip(WHITE_SPACE)
    licence = LICENCE.fullmatch(lower)
    rest = (licence[3] or "") if licence else lower
    words = WORDS.findall(DROPPED.sub("", rest))
    while words and words[-1] in LEGAL_FORMS:
        words.pop()
    return " ".join(words)


def fnv_1a(data):
    value = 0xCBF2_9CE4_8422_2325
    for byte in data:
        value = (value ^ byte) * 0x100_0000_01B3 & 0xFFFF_FFFF_FFFF_FFFF
    return value
