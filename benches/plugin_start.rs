//! Claim: a gateway with 20 plugins of a megabyte each starts its policy host in less
//! than 200 ms when they were compiled before.
//!
//! Beside it the same without the cache, for one of them: what compiling costs. And a
//! reload in which nothing changed, which neither reads compiled code nor compiles.

use std::path::Path;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::json;
use tempfile::TempDir;
use tidegate_policy::{HostConfig, PluginSource, PluginSpec, PolicyHost};
use tidegate_types::{PluginName, TemplateName};

const PLUGINS: usize = 20;
/// Functions of the ballast: about a mebibyte.
const FUNCTIONS: usize = 6_000;

fn start(c: &mut Criterion) {
    let dir = TempDir::new().expect("a directory");
    let cache = dir.path().join("compiled");
    let all: Vec<_> = (0..PLUGINS).map(|n| spec(dir.path(), n)).collect();
    let config = |cached: bool| HostConfig {
        cache_dir: cached.then(|| cache.clone()),
        known_templates: [TemplateName::new("app").expect("a name")].into(),
        ..HostConfig::default()
    };
    let mut group = c.benchmark_group("plugin_start");
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    let one = &all[..1];
    group.bench_function("one_compiled", |b| {
        b.iter(|| PolicyHost::new(config(false), one.to_vec()).expect("loads"));
    });
    drop(PolicyHost::new(config(true), all.clone()).expect("loads"));
    group.bench_function("twenty_cached", |b| {
        b.iter(|| PolicyHost::new(config(true), all.clone()).expect("loads"));
    });
    let host = PolicyHost::new(config(true), all.clone()).expect("loads");
    group.bench_function("reload_of_twenty_unchanged", |b| {
        b.iter(|| host.reload(config(true), all.clone()).expect("loads"));
    });
    group.finish();
}

/// A first-party plugin with a module of ballast, which is compiled like the rest.
fn spec(dir: &Path, number: usize) -> PluginSpec {
    let mut component = tidegate_builtin::component("per-user").expect("first-party").to_vec();
    let ballast = ballast(number);
    // A section of a component that holds a core module, and its size in LEB128.
    component.push(1);
    let mut size = ballast.len();
    while size >= 0x80 {
        component.push((size & 0x7f) as u8 | 0x80);
        size >>= 7;
    }
    component.push(size as u8);
    component.extend(ballast);
    let path = dir.join(format!("{number}.wasm"));
    std::fs::write(&path, component).expect("writable");
    let name = PluginName::new(&format!("plugin-{number}")).expect("a name");
    let config = json!({ "template": "app", "port": 80 });
    PluginSpec { config, ..PluginSpec::new(name, PluginSource::File(path)) }
}

fn ballast(number: usize) -> Vec<u8> {
    let round = "local.get 0 i32.const 77777777 i32.mul local.get 0 i32.const 13 i32.rotl i32.add \
                 local.tee 0 i32.const 99999999 i32.xor local.set 0 ";
    let rounds = round.repeat(6);
    let function = |n: usize| {
        let constant = number * FUNCTIONS + n;
        format!(
            "(func (export \"{n}\") (param i32) (result i32) {rounds} local.get 0 i32.const {constant} i32.add)"
        )
    };
    let functions: String = (0..FUNCTIONS).map(function).collect();
    wat::parse_str(format!("(module {functions})")).expect("well-formed")
}

criterion_group!(benches, start);
criterion_main!(benches);
