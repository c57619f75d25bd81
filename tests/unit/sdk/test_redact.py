"""zenwatch/sdk/redact.py: what it removes, what it keeps, and that it is fast for any text."""

import base64
import random
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.corpus import CORPUS
from zenwatch.sdk.redact import MARK, credentials_in, redacted

SETTINGS = settings(max_examples=300, deadline=None, derandomize=True, database=None)
DIGEST = "87ef04ff2e8b42d6e0c46e0e98bc47dcfe850e07f8b63fc3bb67efa52f681dc4"


def some(characters: str, count: int) -> str:
    """The same characters in every run. A literal token in the source would alarm scanners of repositories."""
    return "".join(random.Random(count).choices(characters, k=count))  # noqa: S311


LETTERS = string.ascii_letters + string.digits

# ---------------------------------------------------------------- by name

NAMES = [
    *("password", "PASSWORD", "passwd", "passphrase", "db_pass", "DBPASS", "pwd", "MYSQL_PWD", "PGPASSWORD", "spring.datasource.password"),
    *("secret", "client_secret", "client-secret", "clientSecret", "AWS_SECRET_ACCESS_KEY", "aws_session_token", "token", "access_token"),
    *("GITHUB_TOKEN", "api-key", "apikey", "api_key", "x-api-key", "access-key", "accessKey", "private_key", "privateKey", "AccountKey"),
    *("credential", "credentials", "authorization", "auth", "_auth", "_authToken", "session", "sessionid", "JSESSIONID", "cookie", "pw"),
    *("connectionString", "connection_string", "encryption_key", "client-key-data", "bindpw", "psk"),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "form",
    [
        "{}=hunter2",
        "{}: hunter2",
        "{}:hunter2",
        '"{}": "hunter2"',
        '{{"{}":"hunter2"}}',
        "'{}' => 'hunter2'",
        "--{} hunter2",
        "--{}=hunter2",
    ],
)
def test_a_value_with_a_secret_name_is_removed(name: str, form: str) -> None:
    """The name and the text around the value stay."""
    text = form.format(name)

    assert redacted(f"user=root ({text}) k8s.ns=default") == f"user=root ({text.replace('hunter2', MARK)}) k8s.ns=default"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ('password="hun ter2" user=root', 'password="[redacted]" user=root'),
        ("password='hun ter2' user=root", "password='[redacted]' user=root"),
        (r'password="hun\"ter2" user=root', 'password="[redacted]" user=root'),
        (r"{\"password\": \"hun ter2\", \"user\": 1}", r"{\"password\": \"[redacted]\", \"user\": 1}"),
        (r"{\"password\": \"hun\\\"ter2\", \"user\": 1}", r"{\"password\": \"[redacted]\", \"user\": 1}"),
        ("password='hun'ter2 user=root", "password=[redacted] user=root"),
        ("password=hun'ter2 user=root", "password=[redacted] user=root"),
        ("password = hunter2", "password = [redacted]"),
        ("password=hun,ter2;x&y user=root", "password=[redacted] user=root"),
        ("password=hunter2,user=root", "password=[redacted],user=root"),
        ("password=hunter2;user=root", "password=[redacted];user=root"),
        ("GET /?token=hunter2&page=1", "GET /?token=[redacted]&page=1"),
        ("https://x.test/?sig=hunter2&se=1", "https://x.test/?sig=[redacted]&se=1"),
        ("sh -c export TOKEN=hunter2; id", "sh -c export TOKEN=[redacted]; id"),
        ('{"name":"DB_PASSWORD","value":"hunter2"}', '{"name":"DB_PASSWORD","value":"[redacted]"}'),
        ("- name: DB_PASSWORD\n  value: hunter2", "- name: DB_PASSWORD\n  value: [redacted]"),
        ('["--token", "hunter2", "-v"]', '["--token", "[redacted]", "-v"]'),
        ("--from-literal=user=hunter2 -n shop", "--from-literal=[redacted] -n shop"),
        ("CREATE USER x IDENTIFIED BY 'hunter2'", "CREATE USER x IDENTIFIED BY '[redacted]'"),
        ("ALTER ROLE x PASSWORD 'hunter2'", "ALTER ROLE x PASSWORD '[redacted]'"),
        ("openssl rsa -passin pass:hunter2", "openssl rsa -passin pass:[redacted]"),
        ("İ PASSWORD=hunter2 é", "İ PASSWORD=[redacted] é"),
        ('password="hunter2 was cut', 'password="[redacted]'),
        ('password= "apiKey": "hunter2"', 'password= "apiKey": "[redacted]"'),
        ("password= api_token: hunter2", "password= api_token: [redacted]"),
    ],
)
def test_the_whole_value_is_removed_and_no_more(text: str, left: str) -> None:
    """Values may be quoted, escaped, beside others, or in JSON within JSON. An open quotation is cut-off text."""
    assert redacted(text) == left


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Authorization: Bearer hunter2 x", "Authorization: Bearer [redacted] x"),
        ("Authorization: Basic aHVudGVyMg== x", "Authorization: Basic [redacted] x"),
        ("-H 'Authorization: token hunter2' x", "-H 'Authorization: token [redacted]' x"),
        ("Authorization: Whatever hunter2", "Authorization: [redacted]"),
        ('Authorization: Digest user="bob", response="hunter2"', 'Authorization: Digest [redacted]"'),
        ("sent Bearer hunter2hunter2 to x", "sent Bearer [redacted] to x"),
        ("Cookie: a=hunter2; b=hunter2 x", "Cookie: [redacted] x"),
        ('-H "Set-Cookie: a=hunter2; Path=/" x', '-H "Set-Cookie: [redacted]" x'),
    ],
)
def test_headers_lose_their_credentials(text: str, left: str) -> None:
    """A known scheme stays."""
    assert redacted(text) == left


