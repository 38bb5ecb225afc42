"""Where a word begins and ends in text as it is met: prose, JSON in strings, URLs, scripts without spaces."""

# Only ASCII letters and digits join: Chinese or Thai stands directly beside what it speaks of. A letter that ends an
# escape (`\n` in JSON, `%3D` in a URL) is no part of the word after it.
BEGIN = r"(?:(?<![0-9A-Za-z%])|(?<=\\[nrt])|(?<=%[0-9A-Fa-f]{2}))"
# The same, asked after the first character of the word: a pattern that begins with characters, not with a look behind
# it, is searched for several times faster.
BEGUN = r"(?:(?<![0-9A-Za-z%](?s:.))|(?<=\\[nrt](?s:.))|(?<=%[0-9A-Fa-f]{2}(?s:.)))"
END = r"(?![0-9A-Za-z])"

SPACES = r" \u00a0\u2007\u2009\u202f"
DASHES = r"\-\u2010\u2011\u2012\u2013"
ENCODED_SPACE = r"%20"
