//! Schedules written and read again, and what is said of mistakes.

use nemesis::{FaultKind, Platform, Schedule, ScheduleSpec};

use super::*;

const ROOM: Limits = Limits {
    nodes: 3,
    partitions: 6,
    main_ms: 90_000,
    platform: Platform::Sim,
};

fn spec(kinds: Vec<FaultKind>) -> ScheduleSpec {
    ScheduleSpec {
        kinds,
        nodes: ROOM.nodes,
        partitions: ROOM.partitions,
        main_ms: ROOM.main_ms,
        clients: false,
        overlap: false,
        random: false,
    }
}

fn parse(text: &str) -> Result<ScheduleFile, Mistake> {
    ScheduleFile::parse("s.toml", text.to_owned())
}

/// What is said of a text, and on which line.
fn said(text: &str) -> (usize, String) {
    let mistake = match parse(text) {
        Err(mistake) => mistake,
        Ok(file) => file.check(&ROOM).expect_err("there is a mistake"),
    };
    (mistake.line, mistake.what)
}

#[test]
fn every_schedule_that_is_drawn_is_read_back_as_it_was() {
    for kind in FaultKind::every() {
        for seed in 0..20 {
            let schedule = Schedule::generate(seed, &spec(vec![kind])).expect("drawn");
            assert!(!schedule.faults.is_empty());
            let text = to_toml(&schedule, &[("seed".to_owned(), toml::Value::Integer(1))]);
            let read = parse(&text).unwrap_or_else(|mistake| panic!("{mistake}"));
            assert_eq!(read.faults(), schedule.faults, "{text}");
        }
    }
    for platform in [Platform::Docker, Platform::Sim] {
        for seed in 0..200 {
            let spec = ScheduleSpec {
                random: true,
                ..spec(FaultKind::offered(platform).collect())
            };
            let schedule = Schedule::generate(seed, &spec).expect("drawn");
            let read = parse(&to_toml(&schedule, &[])).expect("read");
            assert_eq!(read.faults(), schedule.faults);
            let room = Limits { platform, ..ROOM };
            assert_eq!(read.check(&room), Ok(()));
        }
    }
}

#[test]
fn any_field_that_is_misspelt_or_of_another_sort_is_told_at_its_line() {
    let kinds = FaultKind::every();
    for kind in kinds {
        let schedule = Schedule::generate(3, &spec(vec![kind])).expect("drawn");
        let text = to_toml(&schedule, &[]);
        let lines: Vec<&str> = text.lines().collect();
        let fields = lines.iter().enumerate();
        let fields = fields.filter(|(_, line)| line.contains(" = "));
        for (number, line) in fields {
            let (name, value) = line.split_once(" = ").expect("a field");
            let other = |line: String| {
                let mut lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
                lines[number] = line;
                parse(&lines.join("\n"))
            };
            let mistake = other(format!("{name}x = {value}")).expect_err("misspelt");
            assert_eq!(mistake.line, number + 1, "{mistake}");
            let meant = format!("did you mean `{name}`?");
            assert!(mistake.what.contains(&meant), "{mistake}");
            let mistake = other(format!("{name} = \"rubbish\"")).expect_err("of another sort");
            assert_eq!(mistake.line, number + 1, "{mistake}");
            assert_eq!(mistake.column, name.len() + 4, "{mistake}");
        }
    }
}

#[test]
fn names_that_are_nearly_right_are_corrected() {
    let target = |target: &str| {
        let text = format!("[[fault]]\nat-ms = 1\nfor-ms = 5\nkind = \"kill\"\ntarget = {target}");
        said(&text)
    };
    let (line, what) = target("{ role = \"leadr\", partition = 0 }");
    assert_eq!(line, 5);
    assert!(what.contains("did you mean `leader`?"), "{what}");
    let (line, what) = target("{ role = \"leader\", partiton = 0 }");
    assert_eq!(line, 5);
    assert!(what.contains("did you mean `partition`?"), "{what}");
    let (_, what) = target("{ role = \"leader\", partition = 6 }");
    assert!(what.contains("they are 0 to 5"), "{what}");
    let (_, what) = target("{ role = \"node\", node = 4 }");
    assert!(what.contains("they are 1 to 3"), "{what}");
    let (line, what) = said("[[fault]]\nat-ms = 1\nfor-ms = 5\nkind = \"kil\"");
    assert_eq!(line, 4);
    assert!(what.contains("did you mean `kill`?"), "{what}");
    let (line, what) = said("[[fault]]\nat-ms = 1\nfor-ms = 5\nkind = \"one-way\"");
    assert_eq!(line, 4);
    assert!(what.contains("--dry-run=toml"), "{what}");
    let (line, what) = said("\n[[falt]]\n");
    assert_eq!(line, 2);
    assert!(what.contains("did you mean `fault`?"), "{what}");
}

#[test]
fn what_is_missing_or_out_of_time_is_told() {
    let kill = "kind = \"kill\"\ntarget = { role = \"controller\" }\n";
    let (line, what) = said(&format!("[[fault]]\nat-ms = 1\n{kill}"));
    assert_eq!((line, what.as_str()), (1, "this fault lacks `for-ms`"));
    let (_, what) = said("[[fault]]\nat-ms = 1\nfor-ms = 5\nkind = \"kill\"");
    assert_eq!(what, "this fault lacks `target`");
    let (line, what) = said(&format!("[[fault]]\nat-ms = 1\nfor-ms = 90_000\n{kill}"));
    assert_eq!(line, 3);
    assert!(what.contains("after the main phase of 90 s"), "{what}");
    let (line, what) = said(&format!(
        "[[fault]]\nat-ms = 1\nfor-ms = 5_000\n{kill}\n[[fault]]\nat-ms = 3_000\nfor-ms = \
         5_000\n{kill}"
    ));
    assert_eq!(line, 9);
    assert!(what.contains("fault 1 (line 1)"), "{what}");
    let (line, what) = said(&format!("[[fault]]\nat-ms = -1\nfor-ms = 5\n{kill}"));
    assert_eq!(line, 2);
    assert!(what.contains("whole number of milliseconds"), "{what}");
}

#[test]
fn faults_are_counted_in_order_of_time_and_need_their_runtime() {
    let kill = "for-ms = 5\nkind = \"kill\"\ntarget = { role = \"controller\" }\n";
    let file = parse(&format!(
        "[[fault]]\nat-ms = 900\n{kill}[[fault]]\nat-ms = 100\n{kill}"
    ));
    let faults = file.expect("read").faults();
    let times: Vec<(u32, u64)> = faults.iter().map(|fault| (fault.id, fault.at_ms)).collect();
    assert_eq!(times, [(1, 100), (2, 900)]);
    let full = "[[fault]]\nat-ms = 1\nfor-ms = 5\nkind = \"disk-full\"\n\
                target = { role = \"controller\" }\n";
    let file = parse(full).expect("read");
    assert_eq!(file.check(&ROOM), Ok(()));
    let docker = Limits {
        platform: Platform::Docker,
        ..ROOM
    };
    let mistake = file.check(&docker).expect_err("containers have none");
    assert!(mistake.what.contains("--runtime"), "{mistake}");
}
