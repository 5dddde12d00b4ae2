//! Components from real files, a real HTTPS server and a real registry.

mod files;
mod https;
mod registry;

use std::path::Path;

use tidegate_plugin_source::{Fetcher, FetcherConfig, Source, Wanted};
use tidegate_types::PluginName;

/// Any bytes will do: what is in a component is the policy host's affair.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0 a component";

fn fetcher(dir: &Path) -> Fetcher {
    trusting(dir, None)
}

fn trusting(dir: &Path, root: Option<&Path>) -> Fetcher {
    let extra_roots = root.map(Path::to_owned).into_iter().collect();
    Fetcher::new(FetcherConfig { dir: dir.join("plugins"), extra_roots }).expect("a fetcher")
}

fn wanted(source: Source) -> Wanted {
    let name = PluginName::new("gatekeeper").expect("a name");
    Wanted { name, source, sha256: None, verify_key: None, credentials: None }
}
