//! The agent's binary: one order, one line of JSON, an exit code (0 done, 1 not done, 64 usage).

use std::io;
use std::process::ExitCode;

use clap::Parser;
use nemesis::agent::cli::{Cli, EnterArgs, HoldArgs, LinkArgs, Order};
use nemesis::agent::link::Links;
use nemesis::agent::{AgentReply, echo, enter, hold, work};
use nix::sched::{CloneFlags, unshare};

const USAGE: u8 = 64;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            let asked = !error.use_stderr();
            return ExitCode::from(if asked { 0 } else { USAGE });
        }
    };
    let reply = match cli.order.command() {
        Ok(command) => work::obey(&command),
        Err(order) => reply(run(order)),
    };
    println!("{}", serde_json::json!(reply));
    ExitCode::from(u8::from(!reply.ok))
}

fn run(order: Order) -> io::Result<()> {
    match order {
        Order::Hold(HoldArgs { new_network }) => {
            if new_network {
                unshare(CloneFlags::CLONE_NEWNET)?;
            }
            Links::open()?.up("lo")?;
            hold::run(|| println!("{}", serde_json::json!(reply(Ok(())))))
        }
        Order::Link(LinkArgs {
            name,
            address,
            prefix,
        }) => {
            let mut links = Links::open()?;
            links.add_address(&name, address, prefix)?;
            links.up(&name)
        }
        Order::Enter(EnterArgs {
            check,
            no_process_namespace,
            command,
        }) => {
            let processes = !no_process_namespace;
            if check {
                enter::choose(processes).map(|_| ())
            } else {
                enter::run(&command, processes).map(|never| match never {})
            }
        }
        Order::Echo(args) => echo::run(&args.port),
        // `Order::command` takes these.
        _ => Err(io::Error::other("not a command of the agent itself")),
    }
}

fn reply(done: io::Result<()>) -> AgentReply {
    AgentReply {
        ok: done.is_ok(),
        error: done.err().map(|error| error.to_string()),
        ..AgentReply::default()
    }
}
