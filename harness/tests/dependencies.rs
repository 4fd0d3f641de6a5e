//! Dependencies point one way: the harness knows broker, checker and nemesis; these three do not
//! know each other, nor the harness. A checker that could see the broker would be no black box.

use std::collections::BTreeSet;
use std::path::Path;

const CRATES: [&str; 4] = ["broker", "checker", "harness", "nemesis"];

/// Crates of this workspace that `name` depends on, for building, running or testing.
fn siblings_of(name: &str) -> BTreeSet<String> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("crates lie in the workspace");
    let text = std::fs::read_to_string(workspace.join(name).join("Cargo.toml")).expect("manifest");
    let manifest: toml::Table = text.parse().expect("a manifest is TOML");
    let mut tables: Vec<&toml::Table> = Vec::new();
    collect(&manifest, &mut tables);
    let named = tables.into_iter().flat_map(toml::Table::keys);
    named
        .filter(|dependency| CRATES.contains(&dependency.as_str()) && *dependency != name)
        .cloned()
        .collect()
}

/// Every `dependencies`, `dev-dependencies`, `build-dependencies`, those of targets included.
fn collect<'a>(table: &'a toml::Table, into: &mut Vec<&'a toml::Table>) {
    for (name, value) in table {
        let Some(inner) = value.as_table() else {
            continue;
        };
        if name.ends_with("dependencies") {
            into.push(inner);
        } else if name == "target" || table.len() == 1 || name.starts_with("cfg(") {
            collect(inner, into);
        }
    }
}

#[test]
fn the_harness_knows_the_three_others() {
    let known = siblings_of("harness");
    let expected = ["broker", "checker", "nemesis"].map(str::to_owned);
    assert_eq!(known, BTreeSet::from(expected));
}

#[test]
fn the_three_others_know_nobody() {
    for name in ["broker", "checker", "nemesis"] {
        assert_eq!(siblings_of(name), BTreeSet::new(), "{name}");
    }
}
