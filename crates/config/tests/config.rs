//! What `tidegate.toml` may say, and what is said about mistakes in it.

use std::path::Path;
use std::time::Duration;

use expect_test::{Expect, expect, expect_file};
use proptest::prelude::*;
use tidegate_config::keys::{self, Absent, Key, Kind, Section};
use tidegate_config::{Config, KeySetSource, OnMissing, PluginSource, Problems, SecretSource};
use tidegate_types::template::{Bind, IdentityField, Probe};
use tidegate_types::{
    ClientAddress, Lifetime, Root, SecretName, Sha256Digest, Template, TemplateName,
};

fn parse(text: &str) -> Result<Config, Problems> {
    tidegate_config::parse(text, "tidegate.toml", Path::new("/etc/tidegate"))
}

fn problems(text: &str, expected: Expect) {
    let problems = parse(text).expect_err("problems");
    assert!(!problems.0.is_empty(), "refused without a reason: {text}");
    expected.assert_eq(&problems.to_string());
}

fn template(body: &str) -> Template {
    let text = format!("[templates.web]\ncommand = [\"/bin/web\"]\nport = 80\n{body}");
    let config = parse(&text).unwrap_or_else(|problems| panic!("{problems}"));
    let name = TemplateName::new("web").expect("a name");
    config.templates[&name].as_ref().clone()
}

const FULL: &str = r#"
[server]
listen = "0.0.0.0:8443"
control = "127.0.0.1:9000"
control-hosts = ["Ops.Example.org"]
metrics = "open"
state-dir = "state"
tls = { certificate = "tls/cert.pem", key = "/keys/key.pem" }
trusted-proxies = ["10.0.0.0/8", "::1"]
drain = "1m"
max-header-bytes = 16384
max-message = "64KiB"
extra-roots = "tls/our-ca.pem"

[[plugin]]
name = "gatekeeper"
source = "builtin:token"
deadline = "20ms"
memory = "8MiB"
isolation = "call"
[plugin.config]
tokens = [{ secret = "ALICE", subject = "alice", weight = 1.5, since = 2026-01-01 }]

[[plugin]]
name = "placer"
source = "plugins/placer.wasm"
sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
verify-key = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
on-missing = "closed"
http = { hosts = ["id.Example.com", "*.x.org:8443"], secrets = ["SIGNING"], timeout = "2s", max-body = "64KiB" }
journal = { file = "placer.jsonl", max-size = "1MiB", keep = 2 }
allow = ["http", "quota"]

[[plugin]]
name = "remote"
source = "oci://Registry.example.org:5000/team/policy:1"
poll = "60s"
credentials = { username = "robot", password = "secret:SIGNING" }

[[plugin]]
name = "pinned"
source = "https://example.org/p.wasm?v=1"
sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

[templates.app]
root = { directory = "roots/app" }
binds = [{ source = "app", target = "/opt/app" }]
command = ["/opt/app/run", "--fast", ""]
workdir = "/opt"
env = { KEY = "secret:API-KEY", MODE = "production" }
port = 3000
ready = { http = { path = "/healthz" }, timeout = "60s" }
sleep-after = "5m"
stop-grace = "3s"
limits = { memory = "2GiB", cpu = 1.5, pids = 64, disk = "none", open-files = 1024 }
client-address = "socket"
identity-headers = { X-Forwarded-User = "subject", x-tenant = "tenant", x-mail = "claim:email" }
upstreams = ["model"]

[secrets]
ALICE = { env = "ALICE_TOKEN" }
API-KEY = { file = "keys/api" }
SIGNING = { command = ["pass", "signing"] }

[key-sets.main]
hs256 = "SIGNING"
issuer = "https://id.example.org"
audience = "tidegate"
skew = "0s"

[key-sets.inline]
jwks = '{"keys": []}'

[key-sets.issuer]
url = "https://id.example.org/jwks.json"
refresh = "10m"

[upstreams.model]
url = "https://api.example.org/v1"
headers = { authorization = "Bearer secret:API-KEY" }
"#;

