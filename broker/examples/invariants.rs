//! Prints the invariants with the places where each is asserted and checked and the seeded bugs
//! that trip it, and the catalogue of seeded bugs, as Markdown.

fn main() {
    println!("# Invariants\n\n{}", broker::invariants::markdown());
    println!("# Seeded bugs\n\n{}", broker::chaos::catalogue::markdown());
}
