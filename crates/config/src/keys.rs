//! The table of all configuration keys. From it come: what the parser knows and
//! its defaults, what it says when a value is wrong, the reference documentation
//! (`docs/configuration.md`, `tidegate check --explain`), and a test that gives
//! every key a wrong value.
//!
//! Adding a key: add it here, read it in `check/`, put it into
//! [`Config`](crate::Config). Tests fail until all three are done.

/// A table of keys: `[server]`, or an inline table such as `ready = { … }`.
#[derive(Debug)]
pub struct Section {
    /// How it is written: `[templates.NAME]`, `ready = { … }`.
    pub header: &'static str,
    /// What it is for.
    pub doc: &'static str,
    /// Its keys, in the order of the documentation.
    pub keys: &'static [Key],
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// As it is typed.
    pub name: &'static str,
    /// What its value may be.
    pub kind: Kind,
    /// What happens without it.
    pub absent: Absent,
    /// What it does, why it has its default, what it does not do.
    pub doc: &'static str,
}

/// What happens when a key is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// That is a problem.
    Required,
    /// This value counts, in TOML.
    Default(&'static str),
    /// As the text says: `plain HTTP`.
    Means(&'static str),
}

/// What a value may be. Each is read by one function in `check/read.rs`.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// `"127.0.0.1:8080"`
    Address,
    /// `"/var/lib/tidegate"`
    Path,
    /// `"10s"`
    Duration,
    /// `"512MiB"`
    Size,
    /// `"512MiB"` or `"none"`
    SizeLimit,
    /// 1 to 65535
    Port,
    /// A whole number in this range.
    Integer(u64, u64),
    /// A whole number from 1, or `"none"`
    IntegerLimit,
    /// A number above 0, or `"none"`
    CoresLimit,
    /// `true` or `false`
    Bool,
    /// Text that is not empty.
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A name of a-z, 0-9 and -.
    Name,
    /// `["10.0.0.0/8"]`
    Cidrs,
    /// `["ops.example.org"]`
    Hosts,
    /// `["/bin/app", "--flag"]`
    Words,
    /// `["openai"]`
    Names,
    /// Some of these words.
    Choices(&'static [&'static str]),
    /// `["id.example.org", "*.example.org:8443", "http://localhost:9000"]`
    HostPatterns,
    /// `["CLIENT_SECRET"]`
    SecretNames,
    /// A file name without directories.
    FileName,
    /// 64 hexadecimal digits.
    Sha256,
    /// An ed25519 public key in base64.
    PublicKey,
    /// `"secret:NAME"` and nothing else.
    SecretText,
    /// `"builtin:token"`, a path, `"https://…"` or `"oci://…"`
    PluginSource,
    /// `"https://api.example.org/v1"`
    Url,
    /// `"/healthz"`
    UrlPath,
    /// An absolute path inside a sandbox.
    InsidePath,
    /// `"host"` or `{ directory = "…" }`
    Root,
    /// `{ NAME = "value" }`
    Env,
    /// `{ authorization = "Bearer secret:NAME" }`
    Headers,
    /// `{ x-forwarded-user = "subject" }`
    IdentityHeaders,
    /// Any table.
    Free,
    /// A table with these keys.
    Table(&'static Section),
    /// An array of such tables.
    Tables(&'static Section),
    /// A table of such tables, each under a name of the operator's.
    Named(&'static Section),
}

impl Kind {
    /// What is expected, in words: `a duration`.
    #[must_use]
    pub fn expected(self) -> String {
        let words = match self {
            Self::Address => "an IP address and port",
            Self::Path => "a path",
            Self::Duration => "a duration in ms, s, m, h or d",
            Self::Size => "a size in KiB, MiB, GiB or TiB",
            Self::SizeLimit => "a size in KiB, MiB, GiB or TiB, or \"none\"",
            Self::Port => "a port from 1 to 65535",
            Self::Integer(from, to) => return format!("a whole number from {from} to {to}"),
            Self::IntegerLimit => "a whole number from 1, or \"none\"",
            Self::CoresLimit => "a number of cores above 0, or \"none\"",
            Self::Bool => "true or false",
            Self::Text => "text",
            Self::Choice(words) => {
                let quoted: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
                return quoted.join(" or ");
            }
            Self::Name => "a name of 1 to 63 characters of a-z, 0-9 and -",
            Self::Cidrs => "an array of address blocks",
            Self::Hosts => "an array of host names",
            Self::Words => "an array of text, the first not empty",
            Self::Names => "an array of names of a-z, 0-9 and -",
            Self::Choices(words) => {
                let quoted: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
                return format!("an array of {}", quoted.join(", "));
            }
            Self::HostPatterns => {
                "an array of hosts, each with \"http://\" and \"*.\" before and a port behind it if need be"
            }
            Self::SecretNames => "an array of names of secrets",
            Self::FileName => "a file name without directories",
            Self::Sha256 => "a SHA-256 digest of 64 hexadecimal digits",
            Self::PublicKey => "an ed25519 public key: 32 bytes in base64",
            Self::SecretText => "\"secret:NAME\"",
            Self::PluginSource => {
                "\"builtin:NAME\", the path of a component, \"https://…\" or \"oci://…\""
            }
            Self::Url => "an http or https URL without query and credentials",
            Self::UrlPath => "a path that begins with \"/\"",
            Self::InsidePath => "an absolute path without \"..\"",
            Self::Root => "\"host\" or { directory = \"PATH\" }",
            Self::Env => "a table of text",
            Self::Headers => "a table of header fields",
            Self::IdentityHeaders => {
                "a table of header fields from \"subject\", \"tenant\" or \"claim:NAME\""
            }
            Self::Free | Self::Table(_) => "a table",
            Self::Tables(_) => "an array of tables",
            Self::Named(_) => "a table of tables, each under a name",
        };
        words.to_owned()
    }

    /// What is expected of one item or entry, where that can be said in words.
    #[must_use]
    pub fn expected_item(self) -> Option<&'static str> {
        match self {
            Self::Cidrs => Some("an address block such as \"10.0.0.0/8\""),
            Self::Hosts => Some("a host name"),
            Self::Words => Some("text"),
            Self::Names => Some("a name of 1 to 63 characters of a-z, 0-9 and -"),
            Self::Choices(_) => Some("one of the words that may stand here"),
            Self::HostPatterns => {
                Some("a host such as \"id.example.org\" or \"*.example.org:8443\"")
            }
            Self::SecretNames => Some("the name of a secret"),
            Self::IdentityHeaders => Some("\"subject\", \"tenant\" or \"claim:NAME\""),
            _ => None,
        }
    }

    /// A value that is right, in TOML; nothing for tables with keys of their own.
    #[must_use]
    pub fn example(self) -> Option<String> {
        let toml = match self {
            Self::Address => "\"127.0.0.1:8080\"",
            Self::Path => "\"some/file\"",
            Self::Duration => "\"30s\"",
            Self::Size | Self::SizeLimit => "\"512MiB\"",
            Self::Port => "8080",
            Self::Integer(from, _) => return Some(from.to_string()),
            Self::IntegerLimit => "256",
            Self::CoresLimit => "1.5",
            Self::Bool => "true",
            Self::Text => "\"text\"",
            Self::Choice(words) => return words.first().map(|word| format!("\"{word}\"")),
            Self::Name => "\"gatekeeper\"",
            Self::Cidrs => "[\"10.0.0.0/8\", \"::1\"]",
            Self::Hosts => "[\"ops.example.org\"]",
            Self::Words => "[\"/bin/app\", \"--flag\"]",
            Self::Names => "[\"openai\"]",
            Self::Choices(words) => return words.first().map(|word| format!("[\"{word}\"]")),
            Self::HostPatterns => "[\"id.example.org\", \"*.example.org:8443\"]",
            Self::SecretNames => "[\"CLIENT_SECRET\"]",
            Self::FileName => "\"audit.jsonl\"",
            Self::Sha256 => "\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"",
            Self::PublicKey => "\"11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"",
            Self::SecretText => "\"secret:REGISTRY\"",
            Self::PluginSource => "\"builtin:token\"",
            Self::Url => "\"https://api.example.org/v1\"",
            Self::UrlPath => "\"/healthz\"",
            Self::InsidePath => "\"/opt/app\"",
            Self::Root => "\"host\"",
            Self::Env => "{ LANG = \"C.UTF-8\" }",
            Self::Headers => "{ x-client = \"tidegate\" }",
            Self::IdentityHeaders => "{ x-forwarded-user = \"subject\" }",
            Self::Free => "{ anything = 1 }",
            Self::Table(_) | Self::Tables(_) | Self::Named(_) => return None,
        };
        Some(toml.to_owned())
    }

    /// The section that such a value has, if any.
    #[must_use]
    pub fn section(self) -> Option<&'static Section> {
        match self {
            Self::Table(section) | Self::Tables(section) | Self::Named(section) => Some(section),
            _ => None,
        }
    }
}

