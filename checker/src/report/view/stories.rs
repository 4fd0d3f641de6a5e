//! What is known of each message that is missing or wrong: its evidence in order of time, and a
//! small picture of it against the faults.

use std::collections::BTreeMap;

use super::Slugs;
use super::attention;
use super::order::{OrderView, Orders};
use crate::report::chart::story;
use crate::report::data::faults::people;
use crate::report::facts::Facts;
use crate::report::glossary;
use crate::report::scene::svg;
use crate::report::text::{clip, count, moment};
use crate::report::witness;
use crate::verdict::{Evidence, Story, Whereabouts};

/// One piece of evidence.
pub struct EvidenceRow {
    /// When.
    pub time: String,
    /// Who.
    pub actor: String,
    /// What kind.
    pub kind: String,
    /// `present`, `absent`, `claimed`, or nothing.
    pub shows: &'static str,
    /// In words.
    pub says: String,
    /// The operation.
    pub op: Option<i64>,
    /// Faults in effect.
    pub faults: String,
}

/// One message.
pub struct StoryView {
    /// Identifier.
    pub id: String,
    /// `message 3 of t-0 at offset 12`
    pub title: String,
    /// Where it is, in words.
    pub whereabouts: &'static str,
    /// One sentence.
    pub sentence: String,
    /// When it was last provably there, and first provably not.
    pub turning: String,
    /// The picture.
    pub svg: String,
    /// Who saw what around its offset.
    pub order: OrderView,
    /// Evidence.
    pub rows: Vec<EvidenceRow>,
    /// Evidence that is not listed.
    pub cut: usize,
    /// Whether it is unfolded.
    pub open: bool,
}

/// Stories of one anomaly type.
pub struct Chapter {
    /// Heading.
    pub title: String,
    /// Name as in the verdict.
    pub name: String,
    /// Stretches of offsets without a gap, in words.
    pub stretches: Vec<String>,
    /// Stories.
    pub stories: Vec<StoryView>,
    /// How many are shown.
    pub shown: String,
    /// How many there are of this type in all.
    pub total: String,
    operations: Vec<i64>,
}

/// The section.
pub struct Stories {
    /// By anomaly type, the most severe first.
    pub chapters: Vec<Chapter>,
}

impl Stories {
    /// Operations that the stories name.
    #[must_use]
    pub fn operations(&self) -> Vec<i64> {
        let all = self.chapters.iter().flat_map(|chapter| &chapter.operations);
        all.copied().collect()
    }
}

/// Anomaly types whose stories are told.
const CHAPTERS: usize = 16;
/// Stories of one type with a picture.
const PICTURES: usize = 8;
/// Evidence listed per story.
const EVIDENCE: usize = 60;

/// Builds the section.
#[must_use]
pub fn stories(facts: &Facts<'_>, orders: &Orders) -> Stories {
    let mut by_type: BTreeMap<(usize, &str), Vec<&Story>> = BTreeMap::new();
    for story in facts.verdict.iter().flat_map(|verdict| &verdict.stories) {
        let name = story.anomaly.as_str();
        let place = (glossary::severity(name), name);
        by_type.entry(place).or_default().push(story);
    }
    let mut slugs = Slugs::default();
    let mut chapters = Vec::new();
    for ((_, name), stories) in by_type.into_iter().take(CHAPTERS) {
        let shown: Vec<&Story> = stories.iter().take(witness::SHOWN).copied().collect();
        let total = facts.verdict.map_or(0, |verdict| {
            let details = verdict.anomalies.get(name).or(verdict.allowed.get(name));
            let counted = details.map_or(0, |details| witness::total(verdict, name, details));
            counted.max(stories.len() as u64)
        });
        let first = chapters.is_empty();
        let chapter = slugs.unique("w", name);
        let views = shown.iter().enumerate();
        chapters.push(Chapter {
            title: glossary::title(name),
            name: name.to_owned(),
            stretches: stretches(&stories),
            stories: views
                .map(|(at, story)| {
                    let order = orders.at(facts, &story.key, story.offset);
                    let id = format!("{chapter}-{}", at + 1);
                    view(facts, story, (id, at), order, first && at == 0)
                })
                .collect(),
            shown: count(shown.len() as u64),
            total: count(total),
            operations: shown
                .iter()
                .flat_map(|story| story.evidence.iter().take(EVIDENCE))
                .filter_map(|evidence| evidence.op)
                .collect(),
        });
    }
    Stories { chapters }
}