# ---------------------------------------------------------------- by position


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("mysql -uroot -phunter2 -h db", "mysql -uroot -p[redacted] -h db"),
        ("mysqldump -p'hun ter2' shop", "mysqldump -p'[redacted]' shop"),
        ("(command=mariadb -phunter2) user=x", "(command=mariadb -p[redacted]) user=x"),
        ("curl -u root:hunter2 https://x.test", "curl -u root:[redacted] https://x.test"),
        ("curl -sku root:hunter2 https://x.test", "curl -sku root:[redacted] https://x.test"),
        ('curl -u "root:hun ter2" x', 'curl -u "root:[redacted]" x'),
        ("curl --user 'root:hun ter2' x", "curl --user 'root:[redacted]' x"),
        ("curl --proxy-user=root:hunter2 x", "curl --proxy-user=root:[redacted] x"),
        ("sshpass -p hunter2 ssh root@db", "sshpass -p [redacted] ssh root@db"),
        ("sshpass -phunter2 ssh root@db", "sshpass -p[redacted] ssh root@db"),
        ("docker login -u bob -p hunter2 reg.test", "docker login -u bob -p [redacted] reg.test"),
        ("mongosh -u bob -p hunter2", "mongosh -u bob -p [redacted]"),
        ("redis-cli -a hunter2 ping", "redis-cli -a [redacted] ping"),
        ("ldapsearch -D cn=x -w hunter2 -b y", "ldapsearch -D cn=x -w [redacted] -b y"),
        ("machine x login bob password hunter2", "machine x login bob password [redacted]"),
        ("echo hunter2 | sudo -S id", "echo [redacted] | sudo -S id"),
        ("echo 'hun ter2'|docker login --password-stdin", "echo '[redacted]'|docker login --password-stdin"),
        ("echo root:hunter2 | chpasswd", "echo root:[redacted] | chpasswd"),
        ("git clone https://bob:hunter2@git.test/x.git", "git clone https://bob:[redacted]@git.test/x.git"),
        ("redis://:hunter2@cache:6379/0", "redis://:[redacted]@cache:6379/0"),
        ("postgres://app:hun@ter2@db/app", "postgres://app:[redacted]@db/app"),
        ("root:hunter2@tcp(db:3306)/shop", "root:[redacted]@tcp(db:3306)/shop"),
        ("https://hooks.slack.com/services/T0/B0/hunter2", "https://hooks.slack.com/services/[redacted]"),
    ],
)
def test_values_where_well_known_programs_take_credentials_are_removed(text: str, left: str) -> None:
    """They have no name there."""
    assert redacted(text) == left


