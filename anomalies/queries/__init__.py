"""The query language of anomalies: `service:chat-* severity>=warning -status:resolved age<2h "free words"`.

Pure: from text to terms. What the terms select is said by `anomalies.search`.
"""

from anomalies.queries.fields import FIELDS
from anomalies.queries.parsing import LONGEST, MOST_TERMS, QueryError, parse
from anomalies.queries.terms import Pattern, Query, Term

__all__ = ["FIELDS", "LONGEST", "MOST_TERMS", "Pattern", "Query", "QueryError", "Term", "parse"]
