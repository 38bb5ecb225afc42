"""One module for each kind of private data; every pattern here takes time linear in the text.

Linear, because repetition is possessive or short wherever what follows could also match, and because a run of
characters is entered at its beginning only.
"""

from ingestion.privacy.recognisers import (
    addresses,
    api_keys,
    cards,
    emails,
    ibans,
    phones,
    private_keys,
    ssns,
    tokens,
)

RECOGNISERS = (
    private_keys.RECOGNISER,
    tokens.WEB_RECOGNISER,
    tokens.BEARER_RECOGNISER,
    api_keys.RECOGNISER,
    api_keys.NAMED_RECOGNISER,
    api_keys.URL_RECOGNISER,
    emails.RECOGNISER,
    ibans.RECOGNISER,
    cards.RECOGNISER,
    addresses.RECOGNISER,
    ssns.RECOGNISER,
    phones.RECOGNISER,
)