# ---------------------------------------------------------------- by form

JWT = ".".join(
    base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (b'{"alg":"RS256"}', b'{"sub":"system:serviceaccount"}', b"x" * 40)
)
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{some(LETTERS, 64)}\n{some(LETTERS, 64)}\n-----END RSA PRIVATE KEY-----"
TOKENS = {
    "jwt": JWT,
    "jwt cut off": JWT[:30],
    "aws key": "AKIA" + some(string.ascii_uppercase, 16),
    "aws session key": "ASIA" + some(string.ascii_uppercase, 16),
    "aws secret": some(LETTERS + "+/", 40),
    **{prefix: prefix + some(LETTERS, 36) for prefix in ("ghp_", "gho_", "ghs_", "github_pat_", "npm_", "hf_")},
    "gitlab": "glpat-" + some(LETTERS, 20),
    "slack": "xoxb-" + some(string.digits, 12) + "-" + some(LETTERS, 24),
    "google": "AIza" + some(LETTERS, 35),
    "stripe": "sk_" + "live_" + some(LETTERS, 24),
    "pypi": "pypi-" + "AgEI" + some(LETTERS, 80),
    "docker": "dckr_" + "pat_" + some(LETTERS, 27),
    "vault": "hvs." + some(LETTERS, 24),
    "openai": "sk-" + some(LETTERS, 48),
    "openshift": "sha256~" + some(LETTERS, 43),
    "base64": base64.b64encode(some(LETTERS, 48).encode()).decode(),
    "base64url": base64.urlsafe_b64encode(some(LETTERS, 41).encode()).decode(),
    "hex": some("0123456789abcdef", 48),
    "upper hex": some("0123456789ABCDEF", 40),
    "pem": PEM,
    "pem on a line": PEM.replace("\n", " "),
    "pem in JSON": PEM.replace("\n", r"\n"),
    "openssh": PEM.replace("RSA", "OPENSSH"),
}


@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS)
def test_text_that_looks_like_a_token_is_removed_at_any_position(token: str) -> None:
    """Also without a name."""
    assert redacted(f"command=x {token} user=root") == "command=x [redacted] user=root"
    assert redacted(f"({token})") == "([redacted])"
    assert token not in redacted(f'x="{token}"')


def test_a_cut_off_private_key_is_removed() -> None:
    """Its END line is missing."""
    assert redacted("cat " + PEM[:90]) == "cat [redacted]"
    assert redacted("cat " + PEM.replace("\n", r"\n")[:90]) == "cat [redacted]"


def test_nearly_all_random_texts_of_40_characters_are_removed() -> None:
    """A few look like words by chance. Longer texts hardly do."""
    dice = random.Random(3)  # noqa: S311
    texts = ["".join(dice.choices(LETTERS + "+/", k=40)) for _ in range(1000)]

    assert sum(redacted(text) == text for text in texts) < 40


# ---------------------------------------------------------------- what stays


def outputs() -> list[str]:
    """The bodies of Falco's alerts in the corpus."""
    files = sorted((CORPUS / "falco").glob("*.json"))
    return [file.read_text(encoding="utf-8") for file in files]


