//! `builtin:activity`: health checks, crawlers and the like neither wake a sandbox
//! nor keep it awake.

mod known;

use serde::Deserialize;
use tidegate_plugin::prelude::*;

struct Passive {
    methods: Vec<String>,
    paths: Vec<String>,
    /// In lower case.
    user_agents: Vec<String>,
    /// Whatever else holds.
    active_paths: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Config {
    #[serde(default = "on")]
    health_checks: bool,
    #[serde(default = "on")]
    status_pages: bool,
    #[serde(default = "on")]
    by_themselves: bool,
    #[serde(default = "on")]
    crawlers: bool,
    #[serde(default = "on")]
    monitors: bool,
    #[serde(default)]
    methods: Vec<String>,
    #[serde(default)]
    paths: Vec<String>,
    #[serde(default)]
    user_agents: Vec<String>,
    #[serde(default)]
    active_paths: Vec<String>,
}

fn on() -> bool {
    true
}

impl Plugin for Passive {
    type Config = Config;

    fn manifest() -> Manifest {
        let version = env!("CARGO_PKG_VERSION");
        let about =
            "Health checks, crawlers and the like neither wake a sandbox nor keep it awake.";
        manifest("activity", version, about, include_str!("../config.schema.json"))
    }

    fn new(config: Config) -> Result<Self, ConfigError> {
        let Config { methods, mut paths, mut user_agents, active_paths, .. } = config;
        let patterns = [("/paths", &paths), ("/active-paths", &active_paths)];
        for (at, patterns) in patterns {
            for (n, pattern) in patterns.iter().enumerate() {
                if pattern.find('*').is_some_and(|star| star + 1 < pattern.len()) {
                    let message = format!("`{pattern}`: a `*` stands at the end or nowhere");
                    return Err(ConfigError { path: format!("{at}/{n}"), message });
                }
            }
        }
        for text in &mut user_agents {
            text.make_ascii_lowercase();
        }
        let known_paths = [
            (config.health_checks, known::HEALTH_CHECKS),
            (config.status_pages, known::STATUS_PAGES),
            (config.by_themselves, known::BY_THEMSELVES),
        ];
        let known_agents = [(config.crawlers, known::CRAWLERS), (config.monitors, known::MONITORS)];
        let switched_on = |tables: &[(bool, &'static [&'static str])]| -> Vec<String> {
            let tables = tables.iter().filter(|(on, _)| *on).flat_map(|(_, table)| *table);
            tables.map(|text| (*text).to_owned()).collect()
        };
        paths.extend(switched_on(&known_paths));
        user_agents.extend(switched_on(&known_agents));
        Ok(Self { methods, paths, user_agents, active_paths })
    }
}

fn any_matches(patterns: &[String], path: &str) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(beginning) => path.starts_with(beginning),
        None => path == pattern,
    })
}

impl Passive {
    fn holds_for(&self, request: &impl Facts) -> bool {
        let path = request.path();
        if any_matches(&self.active_paths, &path) {
            return false;
        }
        if any_matches(&self.paths, &path) {
            return true;
        }
        // Each question is a call into the host: none is asked in vain.
        if !self.methods.is_empty() && self.methods.contains(&request.method()) {
            return true;
        }
        !self.user_agents.is_empty()
            && request.header_values("user-agent").iter().any(|value| {
                let agent = String::from_utf8_lossy(value).to_ascii_lowercase();
                self.user_agents.iter().any(|known| agent.contains(known))
            })
    }
}

impl Activity for Passive {
    fn classify(&self, request: &Request, _: &Sandbox) -> Result<Meaning, Failure> {
        Ok(if self.holds_for(request) { Meaning::Passive } else { Meaning::Active })
    }
}

tidegate_plugin::export!(Passive: activity);

#[cfg(test)]
mod tests {
    use super::*;

    struct Asked {
        method: &'static str,
        path: &'static str,
        agent: Option<&'static str>,
    }

