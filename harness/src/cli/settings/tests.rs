//! Settings from everywhere: who wins, and what is said of mistakes.

use clap::CommandFactory as _;

use super::*;
use crate::cli::Cli;

/// Files in a folder of their own.
struct Place {
    dir: tempfile::TempDir,
    around: Surroundings,
}

impl Place {
    fn new(variables: &[(&str, &str)], project: &str, user: &str) -> Self {
        let dir = tempfile::tempdir().expect("temp dir");
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).expect("written");
            Some(path)
        };
        let own = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
        let around = Surroundings {
            variables: variables.iter().map(own).collect(),
            project: file("harness.toml", project),
            user: file("config.toml", user),
        };
        Self { dir, around }
    }

    /// The settings of a command line: value and origin by flag.
    fn resolved(&self, line: &[&str]) -> BTreeMap<String, (String, String)> {
        let clap = Cli::command();
        let words = std::iter::once(&"harness").chain(line).map(OsString::from);
        let (words, off) = without_switches(&clap, words.collect());
        let matches = clap.clone().try_get_matches_from(words).expect("parses");
        let layers = layers(&clap, &self.around).expect("understood");
        let own = match matches.subcommand() {
            Some((name, own)) => (name.to_owned(), own),
            None => (RUN.to_owned(), &matches),
        };
        let all = resolve(&clap, &own.0, Some(own.1), &off, &layers);
        let dir = format!("{}/", self.dir.path().display());
        let told = |(flag, setting): (String, Setting)| {
            let origin = setting.origin.to_string().replace(&dir, "");
            (flag, (setting.values.join(","), origin))
        };
        all.into_iter().map(told).collect()
    }

    fn mistake(&self) -> String {
        let error = layers(&Cli::command(), &self.around).expect_err("a mistake");
        let dir = format!("{}/", self.dir.path().display());
        error.to_string().replace(&dir, "")
    }
}

fn told(value: &str, origin: &str) -> (String, String) {
    (value.to_owned(), origin.to_owned())
}

#[test]
fn a_flag_wins_over_the_environment_that_over_the_project_and_that_over_the_user() {
    let place = Place::new(
        &[("HARNESS_CONSUMERS", "5"), ("PATH", "/bin")],
        "producers = 8\nconsumers = 3\n",
        "producers = 9\nconsumers = 9\npartitions = 9\n",
    );
    let all = place.resolved(&["--messages", "7"]);
    assert_eq!(all["messages"], told("7", "command line"));
    assert_eq!(all["consumers"], told("5", "HARNESS_CONSUMERS"));
    assert_eq!(all["producers"], told("8", "harness.toml:1"));
    assert_eq!(all["partitions"], told("9", "config.toml:3"));
    assert!(!all.contains_key("acks"), "nobody said anything");
    let all = place.resolved(&["run", "--consumers=1"]);
    assert_eq!(all["consumers"], told("1", "command line"));
}

#[test]
fn switches_lists_and_pairs_are_written_as_toml_has_them() {
    let project = "overlap = true\nnemesis = [\"partition\", \"kill\"]\n\
                   [topic-config]\nretention.ms = 600_000\n\
                   [bench]\nsizes = [100, 1_000]\n";
    let place = Place::new(&[("HARNESS_CUT_CLIENTS", "true")], project, "");
    let all = place.resolved(&[]);
    assert_eq!(all["overlap"], told("true", "harness.toml:1"));
    assert_eq!(all["nemesis"], told("partition,kill", "harness.toml:2"));
    assert_eq!(all["topic-config"].0, "retention.ms=600000");
    assert_eq!(all["cut-clients"], told("true", "HARNESS_CUT_CLIENTS"));
    let all = place.resolved(&["--overlap=false", "--cut-clients=true"]);
    assert_eq!(all["overlap"], told("", "command line"));
    assert_eq!(all["cut-clients"], told("true", "command line"));
    let all = place.resolved(&["bench"]);
    assert_eq!(all["sizes"], told("100,1000", "harness.toml:6"));
    assert!(!all.contains_key("overlap"));
}

#[test]
fn a_mistake_in_a_file_is_told_with_its_line_and_the_mend() {
    let mistake = |project: &str| Place::new(&[], project, "").mistake();
    let unknown = mistake("seed = 1\nmesages = 5\n");
    let first = "harness.toml:2:1: unknown setting `mesages`; did you mean `messages`?";
    assert!(unknown.starts_with(first), "{unknown}");
    let value = mistake("\nacks = \"two\"\n");
    assert!(
        value.starts_with("harness.toml:2:8: invalid value 'two'"),
        "{value}"
    );
    let sort = mistake("overlap = 1\n");
    assert!(
        sort.contains(":1:11: `overlap` takes true or false"),
        "{sort}"
    );
    let bench = mistake("[bench]\nsises = [1]\n");
    assert!(
        bench.contains(":2:1:") && bench.contains("`sizes`"),
        "{bench}"
    );
    let far = mistake("volcano = 1\n");
    assert!(far.contains("`harness config` lists them"), "{far}");
}

#[test]
fn a_mistake_in_the_environment_names_the_variable() {
    let mistake = |name: &str, value: &str| Place::new(&[(name, value)], "", "").mistake();
    let unknown = mistake("HARNESS_MESAGES", "5");
    assert!(
        unknown.contains("did you mean HARNESS_MESSAGES?"),
        "{unknown}"
    );
    let value = mistake("HARNESS_OVERLAP", "yes");
    assert!(value.starts_with("HARNESS_OVERLAP: `yes`"), "{value}");
    let number = mistake("HARNESS_POWER_LOSS_SEEDS", "0");
    assert!(number.starts_with("HARNESS_POWER_LOSS_SEEDS: "), "{number}");
    let own = [("HARNESS_INTERNAL_NAMESPACES", "1")];
    assert!(layers(&Cli::command(), &Place::new(&own, "", "").around).is_ok());
}

#[test]
fn a_setting_of_a_file_that_is_wrong_is_a_usage_error() {
    let place = Place::new(&[], "mesages = 5\n", "");
    let exit =
        |words: &[&str]| crate::cli::main_in(words.iter().map(OsString::from), &place.around);
    assert_eq!(exit(&["harness", "--dry-run"]), crate::exit::Exit::Usage);
    assert_eq!(exit(&["harness", "config"]), crate::exit::Exit::Usage);
    let lists = ["harness", "list", "workloads"];
    assert_eq!(exit(&lists), crate::exit::Exit::Valid, "it sets nothing up");
}
