//! Plugins of `plugins/` that aren't embedded in the gateway: they are there for
//! tests.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

/// The file of plugin `name`'s component, built once per run.
pub(crate) fn component(name: &'static str) -> PathBuf {
    static BUILT: LazyLock<Mutex<HashMap<&str, PathBuf>>> = LazyLock::new(Mutex::default);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let path = built.entry(name).or_insert_with(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../plugins");
        let toolchain = tidegate_plugin_build::toolchain().expect("a compiler for WASM");
        let components =
            tidegate_plugin_build::build(&toolchain, &root.join("plugins"), &scratch, &[name]);
        let component = components.expect("builds").remove(0);
        // Whole at once: another run may read it.
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.wasm"));
        let fresh = path.with_extension(std::process::id().to_string());
        std::fs::write(&fresh, component).expect("it is written");
        std::fs::rename(&fresh, &path).expect("it is put in place");
        path
    });
    path.clone()
}