@pytest.mark.parametrize("text", outputs() or [pytest.param("", marks=pytest.mark.skip(reason="no corpus"))])
def test_real_alerts_do_not_change(text: str) -> None:
    """The whole body, because any part of it may be in a record."""
    assert redacted(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "user=root user_loginuid=-1 k8s.ns=default",
        "token=<NA> password= user=root",
        "token: null, password: none",
        "password=[redacted]",
        "secret name=foo",
        "secrets default/example",
        'secret "foo" not found',
        'secrets "db" is forbidden',
        "serviceaccount=default resource=secrets",
        "secretName: foo, secretRef: bar",
        "automountServiceAccountToken: false",
        "system:serviceaccount:kube-system:token-cleaner",
        "uri=/api/v1/namespaces/x/secrets/my-token-abc12?limit=500",
        "decision=allow authorizationInfo=[{}]",
        "--password-stdin reg.test",
        "--password-file=/run/x WEBHOOK_TOKEN_FILE=/run/y",
        "the password file and the tokens are read",
        "basic authentication failed for the bearer token",
        'grep -r "password=" /etc container_id=0f3c1a7be2d4',
        'grep -e "-----BEGIN RSA PRIVATE KEY-----" /etc container_id=0f3c1a7be2d4',
        "cat /etc/passwd: denied",
        "-v /etc/passwd:/etc/passwd:ro",
        "PWD=/root OLDPWD=/",
        "author=bob bypass=1 compass=2 monkey=3 secretary=eve tokenizer=bpe",
        "docker run -p 8080:80 -u 1000:1000 nginx",
        "mkdir -p /var/lib/mysql",
        "http://10.0.0.1:8080/x@y",
        f"image=nginx@sha256:{DIGEST}",
        f"X509SHA256={DIGEST}",
        f"container_id={DIGEST} short={DIGEST[:12]}",
        f"/var/lib/docker/overlay2/{DIGEST}/merged",
        f"csi-{DIGEST}/volumeattachments",
        f"image=repo/app:{DIGEST[:40]} git_commit = {DIGEST[:40]}",
        "SHA256:" + some(LETTERS, 43),
        "3f2504e0-4f89-41d3-9a0c-0305e82c3301 3F2504E0-4F89-41D3-9A0C-0305E82C3301",
        "kubepods-burstable-pod3f2504e0_4f89_41d3_9a0c_0305e82c3301.slice",
        "/var/lib/kubelet/pods/3f2504e0-4f89-41d3-9a0c-0305e82c3301/volumes/kubernetes.io~projected/kube-api-access-x8z7p/token",
        "falco-pod-delete-in-production-eu-west-1-7dc9f5fbb8-gbfk7",
        "arn:aws:iam::123456789012:role/eksctl-MyCluster-NodeInstanceRole-1A2B3C4D5E6F",
        "MyStack-MyFunctionServiceRole3C357FF2-1ABCDEFGHIJKL",
        "/System/Library/PrivateFrameworks/CoreSymbolication.framework/Versions/A/Resources",
        "/usr/lib/python3.11/site-packages/pip/_internal/operations/build/wheel_legacy.py",
    ],
)
def test_ordinary_text_does_not_change(text: str) -> None:
    """Ids, digests, paths, names, and text of Kubernetes about secrets."""
    assert redacted(text) == text


# ---------------------------------------------------------------- any text

PARTS = [
    *("password", "token", "secret", "authorization", "cookie", "-p", "--", "mysql ", "curl ", "-u ", "://", "@", "Bearer ", "eyJ", "sk-"),
    *(
        "=",
        ":",
        " ",
        '"',
        "'",
        "\\",
        ",",
        ";",
        "&",
        "(",
        ")",
        "]",
        "[redacted]",
        "hunter2",
        "a",
        "B3",
        "\n",
        "value",
        "<NA>",
        "é",
        "\ud800",
    ),
    *("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", "pwd", "/", "echo ", " | sudo -S", " login ", "ghp_", DIGEST, "A" * 16),
]
texts = st.lists(st.sampled_from(PARTS) | st.text(max_size=4), max_size=14).map("".join)


@SETTINGS
@given(texts)
def test_redacting_twice_is_the_same_as_redacting_once(text: str) -> None:
    """zenwatch may redact a text more than once."""
    assert redacted(redacted(text)) == redacted(text)