    impl Facts for Asked {
        fn method(&self) -> String {
            self.method.into()
        }
        fn is_https(&self) -> bool {
            true
        }
        fn authority(&self) -> String {
            "alice.example.org".into()
        }
        fn path(&self) -> String {
            self.path.into()
        }
        fn query(&self) -> Option<String> {
            None
        }
        fn header_values(&self, name: &str) -> Vec<Vec<u8>> {
            assert_eq!(name, "user-agent");
            self.agent.iter().map(|agent| agent.as_bytes().to_vec()).collect()
        }
        fn is_websocket(&self) -> bool {
            false
        }
    }

    fn passive(config: &str) -> Result<Passive, String> {
        let config = serde_json::from_str(config).map_err(|error| error.to_string())?;
        Passive::new(config).map_err(|error| format!("{}: {}", error.path, error.message))
    }

    const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0";
    const GOOGLE: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";

    fn is_passive(config: &str, path: &'static str, agent: Option<&'static str>) -> bool {
        passive(config).expect("valid").holds_for(&Asked { method: "GET", path, agent })
    }

    #[test]
    fn usual_health_checks_crawlers_and_monitors_are_known() {
        for path in ["/healthz", "/healthz/ready", "/livez", "/metrics", "/favicon.ico", "/up"] {
            assert!(is_passive("{}", path, Some(FIREFOX)), "{path}");
        }
        for agent in [GOOGLE, "kube-probe/1.33", "UptimeRobot/2.0", "Pingdom.com_bot_version_1.4"] {
            assert!(is_passive("{}", "/", Some(agent)), "{agent}");
        }
    }

    #[test]
    fn people_and_their_programs_are_not() {
        for path in ["/", "/upload", "/health/records", "/metrics/custom", "/statuses", "/chat"] {
            assert!(!is_passive("{}", path, Some(FIREFOX)), "{path}");
        }
        for agent in [Some("curl/8.5.0"), Some("python-httpx/0.28"), Some(""), None] {
            assert!(!is_passive("{}", "/api", agent), "{agent:?}");
        }
    }

    #[test]
    fn each_table_has_a_switch_of_its_own() {
        let of = |switch: &str| format!("{{\"{switch}\": false}}");
        for (switch, path) in [
            ("health-checks", "/healthz"),
            ("status-pages", "/status"),
            ("by-themselves", "/favicon.ico"),
        ] {
            assert!(!is_passive(&of(switch), path, Some(FIREFOX)), "{switch}");
        }
        assert!(!is_passive(&of("crawlers"), "/", Some(GOOGLE)));
        assert!(is_passive(&of("monitors"), "/", Some(GOOGLE)));
        assert!(!is_passive(&of("monitors"), "/", Some("kube-probe/1.33")));
    }

    #[test]
    fn an_operators_own_are_added_and_exceptions_go_first() {
        let config = r#"{
            "paths": ["/internal/*", "/tick"],
            "user-agents": ["Our-Probe"],
            "methods": ["HEAD"],
            "active-paths": ["/healthz/deep"]
        }"#;
        assert!(is_passive(config, "/internal/x", Some(FIREFOX)));
        assert!(is_passive(config, "/tick", None) && !is_passive(config, "/tick/tock", None));
        assert!(is_passive(config, "/", Some("our-PROBE 1.0")));
        assert!(!is_passive(config, "/healthz/deep", Some(GOOGLE)));
        let head = Asked { method: "HEAD", path: "/", agent: None };
        assert!(passive(config).expect("valid").holds_for(&head));
        assert!(!passive("{}").expect("valid").holds_for(&head));
    }

    #[test]
    fn a_star_in_the_middle_is_refused_with_its_place() {
        let refused = passive(r#"{"paths": ["/a", "/*/health"]}"#).err();
        let expected = "/paths/1: `/*/health`: a `*` stands at the end or nowhere";
        assert_eq!(refused.as_deref(), Some(expected));
    }

    #[test]
    fn no_part_of_a_user_agent_occurs_in_a_browsers() {
        for text in known::CRAWLERS.iter().chain(known::MONITORS) {
            assert_eq!(*text, text.to_ascii_lowercase());
            assert!(!FIREFOX.to_ascii_lowercase().contains(text), "{text}");
        }
    }
}
