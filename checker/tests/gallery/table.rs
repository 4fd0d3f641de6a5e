//! Every type of anomaly, model by model: where it is defined, and by which options it is found.

use std::path::{Path, PathBuf};

use checker::analysis::Kind;
use checker::{Model, Options};

/// One type in one model.
pub struct Case {
    pub kind: Kind,
    pub model: Model,
}

impl Case {
    pub fn name(&self) -> String {
        format!("{}/{}", self.folder(), self.kind.name())
    }

    fn folder(&self) -> &'static str {
        match self.model {
            Model::Kafka => "kafka",
            Model::ListAppend => "list-append",
        }
    }

    /// The good or the bad history.
    pub fn path(&self, which: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(self.place(which))
    }

    /// The same within the crate.
    pub fn place(&self, which: &str) -> String {
        format!("tests/gallery/{}/{which}.jsonl", self.name())
    }

    /// Write dependencies are drawn where it takes them; process order counts by itself where a
    /// model demands no more.
    pub fn options(&self) -> Options {
        Options {
            model: self.model,
            ww_deps: self.model == Model::Kafka && self.kind.name().starts_with("G0"),
            consistency_models: self.demanded().into_iter().map(str::to_owned).collect(),
            ..Options::default()
        }
    }

    fn demanded(&self) -> Option<&'static str> {
        let name = self.kind.name();
        match name {
            _ if name.ends_with("-process") || name.starts_with("strong-session") => {
                Some("strong-session-serializable")
            }
            _ => None,
        }
    }

    /// The same on the command line.
    pub fn arguments(&self) -> String {
        let mut arguments = String::new();
        if self.model == Model::ListAppend {
            arguments += " --model list-append";
        }
        if self.options().ww_deps {
            arguments += " --ww-deps";
        }
        if let Some(model) = self.demanded() {
            arguments += &format!(" --consistency-model {model}");
        }
        arguments
    }

    /// The file with its definition.
    pub fn file(&self) -> String {
        let name = self.kind.name();
        let of_class = ["G0", "G1c", "G-single", "G-nonadjacent", "G2"]
            .iter()
            .any(|class| name.starts_with(class));
        let file = match (self.model, self.kind) {
            (Model::Kafka, Kind::GNonadjacentItem | Kind::G2Item) => "read_skew",
            (Model::Kafka, Kind::EmptyTransactionGraph) => "cycles/mod",
            (Model::Kafka, _) if of_class => "cycles/mod",
            (Model::Kafka, _) => &snake(name),
            (_, Kind::G1a | Kind::G1b) => "list_append/g1",
            (_, Kind::Internal | Kind::FutureRead) => "list_append/internal",
            (_, Kind::DuplicateElements | Kind::IncompatibleOrder) => "list_append/orders",
            (_, Kind::UnwrittenRead | Kind::NonUniqueWrite | Kind::EmptyTransactionGraph) => {
                "list_append/mod"
            }
            (_, Kind::DirtyUpdate | Kind::LostUpdate) => &format!("list_append/{}", snake(name)),
            _ if name.ends_with("-cycle-exists") => "cycles/elle/exists",
            _ => "list_append/classes",
        };
        format!("checker/src/analysis/{file}.rs")
    }
}

fn snake(name: &str) -> String {
    name.to_lowercase().replace('-', "_")
}

/// Types that no history can show in that model, and why.
pub fn why_not(kind: Kind, model: Model) -> Option<&'static str> {
    match (model, kind) {
        (Model::Kafka, Kind::G0Process | Kind::G1cProcess) => Some(
            "a process's order lies within real-time order, which logs always have: named -realtime",
        ),
        (
            Model::ListAppend,
            Kind::ExistsPl1
            | Kind::ExistsPl2
            | Kind::ExistsPlSi
            | Kind::ExistsPl299
            | Kind::ExistsPl3
            | Kind::ExistsSessionSerializable
            | Kind::ExistsPlSs,
        ) => Some(
            "a class of cycles always shows it, and is named instead (but where a component has \
             more than two million paths)",
        ),
        _ => None,
    }
}

/// Every type of every model that a history can show.
pub fn cases() -> Vec<Case> {
    let logs = Kind::of_logs().map(|kind| Case {
        kind,
        model: Model::Kafka,
    });
    let lists = Kind::ALL.iter().filter(|kind| of_lists(**kind));
    let lists = lists.map(|&kind| Case {
        kind,
        model: Model::ListAppend,
    });
    logs.chain(lists)
        .filter(|case| why_not(case.kind, case.model).is_none())
        .collect()
}

fn of_lists(kind: Kind) -> bool {
    let of_both = [
        Kind::G1a,
        Kind::UnwrittenRead,
        Kind::NonUniqueWrite,
        Kind::EmptyTransactionGraph,
    ];
    let cycle = kind >= Kind::G0 && kind <= Kind::G1cRealtime;
    of_both.contains(&kind) || cycle || kind > Kind::NotRecovered
}
