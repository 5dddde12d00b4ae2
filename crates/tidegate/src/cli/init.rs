//! `tidegate init`

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::failure::Failure;
use super::find::Place;
use super::text::print;

const TEMPLATE: &str = include_str!("init.toml");

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  tidegate init\n  tidegate init /etc/tidegate/tidegate.toml")]
pub(super) struct Init {
    /// Where to write it; never over a file that is there [default: what `--config` names, else
    /// tidegate.toml]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Init {
    pub(super) fn run(self, place: &Place) -> Result<(), Failure> {
        let named = self.file.or_else(|| place.config.clone());
        write(&named.unwrap_or_else(|| PathBuf::from("tidegate.toml")))
    }
}

fn write(file: &Path) -> Result<(), Failure> {
    let shown = file.display();
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(file)
        .and_then(|mut file| file.write_all(TEMPLATE.as_bytes()));
    match written {
        Ok(()) => print(&format!(
            "{shown} is written. It needs a token for the first user:\n  \
                 export ANN_TOKEN=$(openssl rand -hex 32)\n\
                 Then:\n  tidegate check --config {shown}\n  tidegate serve --config {shown}\n"
        )),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Failure::wrong(
            format!("`{shown}` is there already"),
            "Name another file, or remove that one",
        )),
        Err(error) => Err(Failure::new(
            format!("`{shown}` cannot be written: {error}"),
            "Name a file in a directory that this user may write",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_has_no_problem() {
        let config = tidegate_config::parse(TEMPLATE, "tidegate.toml", Path::new("/etc/tidegate"));
        let config = config.unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!((config.plugins.len(), config.templates.len()), (2, 1));
    }

    #[test]
    fn a_file_that_is_there_is_kept() {
        let dir = std::env::temp_dir().join(format!("tidegate-init-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("made");
        let file = dir.join("tidegate.toml");
        assert!(write(&file).is_ok());
        std::fs::write(&file, "mine").expect("written");
        assert!(write(&file).is_err());
        assert_eq!(std::fs::read_to_string(&file).expect("read"), "mine");
        std::fs::remove_dir_all(&dir).expect("removed");
    }
}