impl Section {
    /// The key of that name.
    #[must_use]
    pub fn key(&'static self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

const fn key(name: &'static str, kind: Kind, absent: Absent, doc: &'static str) -> Key {
    Key { name, kind, absent, doc }
}

use Absent::{Default as Or, Means, Required};

/// The whole file.
pub static FILE: Section = Section {
    header: "",
    doc: "Relative paths are relative to the directory of the configuration file. \
          A value may refer to a secret as `secret:NAME` where its key says so.",
    keys: &[
        key("server", Kind::Table(&SERVER), Means("all defaults"), "The gateway process."),
        key(
            "plugin",
            Kind::Tables(&PLUGIN),
            Means("every request is refused"),
            "Policy plugins, in the order in which they are asked.",
        ),
        key(
            "templates",
            Kind::Named(&TEMPLATE),
            Means("no sandbox can be made"),
            "Recipes for sandboxes.",
        ),
        key("secrets", Kind::Named(&SECRET), Means("there are none"), "Where secrets are."),
        key(
            "key-sets",
            Kind::Named(&KEY_SET),
            Means("there are none"),
            "What signed tokens are verified against.",
        ),
        key(
            "upstreams",
            Kind::Named(&UPSTREAM),
            Means("sandboxes reach nothing outside"),
            "Services outside that sandboxes may reach.",
        ),
    ],
};

/// `[server]`
pub static SERVER: Section = Section {
    header: "[server]",
    doc: "What the gateway listens on and where it keeps its state.",
    keys: &[
        key(
            "listen",
            Kind::Address,
            Or("\"127.0.0.1:8080\""),
            "Where tenants' clients connect. Port 0 takes a free one.",
        ),
        key(
            "control",
            Kind::Address,
            Or("\"127.0.0.1:8081\""),
            "Where the control API listens; never the address of `listen`. Beyond loopback, put TLS in front of it: its token would travel in the clear.",
        ),
        key(
            "control-hosts",
            Kind::Hosts,
            Or("[]"),
            "Host names under which the control API answers, besides `localhost` and IP addresses. Others are refused, so that no web page can reach it by pointing its own name here.",
        ),
        key(
            "metrics",
            Kind::Choice(&["token", "open"]),
            Or("\"token\""),
            "Who may read `/metrics`: whoever has the control token, or whoever reaches the control listener. Metrics name plugins and upstreams, never tenants.",
        ),
        key(
            "state-dir",
            Kind::Path,
            Or("\"/var/lib/tidegate\""),
            "Where everything durable lives: the ledger of sandboxes, their files, logs, the control token. One gateway at a time.",
        ),
        key(
            "tls",
            Kind::Table(&TLS),
            Means("plain HTTP"),
            "TLS on `listen`, with HTTP/2. The control listener stays plain.",
        ),
        key(
            "trusted-proxies",
            Kind::Cidrs,
            Or("[]"),
            "Peers whose `Forwarded` and `X-Forwarded-*` are believed. Everyone else's are removed.",
        ),
        key(
            "drain",
            Kind::Duration,
            Or("\"10s\""),
            "How long open requests may go on after SIGTERM; then WebSockets are closed with 1012. Sandboxes go on without the gateway.",
        ),
        key(
            "max-header-bytes",
            Kind::Integer(1024, 1_048_576),
            Or("65536"),
            "Bytes that a request's head may have; more is answered with 431.",
        ),
        key(
            "max-message",
            Kind::Size,
            Or("\"1MiB\""),
            "The longest WebSocket message where a placement asks for messages to be judged; whoever sends a longer one is closed with 1009. One such WebSocket holds up to about four times this in memory. Others aren't limited.",
        ),
        key(
            "max-component",
            Kind::Size,
            Or("\"32MiB\""),
            "The largest plugin that is loaded. A compilation can't be interrupted, and takes time and memory with a plugin's size: this bounds both. From 64KiB to 256MiB.",
        ),
        key(
            "extra-roots",
            Kind::Path,
            Means("the web's authorities alone are trusted"),
            "A PEM file of certificates to trust as well, when the gateway itself calls a service: key sets, plugins, and what plugins call. Upstreams of sandboxes aren't meant. Read at start.",
        ),
    ],
};

/// `server.tls`
pub static TLS: Section = Section {
    header: "tls = { … } in [server]",
    doc: "PEM files. Read at start and at every reload.",
    keys: &[
        key("certificate", Kind::Path, Required, "The certificate, followed by its chain."),
        key("key", Kind::Path, Required, "Its private key: PKCS #8, PKCS #1 or SEC 1."),
    ],
};

/// `[[plugin]]`
pub static PLUGIN: Section = Section {
    header: "[[plugin]]",
    doc: "A policy plugin. Plugins are asked in order; the first that does not abstain decides; when all abstain, the request is refused.",
    keys: &[
        key("name", Kind::Name, Required, "Its name in logs, metrics and listings; unique."),
        key(
            "source",
            Kind::PluginSource,
            Required,
            "Where its component comes from. `builtin:NAME`: one that comes with tidegate, such as `builtin:token`, `builtin:jwt` or `builtin:per-user`. A path: a changed file is taken over without a restart. `https://…`: fetched once, and pinned by `sha256`. `oci://HOST/NAME:TAG` or `…@sha256:HEX`: from a registry; plain HTTP only where that is on this machine.",
        ),
        key(
            "sha256",
            Kind::Sha256,
            Means("any component, except that `https://` needs it"),
            "Digest that the component must have. Another one is never loaded, wherever it comes from.",
        ),
        key(
            "verify-key",
            Kind::PublicKey,
            Means("a component needs no signature"),
            "The component must be signed by this key, as `tidegate plugin sign` does it: in `SOURCE.sig` beside a file or URL, or in the annotation `dev.tidegate.signature` of an OCI manifest. `tidegate plugin keygen` makes a pair.",
        ),
        key(
            "poll",
            Kind::Duration,
            Or("\"5m\""),
            "How often the registry is asked where a tag points now. From 5s to 7d. A digest, a URL with its `sha256` and a file need no asking.",
        ),
        key(
            "credentials",
            Kind::Table(&CREDENTIALS),
            Means("none are sent"),
            "What the server or registry of `source` is told.",
        ),
        key(
            "on-missing",
            Kind::Choice(&["exit", "closed"]),
            Or("\"exit\""),
            "What happens at start when the component can be had neither from its source nor from the copies kept of what was fetched before. `exit`: the gateway doesn't start. `closed`: it starts, refuses with 503 whatever the plugin would be asked, and goes on trying.",
        ),
        key(
            "config",
            Kind::Free,
            Or("{}"),
            "What the plugin is told. Its own schema says what may stand here; `tidegate check` asks it. Secrets stand here by name only.",
        ),
        key(
            "deadline",
            Kind::Duration,
            Or("\"10ms\""),
            "How long one call may take; a longer one is ended and the request answered with 503. From 1ms to 10s.",
        ),
        key("memory", Kind::Size, Or("\"16MiB\""), "Memory of one instance. From 1MiB to 1GiB."),
        key(
            "isolation",
            Kind::Choice(&["call", "tenant", "shared"]),
            Or("\"shared\""),
            "Who shares an instance: nobody, calls of one tenant, or all calls. `call` is the safest and costs some ten microseconds.",
        ),
        key(
            "instances",
            Kind::Integer(1, 1000),
            Or("128"),
            "How many instances there may be at once, at work and idle. A call that finds all of them at work is answered with 503; under `tenant`, as many tenants as that find theirs warm. All plugins together have 1000.",
        ),
        key(
            "http",
            Kind::Table(&PLUGIN_HTTP),
            Means("it reaches no HTTP service; one that imports `http` isn't loaded"),
            "Services that the plugin may call. For plugins that import `http`; they are asked beside the fast path.",
        ),
        key(
            "journal",
            Kind::Table(&PLUGIN_JOURNAL),
            Means("it writes none; one that imports `journal` isn't loaded"),
            "A file of lines for plugins that import `journal`, such as `builtin:audit`.",
        ),
        key(
            "allow",
            Kind::Choices(CAPABILITIES),
            Or("[]"),
            "What a new version of the plugin may do otherwise than the version that runs: hooks that it may come to answer or cease to answer, and interfaces that it may come to import. A reload that adds or drops any other is refused; a start takes the component as it is.",
        ),
    ],
};

/// In what a version of a plugin may differ from the one before: hooks, then imports.
pub const CAPABILITIES: &[&str] = &[
    "authenticate",
    "quota",
    "resolve",
    "activity",
    "messages",
    "mounts",
    "objects",
    "egress",
    "observe",
    "clock",
    "counters",
    "http",
    "journal",
    "log",
    "secrets",
    "tokens",
];

/// `plugin.credentials`
pub static CREDENTIALS: Section = Section {
    header: "credentials = { … } in [[plugin]]",
    doc: "Basic authentication, which a registry may exchange for a token of its own. Never sent unencrypted, except on this machine.",
    keys: &[
        key("username", Kind::Text, Required, "The user, as the server knows it."),
        key("password", Kind::SecretText, Required, "The secret that holds the password or token."),
    ],
};

/// `plugin.http`
pub static PLUGIN_HTTP: Section = Section {
    header: "http = { … } in [[plugin]]",
    doc: "",
    keys: &[
        key(
            "hosts",
            Kind::HostPatterns,
            Required,
            "The only hosts it may call, over https and port 443 unless it says otherwise: `*.` stands for one or more labels, `http://` for a connection that isn't encrypted.",
        ),
        key(
            "secrets",
            Kind::SecretNames,
            Or("[]"),
            "The secrets that the gateway fills in where a call's header fields or form say `secret:NAME`. The plugin never sees them, but every one of its hosts may be sent them.",
        ),
        key(
            "timeout",
            Kind::Duration,
            Or("\"5s\""),
            "How long one call may take, its answer included. From 10ms to 60s.",
        ),
        key(
            "max-body",
            Kind::Size,
            Or("\"1MiB\""),
            "Bytes that an answer's body may have. From 1KiB to 64MiB.",
        ),
    ],
};

/// `plugin.journal`
pub static PLUGIN_JOURNAL: Section = Section {
    header: "journal = { … } in [[plugin]]",
    doc: "",
    keys: &[
        key(
            "file",
            Kind::FileName,
            Required,
            "Its name in the directory `journals` of `server.state-dir`. No two plugins may share one.",
        ),
        key(
            "max-size",
            Kind::Size,
            Or("\"64MiB\""),
            "It is closed and renamed to `FILE.1` when it would grow beyond this. From 4KiB to 16GiB.",
        ),
        key(
            "keep",
            Kind::Integer(0, 1000),
            Or("5"),
            "How many such files are kept; the oldest goes first.",
        ),
    ],
};

/// `[templates.NAME]`
pub static TEMPLATE: Section = Section {
    header: "[templates.NAME]",
    doc: "A recipe for sandboxes. What runs already keeps the recipe it was started with until its next start.",
    keys: &[
        key("driver", Kind::Choice(&["linux"]), Or("\"linux\""), "What makes the sandbox real."),
        key(
            "root",
            Kind::Root,
            Or("\"host\""),
            "What the sandbox sees as `/`, read-only: the host's programs and libraries with /etc, /tmp and /home of its own, or a directory that holds a root file system.",
        ),
        key(
            "binds",
            Kind::Tables(&BIND),
            Or("[]"),
            "Directories and files of the host that appear in the sandbox, read-only.",
        ),
        key(
            "command",
            Kind::Words,
            Required,
            "The program, by its absolute path inside, and its arguments. No shell is involved.",
        ),
        key("workdir", Kind::InsidePath, Or("\"/\""), "Where the command starts, inside."),
        key(
            "env",
            Kind::Env,
            Or("{}"),
            "Environment of the command. Values may mention `secret:NAME`; such a secret is then known inside, unlike those of upstreams.",
        ),
        key("port", Kind::Port, Required, "TCP port that the application listens on."),
        key(
            "ready",
            Kind::Table(&READY),
            Means("it accepts a connection on `port` within 180s"),
            "When the application counts as started.",
        ),
        key(
            "sleep-after",
            Kind::Duration,
            Or("\"10m\""),
            "It is stopped this long after the last byte from a client. Open WebSockets alone don't keep it awake; requests in flight do. At least 1s.",
        ),
        key(
            "keep-alive",
            Kind::Bool,
            Or("false"),
            "It never sleeps by itself, and is restarted when its process dies. Excludes `sleep-after`.",
        ),
        key("stop-grace", Kind::Duration, Or("\"10s\""), "Time between SIGTERM and SIGKILL."),
        key(
            "limits",
            Kind::Table(&LIMITS),
            Means("all defaults"),
            "What one sandbox may use. What the machine can't enforce is said at start.",
        ),
        key(
            "client-address",
            Kind::Choice(&["header", "socket"]),
            Or("\"header\""),
            "How the application learns its client's address. `header`: its peer is always 100.64.0.1, the client stands in `X-Forwarded-For`. `socket`: its peer is the client's address.",
        ),
        key(
            "identity-headers",
            Kind::IdentityHeaders,
            Or("{}"),
            "Header fields that carry the identity to the application: `subject`, `tenant` or `claim:NAME`. A client's own copies are removed.",
        ),
        key("upstreams", Kind::Names, Or("[]"), "The upstreams that are reachable from inside."),
    ],
};

/// `templates.NAME.binds`
pub static BIND: Section = Section {
    header: "binds = [{ … }] in [templates.NAME]",
    doc: "Never writable: what a sandbox writes is its own.",
    keys: &[
        key("source", Kind::Path, Required, "On the host."),
        key("target", Kind::InsidePath, Required, "Inside; not `/` itself."),
    ],
};

/// `templates.NAME.ready`
pub static READY: Section = Section {
    header: "ready = { … } in [templates.NAME]",
    doc: "`tcp` or `http`, not both.",
    keys: &[
        key(
            "tcp",
            Kind::Port,
            Means("the template's `port`"),
            "It accepts a connection on this port.",
        ),
        key(
            "http",
            Kind::Table(&READY_HTTP),
            Means("`tcp` decides"),
            "It answers a GET with a status from 200 to 399.",
        ),
        key(
            "timeout",
            Kind::Duration,
            Or("\"180s\""),
            "How long that may take from the start of the process; then the start has failed.",
        ),
    ],
};

/// `templates.NAME.ready.http`
pub static READY_HTTP: Section = Section {
    header: "http = { … } in ready",
    doc: "",
    keys: &[
        key("port", Kind::Port, Means("the template's `port`"), "TCP port inside."),
        key("path", Kind::UrlPath, Or("\"/\""), "What is asked for."),
    ],
};

/// `templates.NAME.limits`
pub static LIMITS: Section = Section {
    header: "limits = { … } in [templates.NAME]",
    doc: "`\"none\"` takes a limit away.",
    keys: &[
        key(
            "memory",
            Kind::SizeLimit,
            Or("\"1GiB\""),
            "Bytes of memory, page cache of its own files included.",
        ),
        key(
            "cpu",
            Kind::CoresLimit,
            Or("\"none\""),
            "Cores. Without one, sandboxes share what there is fairly.",
        ),
        key("pids", Kind::IntegerLimit, Or("512"), "Processes and threads."),
        key(
            "disk",
            Kind::SizeLimit,
            Or("\"none\""),
            "Bytes on disk: everything that the sandbox may write.",
        ),
        key(
            "open-files",
            Kind::IntegerLimit,
            Or("\"none\""),
            "File descriptors per process; without one, the machine's own limit.",
        ),
    ],
};

/// `[secrets.NAME]`
pub static SECRET: Section = Section {
    header: "[secrets.NAME]",
    doc: "Where a secret is: exactly one of these. Names are of letters, digits, _ and -. Secrets are read at start and at every reload.",
    keys: &[
        key(
            "env",
            Kind::Text,
            Means("another source"),
            "An environment variable of the gateway's.",
        ),
        key(
            "file",
            Kind::Path,
            Means("another source"),
            "A file; one line end at its end is removed.",
        ),
        key(
            "command",
            Kind::Words,
            Means("another source"),
            "A command that prints it within 10 s.",
        ),
    ],
};

/// `[key-sets.NAME]`
pub static KEY_SET: Section = Section {
    header: "[key-sets.NAME]",
    doc: "What signed tokens are verified against: exactly one of `url`, `file`, `jwks` and `hs256`.",
    keys: &[
        key(
            "url",
            Kind::Url,
            Means("another source"),
            "Where the issuer publishes its JWKS document. Fetched at start, every `refresh`, and at most every 30 s when a token names an unknown key; never while a request waits: the request that names a new key first is refused. The last good document is kept, also over restarts.",
        ),
        key(
            "refresh",
            Kind::Duration,
            Or("\"1h\""),
            "How often `url` is asked again: how long a key that the issuer took back is still accepted. At least 1s.",
        ),
        key("file", Kind::Path, Means("another source"), "A JWKS file."),
        key(
            "jwks",
            Kind::Text,
            Means("another source"),
            "A JWKS document: JSON text with a `keys` array.",
        ),
        key(
            "hs256",
            Kind::Text,
            Means("another source"),
            "The name of the secret that is the HS256 key.",
        ),
        key("issuer", Kind::Text, Means("any"), "What a token's `iss` must be."),
        key("audience", Kind::Text, Means("any"), "What a token's `aud` must contain."),
        key(
            "skew",
            Kind::Duration,
            Or("\"60s\""),
            "How far clocks may be apart when `exp` and `nbf` are judged. At most 10m.",
        ),
    ],
};

/// `[upstreams.NAME]`
pub static UPSTREAM: Section = Section {
    header: "[upstreams.NAME]",
    doc: "A service outside, reachable as `http://NAME.upstream.internal/` in sandboxes whose template lists it. The gateway adds the credentials; they never enter a sandbox.",
    keys: &[
        key(
            "url",
            Kind::Url,
            Required,
            "Where it is; its path is put in front of what the sandbox asks for.",
        ),
        key(
            "headers",
            Kind::Headers,
            Or("{}"),
            "Set on every request, in place of what the sandbox sent. Values may mention `secret:NAME`.",
        ),
    ],
};

/// The reference documentation, in Markdown.
#[must_use]
pub fn reference() -> String {
    let mut out = String::from(
        "# Configuration\n\n\
         <!-- Generated from crates/config/src/keys.rs; `UPDATE_EXPECT=1 cargo test -p tidegate-config` writes it anew. -->\n\n\
         `tidegate.toml` is checked strictly: unknown keys are problems, and `tidegate check` shows all problems at once.\n\n",
    );
    describe(&FILE, &mut out);
    out
}

fn describe(section: &'static Section, out: &mut String) {
    if !section.header.is_empty() {
        out.push_str(&format!("## `{}`\n\n", section.header));
    }
    if !section.doc.is_empty() {
        out.push_str(&format!("{}\n\n", section.doc));
    }
    for key in section.keys {
        let absent = match key.absent {
            Absent::Required => "required".to_owned(),
            Absent::Default(toml) => format!("default `{toml}`"),
            Absent::Means(text) => format!("without it: {text}"),
        };
        out.push_str(&format!(
            "- **`{}`**: {}{}; {absent}.  \n  {}\n",
            key.name,
            key.kind.expected(),
            key.kind.example().map(|toml| format!(", such as `{toml}`")).unwrap_or_default(),
            key.doc
        ));
    }
    out.push('\n');
    for key in section.keys {
        if let Some(inner) = key.kind.section() {
            describe(inner, out);
        }
    }
}