@SETTINGS
@given(texts, st.sampled_from(["", "password=", "--token ", '"apiKey": "', "Authorization: Bearer "]), texts)
def test_a_planted_token_is_removed_from_any_text(before: str, name: str, after: str) -> None:
    """It has a known form, and perhaps a name."""
    planted = TOKENS["ghp_"]

    assert planted not in redacted(f"{before} {name}{planted} {after}")


@SETTINGS
@given(texts, st.sampled_from(["password=", '"--token ', '"apiKey": "', "Authorization: Bearer ", "DB_TOKEN: "]), texts)
def test_a_planted_password_is_removed_from_any_text(before: str, name: str, after: str) -> None:
    """It has a name and no known form. Quotation marks before it would make it part of another quotation."""
    unquoted = before.translate({ord(mark): None for mark in "\"'"})

    assert "correct-horse" not in redacted(f"{unquoted} {name}correct-horse {after}")


@pytest.mark.parametrize(
    "part",
    [
        *(
            "a",
            "a ",
            "aB3",
            "/",
            "password",
            "password ",
            'password="',
            'password=\\"',
            "password\\",
            "--password ",
            "x-token-",
            "token    ",
        ),
        *("token=a,", "token=a,b", "Cookie: a=b; ", "authorization: a ", "secret_", "pass:pass", '"password", ', "name: password value: "),
        *("eyJ", "eyJ.", "sk-", "AKIA", "://a:b", "://a:b@", ":@tcp(", "bearer ", "basic a", 'mysql -p"', 'curl -u "a:', "echo x |sudo "),
        *(
            "-----BEGIN ",
            "-----BEGIN PRIVATE KEY-----",
            "echo a:b|chpasswd",
            "login -p ",
            "0123456789abcdef",
            "\\",
            "[redacted]",
            "\n",
            "İ",
        ),
    ],
)
def test_no_text_makes_it_hang(part: str) -> None:
    """An attacker may know the patterns. With quadratic time each of these texts would take minutes."""
    text = part * (100_000 // len(part))

    assert len(redacted(text)) < 20 * len(text)
    assert len(redacted(f'password="{text}')) < 20 * len(text)


# ---------------------------------------------------------------- the texts of one finding


@pytest.mark.parametrize(
    "text",
    [
        "Ensure that the --anonymous-auth argument is set to false",
        "Ensure that the --token-auth parameter is not set",
        "edit the file to set authorization: mode to Webhook. If using executable arguments",
        "the --password flag should not be used",
    ],
)
def test_instructions_about_an_option_keep_their_words(text: str) -> None:
    """Trivy's titles and kube-bench's remediations name options whose names look secret."""
    assert redacted(text) == text


def test_an_option_followed_by_a_value_is_still_redacted() -> None:
    """Only a few words of English make it an instruction."""
    assert redacted("app --password isabella --auth tools") == f"app --password {MARK} --auth {MARK}"


@SETTINGS
@given(st.lists(st.text(max_size=60) | st.sampled_from(["DB_PASSWORD=hunter2", "mysql -phunter2", "https://a:b@c", "risk-free", "key"])))
def test_asking_for_all_texts_at_once_finds_what_asking_for_each_does(texts: list[str]) -> None:
    """The quick look before it misses nothing."""
    left = {text: redacted(text) for text in texts if redacted(text) != text}

    assert credentials_in(texts) == left
    assert credentials_in(texts) == left


@pytest.mark.parametrize("part", ["0123456789abcdef0123456789abcdef01234567", "a" * 30 + "1" * 30])
def test_a_part_of_a_key_that_can_be_the_name_of_an_object_is_kept(part: str) -> None:
    """Names of objects are no secrets; in other texts such characters are."""
    assert credentials_in([], keys=[f"default/Pod/{part}/CVE-2026-1"]) == {}
    assert credentials_in([f"used {part} for it"]) == {f"used {part} for it": f"used {MARK} for it"}


def test_random_characters_in_a_key_are_removed() -> None:
    """If they cannot be the name of an object."""
    token = some(LETTERS, 44)

    assert credentials_in([], keys=[f"rule/pod/used {token}"]) == {f"rule/pod/used {token}": f"rule/pod/used {MARK}"}