#[test]
fn every_key_is_understood() {
    let config = parse(FULL).unwrap_or_else(|problems| panic!("{problems}"));
    let server = &config.server;
    assert_eq!(server.listen.to_string(), "0.0.0.0:8443");
    assert_eq!(server.control_hosts, ["ops.example.org"]);
    assert_eq!(server.state_dir, Path::new("/etc/tidegate/state"));
    let tls = server.tls.as_ref().expect("tls");
    assert_eq!(tls.certificate, Path::new("/etc/tidegate/tls/cert.pem"));
    assert_eq!(tls.key, Path::new("/keys/key.pem"));
    let trusted = |ip: &str| {
        let ip = ip.parse().expect("an address");
        server.trusted_proxies.iter().any(|block| block.contains(ip))
    };
    assert!(trusted("10.255.0.1") && trusted("::1") && trusted("::ffff:10.0.0.1"));
    assert!(!trusted("11.0.0.1") && !trusted("::2") && !trusted("127.0.0.1"));
    assert_eq!((server.drain, server.max_header_bytes), (Duration::from_secs(60), 16384));
    assert_eq!(server.max_message, 64 << 10);
    assert_eq!(server.extra_roots.as_deref(), Some(Path::new("/etc/tidegate/tls/our-ca.pem")));

    let [gatekeeper, placer, remote, pinned] = config.plugins.as_slice() else {
        panic!("four plugins")
    };
    assert_eq!(gatekeeper.source, PluginSource::Builtin("token".into()));
    assert_eq!((gatekeeper.deadline, gatekeeper.memory), (Duration::from_millis(20), 8 << 20));
    expect![[
        r#"{"tokens":[{"secret":"ALICE","since":"2026-01-01","subject":"alice","weight":1.5}]}"#
    ]]
    .assert_eq(&gatekeeper.config.to_string());
    assert_eq!(placer.source, PluginSource::File("/etc/tidegate/plugins/placer.wasm".into()));
    assert_eq!(placer.config.to_string(), "{}");
    assert_eq!(placer.sha256, Some(Sha256Digest::of(b"")));
    assert_eq!((placer.verify_key.is_some(), placer.on_missing), (true, OnMissing::Closed));
    let http = placer.http.as_ref().expect("http");
    assert_eq!(http.hosts, ["id.example.com", "*.x.org:8443"]);
    assert_eq!((http.timeout, http.max_body), (Duration::from_secs(2), 64 << 10));
    let journal = placer.journal.as_ref().expect("a journal");
    assert_eq!(
        (journal.file.as_str(), journal.max_size, journal.keep),
        ("placer.jsonl", 1 << 20, 2)
    );
    assert!(placer.allow.iter().eq(["http", "quota"]));
    let reference = "registry.example.org:5000/team/policy:1".parse().expect("a reference");
    assert_eq!(remote.source, PluginSource::Oci(reference));
    assert_eq!(remote.poll, Duration::from_secs(60));
    let credentials = remote.credentials.as_ref().expect("credentials");
    assert_eq!(credentials.username, "robot");
    assert_eq!(credentials.password, SecretName::new("SIGNING"));
    let url = "https://example.org/p.wasm?v=1".parse().expect("a URL");
    assert_eq!(
        (&pinned.source, pinned.poll),
        (&PluginSource::Https(url), Duration::from_secs(300))
    );

    let app = &config.templates[&TemplateName::new("app").expect("a name")];
    assert_eq!(app.root, Root::Directory("/etc/tidegate/roots/app".into()));
    let bind = Bind { source: "/etc/tidegate/app".into(), target: "/opt/app".into() };
    assert_eq!(app.binds, [bind]);
    assert_eq!(app.command, ["/opt/app/run", "--fast", ""]);
    let probe = Probe::Http { port: 3000, path: "/healthz".into() };
    assert_eq!((&app.ready.probe, app.ready.timeout), (&probe, Duration::from_secs(60)));
    assert_eq!(app.lifetime, Lifetime::SleepAfter(Duration::from_secs(300)));
    let limits = &app.limits;
    assert_eq!((limits.memory, limits.cpu, limits.pids), (Some(2 << 30), Some(1.5), Some(64)));
    assert_eq!((limits.disk, limits.open_files), (None, Some(1024)));
    assert_eq!(app.client_address, ClientAddress::Socket);
    assert!(app.identity_headers.iter().any(|(name, field)| {
        name == "x-mail" && *field == IdentityField::Claim("email".into())
    }));

    let secret = |name| &config.secrets[&SecretName::new(name)];
    assert_eq!(secret("ALICE"), &SecretSource::Env("ALICE_TOKEN".into()));
    assert_eq!(secret("API-KEY"), &SecretSource::File("/etc/tidegate/keys/api".into()));
    assert_eq!(secret("SIGNING"), &SecretSource::Command(vec!["pass".into(), "signing".into()]));
    let main = &config.key_sets["main"];
    assert_eq!(main.source, KeySetSource::Hs256(SecretName::new("SIGNING")));
    assert_eq!(main.skew, Duration::ZERO);
    let published = KeySetSource::Url {
        url: http::Uri::from_static("https://id.example.org/jwks.json"),
        refresh: Duration::from_secs(600),
    };
    assert_eq!(config.key_sets["issuer"].source, published);
}

