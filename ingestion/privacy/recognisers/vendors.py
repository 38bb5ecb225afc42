"""Shapes of API keys: what follows a prefix that only keys of a vendor have."""

from __future__ import annotations

WORD = r"[0-9A-Za-z_\-]"
ALNUM = r"[0-9A-Za-z]"

# `{n,}` counts generously what the vendor issues today.
SHAPES: tuple[tuple[str, str], ...] = (
    ("OpenAI, Anthropic, OpenRouter, DeepSeek, Langfuse and others", rf"[cp]?sk-{WORD}{{20,}}"),
    ("OpenAI sessions", rf"sess-{ALNUM}{{32,}}"),
    ("AWS access keys", r"(?:AKIA|ASIA|ABIA|ACCA|AGPA|AIDA|AIPA|ANPA|ANVA|APKA|AROA)[A-Z0-9]{16}"),
    ("AWS Bedrock", rf"ABSK{ALNUM}{{40,}}[+/=0-9A-Za-z]*"),
    ("Google API keys", rf"AIza{WORD}{{35}}"),
    ("Google OAuth", rf"ya29\.{WORD}{{20,}}|GOCSPX-{WORD}{{20,}}|AQ\.Ab{WORD}{{30,}}|1//0{WORD}{{30,}}"),
    ("GitHub", rf"gh[pousr]_{ALNUM}{{36,}}|github_pat_[0-9A-Za-z_]{{22,}}"),
    ("GitLab", rf"gl(?:pat|dt|rt|ptt|cbt|soat|ft|imt|agent|oas)-{WORD}{{20,}}"),
    ("Slack", r"xox[a-z](?:\.xox[a-z])?-[0-9A-Za-z\-]{10,}|xapp-[0-9]-[0-9A-Za-z\-]{10,}"),
    ("Slack, Discord webhooks", r"hooks\.slack\.com/(?:services|workflows|triggers)/[0-9A-Za-z/]{20,}"),
    ("Discord webhooks", rf"discord(?:app)?\.com/api/webhooks/[0-9]{{15,20}}/{WORD}{{40,}}"),
    ("Discord", rf"[MNO]{WORD}{{23,27}}\.{WORD}{{6}}\.{WORD}{{27,}}"),
    ("Stripe, Clerk", rf"(?:sk|rk|pk)_(?:live|test)_{ALNUM}{{10,}}"),
    ("webhook secrets", r"whsec_[0-9A-Za-z+/]{24,}={0,2}"),
    ("Hugging Face", rf"hf_{ALNUM}{{30,}}|api_org_{ALNUM}{{30,}}"),
    ("ElevenLabs", r"sk_[0-9a-f]{40,}"),
    (
        "Groq, xAI, Perplexity, Replicate",
        rf"gsk_{ALNUM}{{32,}}|xai-{ALNUM}{{32,}}|pplx-{ALNUM}{{32,}}|r8_{ALNUM}{{30,}}",
    ),
    ("NVIDIA, Fireworks, Together", rf"nvapi-{WORD}{{40,}}|fw_{ALNUM}{{20,}}|tgp_v1_{WORD}{{30,}}"),
    ("Pinecone, Jina, Tavily, Voyage", rf"pcsk_{WORD}{{30,}}|jina_{WORD}{{30,}}|tvly-{WORD}{{20,}}|pa-{WORD}{{40,}}"),
    ("LangSmith", r"lsv2_(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{6,}|ls__[0-9a-f]{32}"),
    ("Langfuse public keys", r"pk-lf-[0-9a-f\-]{36}"),
    ("Databricks", r"dapi[0-9a-f]{32}(?:-[0-9])?"),
    ("SendGrid", rf"SG\.{WORD}{{16,32}}\.{WORD}{{32,64}}"),
    ("Twilio", r"(?:AC|SK)[0-9a-f]{32}"),
    ("Mailgun, Mailchimp", r"key-[0-9a-z]{32}|[0-9a-f]{32}-us[0-9]{1,2}"),
    ("npm, PyPI, RubyGems", rf"npm_{ALNUM}{{36}}|pypi-AgE{WORD}{{40,}}|rubygems_[0-9a-f]{{48}}"),
    ("Docker, Tailscale", rf"dckr_(?:pat|oat)_{WORD}{{20,}}|tskey-[a-z]+-{WORD}{{16,}}"),
    ("DigitalOcean", r"do[oprt]_v1_[0-9a-f]{64}"),
    ("Shopify", r"shp(?:at|ca|pa|ss|tka)_[0-9A-Fa-f]{32}"),
    ("Square", rf"sq0(?:atp|csp|idp)-{WORD}{{22,}}|EAAA[EAl]{WORD}{{50,}}"),
    ("Telegram", rf"[0-9]{{8,10}}:AA{WORD}{{33}}"),
    ("HashiCorp", rf"hv[sbr]\.{WORD}{{24,}}|{ALNUM}{{14}}\.atlasv1\.{WORD}{{60,}}"),
    ("Notion, Linear, Figma", rf"ntn_{ALNUM}{{40,}}|secret_{ALNUM}{{43}}|lin_api_{ALNUM}{{32,}}|figd_{WORD}{{30,}}"),
    ("Airtable, Asana, Atlassian", rf"pat{ALNUM}{{14}}\.[0-9a-f]{{64}}|ATATT3x{WORD}{{50,}}[=0-9A-F]*"),
    ("Postman, New Relic", r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}|NRAK-[0-9A-Z]{27}"),
    ("Grafana, Sentry", rf"gl(?:sa|c)_{WORD}{{32,}}=*|sntry[su]_{WORD}{{40,}}=*"),
    (
        "Supabase, PlanetScale, Netlify, Render",
        rf"sbp_[0-9a-f]{{40}}|pscale_\w{{2,5}}_{WORD}{{32,}}|nfp_{ALNUM}{{36,}}|rnd_{ALNUM}{{28,}}",
    ),
    ("Heroku, Doppler", rf"HRKU-{WORD}{{36,}}|dp\.[a-z]{{2,4}}\.{ALNUM}{{40,}}"),
    ("Alibaba, Tencent", rf"LTAI{ALNUM}{{12,24}}|AKID{ALNUM}{{13,40}}"),
    ("Facebook, Dropbox", rf"EAA[A-Z]{ALNUM}{{60,}}|sl\.{WORD}{{100,}}"),
    ("age, 1Password", rf"AGE-SECRET-KEY-1[0-9A-Z]{{58}}|ops_eyJ{WORD}{{100,}}"),
    ("LLM-Sentinel", rf"sentinel_{WORD}{{32,}}"),
)
