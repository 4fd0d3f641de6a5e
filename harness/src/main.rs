//! The binary: hands the command line to the library, and ends with its exit code.

use std::panic::catch_unwind;
use std::process::ExitCode;

use harness::exit::Exit;

fn main() -> ExitCode {
    // What went wrong has been told by then; what was left behind, the next start removes.
    let exit = catch_unwind(|| harness::cli::main(std::env::args_os()));
    ExitCode::from(exit.unwrap_or(Exit::Internal).code())
}
