//! What asks without anybody wanting to use anything: one table per switch.
//!
//! A path stands as it is, or ends with `*` for whatever follows. A part of a
//! `user-agent` is in lower case, and long enough not to occur in a browser's.

/// Load balancers, orchestrators and deployment scripts ask these.
pub(crate) const HEALTH_CHECKS: &[&str] = &[
    "/-/healthy",
    "/-/ready",
    "/actuator/health*",
    "/health",
    "/health-check",
    "/health/live",
    "/health/ready",
    "/healthcheck",
    "/healthz*",
    "/livez*",
    "/readyz*",
    "/up", // Rails and Laravel
];

/// Pages about the server, which dashboards and scrapers ask for.
pub(crate) const STATUS_PAGES: &[&str] =
    &["/metrics", "/nginx_status", "/server-status", "/stub_status", "/status"];

/// Browsers and crawlers ask these by themselves.
pub(crate) const BY_THEMSELVES: &[&str] = &[
    "/.well-known/security.txt",
    "/apple-touch-icon*", // with many sizes in the name
    "/favicon.ico",
    "/robots.txt",
    "/sitemap.xml",
];

/// Search engines, model trainers, and what makes previews of links.
pub(crate) const CRAWLERS: &[&str] = &[
    "adsbot-google",
    "ahrefsbot",
    "amazonbot",
    "applebot",
    "baiduspider",
    "bingbot",
    "bytespider",
    "ccbot",
    "claudebot",
    "discordbot",
    "dotbot",
    "duckduckbot",
    "facebookexternalhit",
    "googlebot",
    "gptbot",
    "linkedinbot",
    "meta-externalagent",
    "mj12bot",
    "oai-searchbot",
    "perplexitybot",
    "petalbot",
    "semrushbot",
    "slackbot",
    "telegrambot",
    "twitterbot",
    "yandexbot",
];

/// What watches whether a service is up.
pub(crate) const MONITORS: &[&str] = &[
    "better stack",
    "better uptime",
    "blackbox exporter",
    "checkly",
    "datadogsynthetics",
    "elb-healthchecker",
    "freshping",
    "googlehc/",
    "googlestackdrivermonitoring",
    "hetrixtools",
    "kube-probe/",
    "newrelicpinger",
    "nodeping",
    "pingdom",
    "prometheus/",
    "site24x7",
    "statuscake",
    "uptime-kuma",
    "uptimerobot",
];
