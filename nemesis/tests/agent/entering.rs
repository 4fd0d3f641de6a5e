//! `enter`: exit codes, signals, and the end of everybody inside.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::lab::{AGENT, possible};

/// With a process namespace, and as where there is none.
const WAYS: [&[&str]; 2] = [&["enter"], &["enter", "--no-process-namespace"]];

fn enter(way: &[&str], script: &str) -> Command {
    let mut command = Command::new(AGENT);
    command.args(way).args(["--", "sh", "-c", script]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

fn line(child: &mut Child) -> String {
    let mut line = String::new();
    let output = child.stdout.as_mut().unwrap();
    BufReader::new(output).read_line(&mut line).unwrap();
    line.trim().to_owned()
}

pub fn keeps_exit_codes_and_passes_signals_on() {
    if !possible("keeps_exit_codes_and_passes_signals_on") {
        return;
    }
    for way in WAYS {
        let status = enter(way, "exit 7").status().unwrap();
        assert_eq!(status.code(), Some(7), "{way:?}");
        let status = enter(way, "kill -KILL $$").status().unwrap();
        assert_eq!(status.code(), Some(128 + 9), "{way:?}");
        let root = "test $(id -u) = 0 && test $(ls /sys/class/net 2>/dev/null | wc -l) -ge 0";
        assert!(enter(way, root).status().unwrap().success(), "{way:?}");
        let waiting = "trap 'exit 5' TERM; echo ready; while true; do read line || exit 6; done";
        let mut child = enter(way, waiting).spawn().unwrap();
        assert_eq!(line(&mut child), "ready");
        kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
        // The shell looks at its traps between two commands, and the signal may come after a line.
        let mut input = child.stdin.take().unwrap();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            // It may have gone by now.
            let _ = input.write_all(b"\n");
            std::thread::sleep(Duration::from_millis(2)); // a poll's pause
        };
        assert_eq!(status.code(), Some(5), "{way:?}");
    }
    let status = Command::new(AGENT)
        .args(["enter", "--", "/no/such/program"])
        .status();
    assert_eq!(status.unwrap().code(), Some(127));
}

pub fn takes_everybody_along_when_killed() {
    if !possible("takes_everybody_along_when_killed") {
        return;
    }
    // Everybody has the pipe to this test open: it ends when the last of them has ended. With a
    // process namespace that holds for whoever is inside; without one for the command itself
    // (what it starts is told by it to die with it, as the harness does with brokers).
    let scripts = [
        "setsid sh -c 'echo ready; exec sleep 1000' & wait",
        "echo ready; exec sleep 1000",
    ];
    for (way, script) in WAYS.into_iter().zip(scripts) {
        let mut child = enter(way, script).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        assert!(output.read_line(&mut String::new()).unwrap() > 0, "{way:?}");
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        let begun = Instant::now();
        let mut rest = String::new();
        while output.read_line(&mut rest).unwrap() > 0 {}
        assert!(begun.elapsed() < Duration::from_secs(30), "{way:?}");
    }
}