#[test]
fn an_empty_file_has_all_defaults() {
    let config = parse("").expect("defaults");
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.server.drain, Duration::from_secs(10));
    assert!(config.plugins.is_empty() && config.templates.is_empty());
}

#[test]
fn a_short_template_has_safe_defaults() {
    let web = template("");
    assert_eq!((&web.ready.probe, web.ready.timeout), (&Probe::Tcp(80), Duration::from_secs(180)));
    assert_eq!(web.lifetime, Lifetime::SleepAfter(Duration::from_secs(600)));
    assert_eq!((web.limits.memory, web.limits.pids), (Some(1 << 30), Some(512)));
    assert_eq!((web.root, web.client_address), (Root::Host, ClientAddress::Header));
    assert_eq!(template("keep-alive = true").lifetime, Lifetime::KeepAlive);
    assert_eq!(template("ready = { timeout = \"1s\" }").ready.probe, Probe::Tcp(80));
    assert_eq!(template("ready = { tcp = 81 }").ready.probe, Probe::Tcp(81));
}

#[test]
fn unknown_keys_are_problems_with_a_suggestion() {
    problems(
        "[server]\nlisen = \"127.0.0.1:1\"\nstate_dir = \"x\"\n[tempaltes.web]\n[templates.web]\ncommand = [\"/x\"]\nport = 1\nqwertz = 1\n",
        expect![[r#"
            tidegate.toml:2:1: server.lisen: there is no such key. Did you mean `listen`?
            tidegate.toml:3:1: server.state_dir: there is no such key. Did you mean `state-dir`?
            tidegate.toml:4:2: tempaltes: there is no such key. Did you mean `templates`?
            tidegate.toml:8:1: templates.web.qwertz: there is no such key. Known here: `driver`, `root`, `binds`, `command`, `workdir`, `env`, `port`, `ready`, `sleep-after`, `keep-alive`, `stop-grace`, `limits`, `client-address`, `identity-headers`, `upstreams`"#]],
    );
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    problems(
        r#"
[server]
listen = "localhost:80"
drain = "10 seconds"
metrics = "all"
trusted-proxies = ["10.0.0.0/33", "a"]
tls = { certificate = "c" }
max-header-bytes = 12
control-hosts = "ops"

[[plugin]]
source = "https://example.org/p.wasm"
deadline = "1h"
memory = "16MB"
isolation = "none"
config = 3

[templates.web]
command = ["node", "server.js"]
port = 0
ready = { tcp = 1, http = { path = "healthz" } }
keep-alive = "yes"
env = { A = 1 }
limits = { memory = 512, cpu = -1, pids = 0 }
workdir = "../x"
root = { dir = "x" }
binds = [{ source = "a", target = "b" }, { source = "a" }]
identity-headers = { "bad name" = "subject", host = "tenant", x = "mail" }
"#,
        expect![[r#"
            tidegate.toml:3:10: server.listen: expected an IP address and port, found "localhost:80". Write it like `"127.0.0.1:8080"`
            tidegate.toml:4:9: server.drain: expected a duration in ms, s, m, h or d, found "10 seconds". Write it like `"30s"`
            tidegate.toml:5:11: server.metrics: expected "token" or "open", found "all". Write it like `"token"`
            tidegate.toml:6:20: server.trusted-proxies[0]: expected an address block such as "10.0.0.0/8", found "10.0.0.0/33". Write it like `trusted-proxies = ["10.0.0.0/8", "::1"]`
            tidegate.toml:6:35: server.trusted-proxies[1]: expected an address block such as "10.0.0.0/8", found "a". Write it like `trusted-proxies = ["10.0.0.0/8", "::1"]`
            tidegate.toml:7:7: server.tls.key: this key is missing; expected a path. Add it, like `key = "some/file"`
            tidegate.toml:8:20: server.max-header-bytes: expected a whole number from 1024 to 1048576, found 12. Write it like `1024`
            tidegate.toml:9:17: server.control-hosts: expected an array of host names, found "ops". Write it like `["ops.example.org"]`
            tidegate.toml:11:1: plugin[0].name: this key is missing; expected a name of 1 to 63 characters of a-z, 0-9 and -. Add it, like `name = "gatekeeper"`
            tidegate.toml:12:10: plugin[0].source: what a URL holds may change: this plugin needs a `sha256`. Download the component, look at it, and add what `sha256sum` says of it
            tidegate.toml:13:12: plugin[0].deadline: 3600s is out of range. Use 1ms to 10s
            tidegate.toml:14:10: plugin[0].memory: expected a size in KiB, MiB, GiB or TiB, found "16MB". Write it like `"512MiB"`
            tidegate.toml:15:13: plugin[0].isolation: expected "call" or "tenant" or "shared", found "none". Write it like `"call"`
            tidegate.toml:16:10: plugin[0].config: expected a table, found 3. Write it like `{ anything = 1 }`
            tidegate.toml:19:11: templates.web.command: `node` is not an absolute path. Name the program by its absolute path inside the sandbox; there is no PATH to search
            tidegate.toml:20:8: templates.web.port: expected a port from 1 to 65535, found 0. Write it like `8080`
            tidegate.toml:21:36: templates.web.ready.http.path: expected a path that begins with "/", found "healthz". Write it like `"/healthz"`
            tidegate.toml:22:14: templates.web.keep-alive: expected true or false, found "yes". Write it like `true`
            tidegate.toml:23:13: templates.web.env.A: expected text. Put it into quotation marks
            tidegate.toml:24:21: templates.web.limits.memory: expected a size in KiB, MiB, GiB or TiB, or "none", found 512. Write it like `"512MiB"`
            tidegate.toml:24:32: templates.web.limits.cpu: expected a number of cores above 0, or "none", found -1. Write it like `1.5`
            tidegate.toml:24:43: templates.web.limits.pids: expected a whole number from 1, or "none", found 0. Write it like `256`
            tidegate.toml:25:11: templates.web.workdir: expected an absolute path without "..", found "../x". Write it like `"/opt/app"`
            tidegate.toml:26:8: templates.web.root: expected "host" or { directory = "PATH" }, found a table. Write it like `"host"`
            tidegate.toml:27:35: templates.web.binds[0].target: expected an absolute path without "..", found "b". Write it like `"/opt/app"`
            tidegate.toml:27:42: templates.web.binds[1].target: this key is missing; expected an absolute path without "..". Add it, like `target = "/opt/app"`
            tidegate.toml:28:35: templates.web.identity-headers.bad name: this is not the name of a header field. Use letters, digits and -
            tidegate.toml:28:53: templates.web.identity-headers.host: this header field can't be set: it frames the message. Remove it
            tidegate.toml:28:67: templates.web.identity-headers.x: expected "subject", "tenant" or "claim:NAME", found "mail". Write it like `identity-headers = { x-forwarded-user = "subject" }`"#]],
    );
}

#[test]
fn a_plugin_that_is_fetched_is_pinned_and_its_keys_mean_something() {
    problems(
        r#"
[[plugin]]
name = "a"
source = "http://example.org/p.wasm"
[[plugin]]
name = "b"
source = "https://user:hunter2@example.org/p.wasm"
[[plugin]]
name = "c"
source = "ftp://example.org/p.wasm"
[[plugin]]
name = "d"
source = "oci://example.org"
[[plugin]]
name = "e"
source = "oci://example.org/p"
poll = "1s"
sha256 = "123"
verify-key = "AAAA"
credentials = { username = "u", password = "hunter2" }
allow = ["quotas"]
[[plugin]]
name = "f"
source = "p.wasm"
poll = "1m"
[[plugin]]
name = "g"
source = "builtin:token"
on-missing = "closed"
[[plugin]]
name = "h"
source = "builtin:token"
http = { hosts = ["https://example.org"], secrets = ["NOPE"], timeout = "2m", max-body = "1GiB" }
journal = { file = "../x", max-size = "1KiB", keep = 2000 }
[[plugin]]
name = "i"
source = "builtin:audit"
journal = { file = "a" }
[[plugin]]
name = "j"
source = "builtin:audit"
journal = { file = "a" }
[[plugin]]
name = "k"
source = "oci://example.org/p"
credentials = { username = "u", password = "secret:NONE" }
"#,
        expect![[r#"
            tidegate.toml:4:10: plugin[0].source: plugins aren't fetched over plain `http`. Use `https`, a registry, or download the component and put its path here
            tidegate.toml:7:10: plugin[1].source: this URL carries credentials. Put them into `credentials`, the password as a secret
            tidegate.toml:10:10: plugin[2].source: plugins can't be fetched by `ftp`. Use `https://…`, `oci://…`, or the path of a component
            tidegate.toml:13:10: plugin[3].source: expected HOST[:PORT]/NAME:TAG or HOST[:PORT]/NAME@sha256:HEX. Write it like `oci://ghcr.io/team/policy:1`
            tidegate.toml:17:8: plugin[4].poll: 1s is out of range. Use 5s to 7d
            tidegate.toml:18:10: plugin[4].sha256: expected a SHA-256 digest of 64 hexadecimal digits, found "123". Write it like `"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"`
            tidegate.toml:19:14: plugin[4].verify-key: expected an ed25519 public key: 32 bytes in base64, found "AAAA". Write it like `"11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="`
            tidegate.toml:20:44: plugin[4].credentials.password: expected "secret:NAME". Put the password into `[secrets.NAME]` and name that here
            tidegate.toml:21:10: plugin[4].allow[0]: expected one of the words that may stand here, found "quotas". Write it like `allow = ["authenticate"]`
            tidegate.toml:25:8: plugin[5].poll: this key does nothing for such a `source`. Remove it
            tidegate.toml:29:14: plugin[6].on-missing: this key does nothing for such a `source`. Remove it
            tidegate.toml:33:19: plugin[7].http.hosts[0]: expected a host such as "id.example.org" or "*.example.org:8443", found "https://example.org". Write it like `hosts = ["id.example.org", "*.example.org:8443"]`
            tidegate.toml:33:54: plugin[7].http.secrets[0]: there is no secret `NOPE`. Define it in `[secrets.NAME]`
            tidegate.toml:33:73: plugin[7].http.timeout: 120s is out of range. Use 10ms to 60s
            tidegate.toml:33:90: plugin[7].http.max-body: 1073741824 bytes are out of range. Use 1KiB to 64MiB
            tidegate.toml:34:20: plugin[7].journal.file: expected a file name without directories, found "../x". Write it like `"audit.jsonl"`
            tidegate.toml:34:39: plugin[7].journal.max-size: 1024 bytes are out of range. Use 4KiB to 16GiB
            tidegate.toml:34:54: plugin[7].journal.keep: expected a whole number from 0 to 1000, found 2000. Write it like `0`
            tidegate.toml:39:1: plugin[9]: plugin `i` has the journal `a` already. Give each a file of its own
            tidegate.toml:46:44: plugin[10].credentials.password: there is no secret `NONE`. Define it in `[secrets.NAME]`"#]],
    );
}

#[test]
fn references_must_exist() {
    problems(
        r#"
[templates.web]
command = ["/bin/web"]
port = 80
env = { A = "x secret:OPENAI_KEY y", B = "secret:" }
upstreams = ["opanai", "openai", "openai"]
[upstreams.openai]
url = "https://api.openai.com"
headers = { authorization = "Bearer secret:OPENAI-KEY" }
[secrets.OPENAI_KEY1]
env = "A"
[key-sets.main]
hs256 = "NOPE"
"#,
        expect![[r#"
            tidegate.toml:5:13: templates.web.env.A: there is no secret `OPENAI_KEY`. Did you mean `OPENAI_KEY1`?
            tidegate.toml:5:42: templates.web.env.B: there is no secret ``. Define it in `[secrets.NAME]`
            tidegate.toml:6:14: templates.web.upstreams[0]: there is no upstream `opanai`. Did you mean `openai`?
            tidegate.toml:6:34: templates.web.upstreams[2]: `openai` stands here twice. Remove one
            tidegate.toml:9:29: upstreams.openai.headers.authorization: there is no secret `OPENAI-KEY`. Did you mean `OPENAI_KEY1`?
            tidegate.toml:13:9: key-sets.main.hs256: there is no secret `NOPE`. Define it in `[secrets.NAME]`"#]],
    );
}

#[test]
fn sources_are_exactly_one() {
    problems(
        r#"
[secrets.A]
[secrets.B]
env = "B"
file = "b"
[secrets."C D"]
env = "C"
[key-sets.none]
[key-sets.bad]
jwks = "{}"
[key-sets.worse]
jwks = "nope"
skew = "1d"
[key-sets.idle]
url = "https://id.example.org/jwks.json"
refresh = "10ms"
[key-sets.still]
file = "keys.json"
refresh = "1h"
"#,
        expect![[r#"
            tidegate.toml:2:1: secrets.A: a secret has exactly one source. Give one of `env`, `file` and `command`
            tidegate.toml:3:1: secrets.B: a secret has exactly one source. Give one of `env`, `file` and `command`
            tidegate.toml:6:10: secrets.C D: a secret's name has characters that `secret:NAME` can't have. Use letters, digits, _ and -
            tidegate.toml:8:1: key-sets.none: a key set has exactly one source. Give one of `url`, `file`, `jwks` and `hs256`
            tidegate.toml:10:8: key-sets.bad.jwks: this JSON has no `keys` array. Paste the whole document: '''{"keys": […]}'''
            tidegate.toml:12:8: key-sets.worse.jwks: this is not JSON: expected ident at line 1 column 2. Paste the whole document: '''{"keys": […]}'''
            tidegate.toml:13:8: key-sets.worse.skew: 86400s is too long: expired tokens would pass. Use 10m at most
            tidegate.toml:16:11: key-sets.idle.refresh: 10ms would keep the issuer busy. Use 1s at least
            tidegate.toml:19:11: key-sets.still.refresh: only a key set with `url` is fetched again. Remove it: other sources are read at every reload"#]],
    );
}

#[test]
fn contradictions_are_problems() {
    problems(
        r#"
[server]
listen = "127.0.0.1:80"
control = "127.0.0.1:80"
[[plugin]]
name = "a"
source = "builtin:token"
[[plugin]]
name = "a"
source = "builtin:per-user"
[templates.web]
command = ["/bin/web"]
port = 80
keep-alive = true
sleep-after = "1m"
binds = [{ source = "a", target = "/a" }, { source = "b", target = "/a" }, { source = "c", target = "/" }]
[templates.Web]
command = ["/bin/web"]
port = 80
sleep-after = "10ms"
[upstreams.bad_name]
url = "ftp://x"
[upstreams.keyed]
url = "https://user:hunter2@example.org"
headers = { "x y" = "1", content-length = "1", x-line = "a\nb" }
"#,
        expect![[r#"
            tidegate.toml:4:11: server.control: `listen` and `control` are both 127.0.0.1:80. Give each a port of its own: tenants must not reach the control API
            tidegate.toml:8:1: plugin[1]: another plugin is called `a` already. Give each a name of its own
            tidegate.toml:15:15: templates.web.sleep-after: this sandbox never sleeps: `keep-alive` is true. Remove one of the two
            tidegate.toml:16:43: templates.web.binds[1]: another bind has the target /a already. Give each a target of its own
            tidegate.toml:17:12: templates.Web: a template can't be called `Web`. Use 1 to 63 characters of a-z, 0-9 and -
            tidegate.toml:20:15: templates.Web.sleep-after: 10ms is too short: it would sleep between two requests. Use 1s or more
            tidegate.toml:21:12: upstreams.bad_name: an upstream can't be called `bad_name`. Use 1 to 63 characters of a-z, 0-9 and -: it becomes part of a host name
            tidegate.toml:22:7: upstreams.bad_name.url: expected an http or https URL without query and credentials, found "ftp://x". Write it like `"https://api.example.org/v1"`
            tidegate.toml:24:7: upstreams.keyed.url: this URL carries credentials, or is none. Put them into `headers`, like `authorization = "Bearer secret:NAME"`
            tidegate.toml:25:21: upstreams.keyed.headers.x y: this is not the name of a header field. Use letters, digits and -
            tidegate.toml:25:43: upstreams.keyed.headers.content-length: this header field can't be set: it frames the message. Remove it
            tidegate.toml:25:57: upstreams.keyed.headers.x-line: this has characters that a header field can't have. Remove line ends and control characters"#]],
    );
}

#[test]
fn syntax_errors_stand_alone_with_their_place() {
    problems(
        "[server\nlisten = 1\n[[plugin]]\nname = \n",
        expect![[r#"
        tidegate.toml:1:8: unclosed table, expected `]`. See https://toml.io for the syntax.
        tidegate.toml:4:8: string values must be quoted, expected literal string. See https://toml.io for the syntax."#]],
    );
    problems(
        "[server]\ndrain = \"1s\"\ndrain = \"2s\"\n",
        expect!["tidegate.toml:3:1: duplicate key. See https://toml.io for the syntax."],
    );
}

#[test]
fn a_file_that_cannot_be_read_is_one_problem() {
    let problems = tidegate_config::load(Path::new("/nonexistent/tidegate.toml"));
    expect!["/nonexistent/tidegate.toml: this file can't be read: No such file or directory (os error 2). Name another with `--config`, or let `tidegate init` write one"].assert_eq(&problems.expect_err("no file").to_string());
}

#[test]
fn relative_paths_are_relative_to_the_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("tidegate.toml");
    let base = dir.path().canonicalize().expect("there");
    let check = |typed: &str, expected: &Path| {
        std::fs::write(&path, format!("[server]\nstate-dir = \"{typed}\"\n")).expect("written");
        let config = tidegate_config::load(&path).expect("fine");
        assert_eq!(config.server.state_dir, expected, "{typed}");
    };
    check("s", &base.join("s"));
    check("./s", &base.join("s"));
    check(".", &base);
    check("..", base.parent().expect("not the root"));
    check("../s/../t", &base.parent().expect("not the root").join("s/../t"));
    check("/s", Path::new("/s"));
}

#[test]
fn a_secret_that_stands_in_the_wrong_place_is_not_printed() {
    let secret = "sk-proj-0123456789012345678901234567890123456789";
    for text in [
        format!("[key-sets.a]\nhs256 = \"{secret}\"\n"),
        format!("[upstreams.a]\nurl = \"https://x:{secret}@example.org\"\n"),
        format!("[[plugin]]\nname = \"a\"\nsource = \"https://x:{secret}@example.org/p\"\n"),
        format!(
            "[[plugin]]\nname = \"a\"\nsource = \"oci://x/p\"\ncredentials = {{ username = \"u\", password = \"{secret}\" }}\n"
        ),
        format!(
            "[upstreams.a]\nurl = \"https://x\"\nheaders = {{ authorization = \"{secret}\\n\" }}\n"
        ),
        format!(
            "[templates.a]\nport = 1\ncommand = [\"/x\"]\nenv = {{ A = \"{secret}\\u0000\" }}\n"
        ),
    ] {
        let problems = parse(&text).expect_err("problems").to_string();
        assert!(!problems.contains(secret), "{problems}");
    }
}

/// Every key of the table, with a document in which `VALUE` is its value.
fn documents() -> Vec<(&'static Key, String)> {
    let mut all = Vec::new();
    collect(&keys::FILE, &|body| body.to_owned(), &mut all);
    all
}

fn collect(
    section: &'static Section,
    wrap: &dyn Fn(&str) -> String,
    all: &mut Vec<(&'static Key, String)>,
) {
    for key in section.keys {
        all.push((key, wrap(&format!("{} = VALUE", key.name))));
        let name = key.name;
        match key.kind {
            Kind::Table(inner) => {
                collect(inner, &|body| wrap(&format!("{name} = {{ {body} }}")), all)
            }
            Kind::Tables(inner) => {
                collect(inner, &|body| wrap(&format!("{name} = [{{ {body} }}]")), all);
            }
            Kind::Named(inner) => {
                collect(inner, &|body| wrap(&format!("{name} = {{ n = {{ {body} }} }}")), all);
            }
            _ => {}
        }
    }
}

/// Problems with the value itself, whatever else is missing around it.
fn complaints_about(key: &Key, document: &str) -> Vec<String> {
    let Err(problems) = parse(document) else { return Vec::new() };
    let about = |path: &str| path.rsplit('.').any(|step| step.split('[').next() == Some(key.name));
    problems
        .0
        .iter()
        .filter(|it| about(&it.key) && it.what.starts_with("expected "))
        .map(ToString::to_string)
        .collect()
}

#[test]
fn every_key_of_the_table_is_read() {
    for (key, document) in documents() {
        // No key takes a date.
        let wrong = document.replace("VALUE", "1979-05-27");
        assert!(!complaints_about(key, &wrong).is_empty(), "nobody reads it: {wrong}");
    }
}

#[test]
fn every_example_and_default_of_the_table_is_right() {
    for (key, document) in documents() {
        let default = match key.absent {
            Absent::Default(toml) => Some(toml.to_owned()),
            Absent::Required | Absent::Means(_) => None,
        };
        for value in key.kind.example().into_iter().chain(default) {
            let document = document.replace("VALUE", &value);
            let complaints = complaints_about(key, &document);
            assert!(complaints.is_empty(), "{document}: {complaints:?}");
        }
    }
}

#[test]
fn the_examples_are_right() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut seen = 0;
    for entry in std::fs::read_dir(examples).expect("examples") {
        let path = entry.expect("an entry").path().join("tidegate.toml");
        if path.exists() {
            tidegate_config::load(&path).unwrap_or_else(|problems| panic!("{problems}"));
            seen += 1;
        }
    }
    assert!(seen > 0);
}

#[test]
fn the_configuration_that_the_guide_to_signing_in_shows_is_right() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/sign-in.md");
    let guide = std::fs::read_to_string(guide).expect("the guide");
    let blocks: Vec<_> =
        guide.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        parse(block).unwrap_or_else(|problems| panic!("{problems}:\n{block}"));
    }
}

#[test]
fn the_reference_documentation_is_fresh() {
    expect_file!["../../../docs/configuration.md"].assert_eq(&keys::reference());
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(\\PC|\n){0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_damage_to_a_good_file_makes_it_panic(at in 0..FULL.len(), cut in 0..20usize, put in "[\\[\\]{}=\".,0-9a-zé\n]{0,4}") {
        let mut bytes = FULL.as_bytes().to_vec();
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, put.bytes());
        let text = String::from_utf8_lossy(&bytes);
        if let Err(problems) = parse(&text) {
            prop_assert!(!problems.0.is_empty());
            prop_assert!(problems.0.iter().all(|it| it.line >= 1 && it.column >= 1));
        }
    }

    #[test]
    fn no_value_of_any_kind_makes_any_key_panic(value in prop_oneof![
        Just("{}".to_owned()), Just("[]".into()), Just("[[]]".into()), Just("[{}]".into()),
        Just("nan".into()), Just("-inf".into()), Just("0xffff_ffff_ffff_ffff".into()),
        Just("-1".into()), Just("\"\"".into()), Just("\"\\u0000\"".into()),
        "\"[a-z:/@é .0-9]{0,12}\"", "[0-9]{1,30}",
    ]) {
        for (_, document) in documents() {
            let _ = parse(&document.replace("VALUE", &value));
        }
    }
}
