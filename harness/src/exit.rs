//! Exit codes of every command of the harness and of the checker.
//!
//! They are part of the interface: scripts and nightly jobs decide by them. Usage errors are 64,
//! never clap's own 2, because 2 means that a verdict could not be reached.

/// Why a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The history shows nothing that its profile forbids, and the run exercised what it claims.
    Valid = 0,
    /// A forbidden anomaly was found.
    Invalid = 1,
    /// A bound was hit, or there was too little data to tell.
    Unknown = 2,
    /// What the run was to exercise did not happen.
    Vacuous = 3,
    /// Nothing was lost, but progress stopped.
    Stalled = 4,
    /// The cluster never came up, or a fault could not be healed.
    Infrastructure = 5,
    /// The command line is wrong.
    Usage = 64,
    /// A history or another input file is malformed.
    BadInput = 65,
    /// A defect of the harness itself.
    Internal = 70,
}

impl Exit {
    /// Every exit, in the order of its code.
    pub const ALL: &'static [Exit] = &[
        Exit::Valid,
        Exit::Invalid,
        Exit::Unknown,
        Exit::Vacuous,
        Exit::Stalled,
        Exit::Infrastructure,
        Exit::Usage,
        Exit::BadInput,
        Exit::Internal,
    ];

    /// The number that the process ends with.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The meaning in a few words, for `--help`.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Exit::Valid => "valid: nothing forbidden was seen, and the run proves something",
            Exit::Invalid => "invalid: a forbidden anomaly was found",
            Exit::Unknown => "unknown: a bound was hit, or there was too little data",
            Exit::Vacuous => "vacuous: what the run was to exercise did not happen",
            Exit::Stalled => "stalled: nothing lost, but progress stopped",
            Exit::Infrastructure => "infrastructure: no cluster, or a fault that would not heal",
            Exit::Usage => "usage: the command line is wrong",
            Exit::BadInput => "bad input: a file is malformed",
            Exit::Internal => "internal error of the harness",
        }
    }
}

/// The table of exit codes as `--help` prints it.
#[must_use]
pub fn table() -> String {
    let mut text = String::from("Exit codes:\n");
    for exit in Exit::ALL {
        text.push_str(&format!("  {:>2}  {}\n", exit.code(), exit.meaning()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_that_scripts_rely_on() {
        let codes: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 64, 65, 70]);
    }
}
