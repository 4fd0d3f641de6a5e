//! The folder of a run: everything that is known of it, and nothing that is not stored.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

/// A run's folder under `results/`.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    parent: PathBuf,
}

impl Folder {
    /// Creates `out/<UTC time>-<seed>`; a second run in the same second gets a number behind it.
    ///
    /// # Errors
    /// Where the folder cannot be created.
    pub fn create(out: &Path, seed: u64) -> io::Result<Self> {
        std::fs::create_dir_all(out)?;
        let parent = out.canonicalize()?;
        let stamp = jiff::Timestamp::now()
            .strftime("%Y%m%dT%H%M%SZ")
            .to_string();
        for attempt in 0..100 {
            let suffix = if attempt == 0 {
                String::new()
            } else {
                format!("-{attempt}")
            };
            let path = parent.join(format!("{stamp}-{seed}{suffix}"));
            match std::fs::create_dir(&path) {
                Ok(()) => {
                    std::fs::create_dir(path.join("brokers"))?;
                    return Ok(Self { path, parent });
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The run's name: that of its folder.
    #[must_use]
    pub fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Writes a file as indented JSON, whole or not at all.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn write_json(&self, name: &str, value: &Json) -> io::Result<()> {
        let half = self.file(&format!(".{name}.half"));
        let mut text = serde_json::to_string_pretty(value)?;
        text.push('\n');
        std::fs::write(&half, text)?;
        std::fs::rename(&half, self.file(name))
    }

    /// Points `latest` at this run.
    ///
    /// # Errors
    /// Where the link cannot be made.
    pub fn make_latest(&self) -> io::Result<()> {
        let half = self.parent.join(format!(".latest-{}", std::process::id()));
        // A leftover of a killed harness with our process number is of no use to anybody.
        let _ = std::fs::remove_file(&half);
        std::os::unix::fs::symlink(self.name(), &half)?;
        std::fs::rename(&half, self.parent.join("latest"))
    }

    /// The path as the user would type it: relative to where they are, if it is below.
    #[must_use]
    pub fn shown(&self, file: &str) -> String {
        let path = self.file(file);
        let here = std::env::current_dir().unwrap_or_default();
        let shown = path.strip_prefix(&here).unwrap_or(&path);
        shown.display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_run_has_its_own_folder_and_latest_is_the_newest() {
        let out = tempfile::tempdir().expect("temp dir");
        let first = Folder::create(out.path(), 7).expect("created");
        first.make_latest().expect("linked");
        let second = Folder::create(out.path(), 7).expect("created");
        assert_ne!(first.path(), second.path());
        assert!(first.name().contains("Z-7"), "{}", first.name());
        second.make_latest().expect("linked");
        second
            .write_json("run.json", &json!({"seed": 7}))
            .expect("written");
        let text = std::fs::read_to_string(out.path().join("latest/run.json")).expect("read");
        assert!(text.contains("\"seed\": 7"));
    }
}
