"""What is taken for a secret, and what is not?"""

from __future__ import annotations

import time

import pytest

from trackyard.redaction.secret_shapes import is_secret_name, without_secrets

# Put together here, so that no scanner of repositories takes them for real ones.
A20, A36, HEX32, HEX40 = "A1b2" * 5, "a1B2c3" * 6, "0f" * 16, "0a1b2c3d" * 5
SHAPES = {
    "AWS": "AKIA" + "IOSFODNN7EXAMPLE",
    "AWS, temporary": "ASIA" + "IOSFODNN7EXAMPLE",
    "GitHub": "ghp_" + A36,
    "GitHub, server": "ghs_" + A36,
    "GitHub, fine-grained": "github_pat_" + A36 + "_" + A36,
    "GitLab": "glpat-" + A20,
    "OpenAI": "sk-" + A36 + A20[:12],
    "OpenAI, project": "sk-proj-" + A36 + "_" + A36 + "-" + A20,
    "OpenAI, service": "sk-svcacct-" + A36,
    "Anthropic": "sk-ant-" + "api03-" + A36 + "-" + A36,
    "OpenRouter": "sk-or-v1-" + HEX32 + HEX32,
    "Slack": "xoxb-" + "123456789012-123456789012-" + A20,
    "Slack, app": "xapp-1-" + "A012345-1234-" + HEX32,
    "Google": "AIza" + ("Sy" + A36)[:35],
    "Google, OAuth": "ya29." + A36,
    "Google, client": "GOCSPX-" + A36[:28],
    "Hugging Face": "hf_" + A36[:34],
    "Stripe": "sk_live_" + A20,
    "npm": "npm_" + A36,
    "PyPI": "pypi-" + "AgEIcHlwaS5vcmc" + A36,
    "Databricks": "dapi" + HEX32,
    "Replicate": "r8_" + A36 + "x",
    "Groq": "gsk_" + A36 + A20[:16],
    "W&B": "wandb_v1_" + A36,
    "JWT": "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxMjM0In0" + ".abc_DEF-123",
    "Neptune": "eyJhcGlfYWRkcmVzcyI6" + "Imh0dHBzOi8vYXBwLm5lcHR1bmUuYWkifQ==",
    "SendGrid": "SG." + A36[:22] + "." + (A36 + A36)[:43],
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "around", ["{}", "used {} here", "'{}',", "x={};", "[{}]", "first\n{}\nlast"]
)
def test_a_known_shape_is_replaced_wherever_it_stands(shape, around):
    assert without_secrets(around.format(SHAPES[shape])) == around.format("***")


def test_a_private_key_is_replaced_with_all_its_lines():
    block = "-----BEGIN {0}PRIVATE KEY-----\nMIIB\nVgIB\n-----END {0}PRIVATE KEY-----"
    for kind in ("", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "):
        assert without_secrets(f"a\n{block.format(kind)}\nb") == "a\n***\nb"
    assert without_secrets("a -----BEGIN PRIVATE KEY-----\nMIIB cut") == "a ***"
    public = "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----"
    assert without_secrets(public) == public


def words(text):
    return text.split()


SECRET_NAMES = words("""
    password PASSWORD db_password dbPassword db.password smtp-passwd passphrase secret
    client_secret aws_secret_access_key api_key apiKey API_KEY apikey OPENAI_API_KEY
    wandb_api_key access_key private_key ssh_key token auth_token hf_token accessToken
    github_token authorization Authorization cookie sentry_dsn jwt credentials db_pwd auth
    basic_auth secretKey MLFLOW_TRACKING_PASSWORD MLFLOW_TRACKING_TOKEN encryption_key github_pat
    trainer.logger.api_key session_token refresh_token bearer_token
""")
OTHER_NAMES = words("""
    num_tokens tokens tokens_per_sec token_count max_tokens max_new_tokens secretary author authors
    passes num_passes passed n_tokens total_tokens token_type_ids tokenizer tokenizer_name pad_token
    eos_token bos_token unk_token mask_token sep_token cls_token image_token pad_token_id
    cost_per_token time_to_first_token next_token loss_per_token additional_special_tokens key keys
    sort_key primary_key metric_key foreign_key public_key keyboard monkey keyword pwd cwd compass
    password_length secret_name secrets_count num_secrets token_limit api_key_name key_value
    key_padding_mask kv_heads key_dim query_key_value authority oauth_url author_id cookie_policy
    jwt_algorithm secret_path learning_rate passenger pass path patience hot_key cache_key seed
    random_key prng_key
""")


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_name_that_says_secret(name):
    assert is_secret_name(name)


@pytest.mark.parametrize("name", [*OTHER_NAMES, "", "_", "é"])
def test_a_name_that_only_sounds_like_one(name):
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("password=hunter2", "password=***"),
        ("password = 'hunter 2'", "password = '***'"),
        ('"password": "hunter 2"', '"password": "***"'),
        (r"{\"api_key\": \"abc 123\"}", r"{\"api_key\": \"***\"}"),
        ("{'db': {'password': 'x'}}", "{'db': {'password': '***'}}"),
        ("db_password: hunter2\nuser: ann", "db_password: ***\nuser: ann"),
        ("--api-key=abc123 --rate=1", "--api-key=*** --rate=1"),
        ("Client(api_key='abc', rate=1)", "Client(api_key='***', rate=1)"),
        (f"WANDB_API_KEY={HEX40}", "WANDB_API_KEY=***"),
        (f"wandb login {HEX40}", "wandb login ***"),
        (f"commit {HEX40}", f"commit {HEX40}"),
        (f"sha256: {HEX32}{HEX32}", f"sha256: {HEX32}{HEX32}"),
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer ***"),
        ("Authorization: Basic dXNlcjpwYXNz=", "Authorization: Basic ***"),
        ("{'Authorization': 'Bearer abcdefgh1'}", "{'Authorization': '***'}"),
        ("the bearer of good news", "the bearer of good news"),
        ("tokens_per_sec=1234.5", "tokens_per_sec=1234.5"),
        ("max_tokens: 4096, pad_token: '[PAD]'", "max_tokens: 4096, pad_token: '[PAD]'"),
        ("author: Ann Example", "author: Ann Example"),
        ("secretary=Robert", "secretary=Robert"),
        ("token = get_token(name)", "token = get_token(name)"),
        ("password=None, secret=False", "password=None, secret=False"),
        ("task-based-learning-with-long-names-7", "task-based-learning-with-long-names-7"),
        ("sk-learn-pipeline-with-a-long-name", "sk-learn-pipeline-with-a-long-name"),
        ("https://host/?token=abc&page=2#x", "https://host/?token=***&page=2#x"),
        ("s3://b/k?X-Amz-Signature=abc&X-Amz-Date=1", "s3://b/k?X-Amz-Signature=***&X-Amz-Date=1"),
        ("https://host/?keyword=a&max_tokens=7", "https://host/?keyword=a&max_tokens=7"),
        ("https://hooks.slack.com/services/" + A20, "https://hooks.slack.com/services/***"),
    ],
)
def test_text_that_holds_one(text, redacted):
    assert without_secrets(text) == redacted
    assert without_secrets(redacted) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "key",
        "token=",
        "a_",
        "sk-",
        "eyJ",
        "-----BEGIN PRIVATE KEY-----",
        "x",
        "password: ",
        "?a=",
        "'",
    ],
)
def test_a_long_text_takes_no_time(text):
    begun = time.process_time()
    without_secrets("://" + text * (1_000_000 // len(text)))

    assert time.process_time() - begun < 5
