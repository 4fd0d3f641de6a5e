//! Draws the picture of each type of anomaly, as `checker explain --png` does, and puts them all on
//! one page.
//!
//! `cargo run -p checker --example gallery -- FOLDER`

#[path = "../tests/gallery/table.rs"]
mod table;

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;

use checker::explain::explain;
use checker::history::read::read_path;
use checker::report::scene::{Theme, png, svg};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args()
        .nth(1)
        .ok_or("give a folder for the pictures")?;
    let folder = PathBuf::from(folder);
    std::fs::create_dir_all(&folder)?;
    let mut page = String::from("<!doctype html><meta charset=\"utf-8\"><title>Anomalies</title>");
    for case in table::cases() {
        let (options, anomaly) = (case.options(), case.kind.name());
        let history = read_path(&case.path("bad"))?;
        let told = explain(&history, &options, &format!("{anomaly}/1").parse()?)?;
        let file = case.name().replace('/', "-");
        let picture = svg::document(&told.picture, Theme::Light);
        std::fs::write(folder.join(format!("{file}.svg")), &picture)?;
        png::write(
            &told.picture,
            Theme::Light,
            &folder.join(format!("{file}.png")),
        )?;
        write!(page, "<h2>{}</h2><p>{}</p><ol>", case.name(), told.sentence)?;
        for step in &told.steps {
            write!(page, "<li>{}</li>", step.says)?;
        }
        let (place, arguments) = (case.place("bad"), case.arguments());
        let command = format!("checker explain {place} {anomaly}/1{arguments}");
        let definition = case.file();
        write!(page, "</ol><p><code>{command}</code> ({definition})</p>")?;
        write!(page, "<img alt=\"\" src=\"{file}.svg\">")?;
    }
    let index = folder.join("index.html");
    std::fs::write(&index, page)?;
    println!("{}", index.display());
    Ok(())
}
