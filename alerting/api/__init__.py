"""The API of alerting: channels, rules, silences, and what was delivered."""
