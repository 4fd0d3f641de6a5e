//! Somebody else's cluster that is worked by a driver: read before anything else, because it says
//! how many brokers there are and which faults are possible.

use std::sync::Arc;

use nemesis::FaultKind;

use super::block_on;
use crate::cli::RunArgs;
use crate::exit::Exit;
use crate::runtime::docker::ComposeDriver;
use crate::runtime::driver::{Driver, FileDriver};

/// The driver that is asked for, and the flags as they are with it.
///
/// # Errors
/// The exit of a file that cannot be used, of faults that it does not offer, or of brokers that
/// cannot be found; it has been said why.
pub fn read(args: &RunArgs) -> Result<(RunArgs, Option<Arc<dyn Driver>>), Exit> {
    let driver: Arc<dyn Driver> = match (&args.driver, &args.compose) {
        (None, None) => return Ok((args.clone(), None)),
        (Some(path), _) => match FileDriver::read(path) {
            Ok(driver) => Arc::new(driver),
            Err(error) => return failed(Exit::BadInput, &error),
        },
        (None, Some(path)) => match block_on(ComposeDriver::find(path)) {
            Ok(Ok(driver)) => Arc::new(driver),
            Ok(Err(why)) => return failed(Exit::Infrastructure, &why),
            Err(error) => return failed(Exit::Internal, &error),
        },
    };
    let asked = block_on(async { driver.nodes().await });
    let nodes = match asked.and_then(|nodes| nodes.map_err(anyhow::Error::msg)) {
        Ok(nodes) => nodes,
        Err(error) => {
            let error = error.context(driver.name());
            return failed(Exit::Infrastructure, &format!("{error:#}"));
        }
    };
    let mut args = args.clone();
    args.brokers = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
    let offered = FaultKind::every().filter(|kind| driver.offers(*kind));
    args.driven = Some(offered.collect());
    if let Some(kind) = args.nemesis().0.iter().find(|kind| !driver.offers(**kind)) {
        let why = format!(
            "--nemesis {kind}: {} has no commands for it (see docs/bring-your-own-broker.md)",
            driver.name()
        );
        return failed(Exit::Usage, &why);
    }
    Ok((args, Some(driver)))
}

fn failed<T>(exit: Exit, why: &dyn std::fmt::Display) -> Result<T, Exit> {
    say!("error: {why}");
    Err(exit)
}
