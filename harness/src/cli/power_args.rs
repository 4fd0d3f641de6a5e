//! Flags of `harness power`.

use std::path::PathBuf;

use clap::Args;

/// Which runs.
#[derive(Clone, Debug, Args)]
pub struct PowerArgs {
    /// Folders of runs, or runs' own folders.
    #[arg(value_name = "DIR", default_value = "results")]
    pub dirs: Vec<PathBuf>,
    /// Take runs of different builds of harness and broker for one sort. What they support is then
    /// about all these builds together.
    #[arg(long)]
    pub across_builds: bool,
    /// One JSON list on standard output.
    #[arg(long)]
    pub json: bool,
}