/// Stretches listed per type.
const STRETCHES: usize = 12;

/// Neighbouring offsets usually share one fate: they are summed up.
fn stretches(stories: &[&Story]) -> Vec<String> {
    let mut places: Vec<(&str, i64)> = stories
        .iter()
        .filter_map(|story| Some((story.key.as_str(), story.offset?)))
        .collect();
    places.sort_unstable();
    places.dedup();
    let near = |a: &(&str, i64), b: &(&str, i64)| a.0 == b.0 && a.1.checked_add(1) == Some(b.1);
    let all: Vec<&[(&str, i64)]> = places.chunk_by(near).collect();
    let tell = |stretch: &&[(&str, i64)]| {
        let (key, first) = stretch[0];
        let key = clip(key, 100);
        match stretch.len() as u64 {
            1 => format!("{key}: offset {first}"),
            n => {
                let last = first + n as i64 - 1;
                format!(
                    "{key}: {} messages in a row, offsets {first}–{last}",
                    count(n)
                )
            }
        }
    };
    let mut words: Vec<String> = all.iter().take(STRETCHES).map(tell).collect();
    if all.len() > STRETCHES {
        words.push(format!("and {} further stretches", all.len() - STRETCHES));
    }
    words
}

fn view(
    facts: &Facts<'_>,
    story: &Story,
    (id, at): (String, usize),
    order: OrderView,
    open: bool,
) -> StoryView {
    let offset = story
        .offset
        .map_or_else(String::new, |offset| format!(", offset {offset}"));
    let picture = (at < PICTURES).then(|| story::strip(facts.timeline(), story));
    StoryView {
        title: format!(
            "Message {} of {}{offset}",
            clip(&people(&story.value), 100),
            clip(&story.key, 100)
        ),
        whereabouts: whereabouts(story.whereabouts),
        sentence: clip(&story.sentence, 600),
        turning: turning(&story.evidence),
        order,
        svg: picture.map_or_else(String::new, |picture| {
            svg::draw(&picture, &format!("s-{id}"))
        }),
        rows: story
            .evidence
            .iter()
            .take(EVIDENCE)
            .map(|evidence| row(facts, evidence))
            .collect(),
        cut: story.evidence.len().saturating_sub(EVIDENCE),
        id,
        open,
    }
}

fn row(facts: &Facts<'_>, evidence: &Evidence) -> EvidenceRow {
    EvidenceRow {
        time: moment(evidence.time),
        actor: clip(&evidence.actor, 80),
        kind: clip(&evidence.kind, 40),
        shows: match evidence.present {
            Some(true) if is_claim(evidence) => "claimed",
            Some(true) => "present",
            Some(false) => "absent",
            None => "",
        },
        says: clip(&evidence.says, 400),
        op: evidence.op,
        faults: attention::at(facts, evidence.time),
    }
}

/// A watermark that covers a message says that it should be there, and is no proof of it.
fn is_claim(evidence: &Evidence) -> bool {
    ["watermark", "end-offset"].contains(&evidence.kind.as_str())
}

fn turning(evidence: &[Evidence]) -> String {
    let proof = |one: &&Evidence| one.present == Some(true) && !is_claim(one);
    let last = evidence.iter().rfind(proof);
    let first = evidence
        .iter()
        .find(|one| one.present == Some(false) && last.is_none_or(|last| one.time >= last.time));
    let tell = |one: &Evidence| match one.time {
        time if time >= 0 => format!("{} ({}, {})", moment(time), one.actor, one.kind),
        _ => format!("{} ({})", one.actor, one.kind),
    };
    match (last, first) {
        (Some(last), Some(first)) => format!(
            "Last provably there: {}. First provably gone: {}.",
            tell(last),
            tell(first)
        ),
        (Some(last), None) => format!(
            "Last provably there: {}. Nothing after that proves it gone.",
            tell(last)
        ),
        (None, Some(first)) => format!(
            "Nothing proves that it was ever there. First provably not: {}.",
            tell(first)
        ),
        (None, None) => String::new(),
    }
}

fn whereabouts(place: Whereabouts) -> &'static str {
    match place {
        Whereabouts::NotYetVisible => "not yet visible",
        Whereabouts::ServedElsewhere => "on a broker, but not served to the reader",
        Whereabouts::OnNoReplica => "on no replica",
        Whereabouts::Replaced => "replaced by another record",
        Whereabouts::Unknown => "whereabouts unknown",
    }
}
