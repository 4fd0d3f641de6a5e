//! The font of the pictures: DejaVu Sans, compiled in, so that nothing depends on what is
//! installed. Browsers draw the page's pictures with their own font; DejaVu is wider than
//! nearly all of them, so words that fit here fit there.

use std::sync::OnceLock;

use ab_glyph::{Font, FontRef, PxScale, ScaleFont};

fn face(bold: bool) -> &'static FontRef<'static> {
    static FACES: OnceLock<[FontRef<'static>; 2]> = OnceLock::new();
    let faces = FACES.get_or_init(|| {
        [dejavu::sans::regular(), dejavu::sans::bold()]
            .map(|bytes| FontRef::try_from_slice(bytes).expect("the compiled-in font is a font"))
    });
    &faces[usize::from(bold)]
}

/// The scale at which the em square has `size` pixels.
fn scale(font: &FontRef<'static>, size: f64) -> PxScale {
    let units = f64::from(font.units_per_em().unwrap_or(2048.0));
    PxScale::from((size * f64::from(font.height_unscaled()) / units) as f32)
}

/// Width of a line of text whose em square has `size` pixels.
#[must_use]
pub fn width(text: &str, size: f64, bold: bool) -> f64 {
    let font = face(bold);
    let scaled = font.as_scaled(scale(font, size));
    text.chars()
        .map(|c| f64::from(scaled.h_advance(scaled.glyph_id(c))))
        .sum()
}

/// The text, cut with an ellipsis so that it is at most `room` pixels wide.
#[must_use]
pub fn fit(text: &str, size: f64, bold: bool, room: f64) -> String {
    if width(text, size, bold) <= room {
        return text.to_owned();
    }
    let mut cut = String::new();
    for c in text.chars() {
        cut.push(c);
        if width(&cut, size, bold) + width("…", size, bold) > room {
            cut.pop();
            break;
        }
    }
    cut.push('…');
    cut
}

/// Calls `dot` with x, y and coverage (0 to 1) of every pixel of a line of text that begins at
/// `origin` on the baseline.
pub fn draw(
    text: &str,
    size: f64,
    bold: bool,
    origin: (f64, f64),
    mut dot: impl FnMut(i32, i32, f32),
) {
    let font = face(bold);
    let px = scale(font, size);
    let scaled = font.as_scaled(px);
    let mut pen = origin.0 as f32;
    for c in text.chars() {
        let id = scaled.glyph_id(c);
        let glyph = id.with_scale_and_position(px, ab_glyph::point(pen, origin.1 as f32));
        if let Some(outline) = font.outline_glyph(glyph) {
            let bounds = outline.px_bounds();
            let (left, top) = (bounds.min.x as i32, bounds.min.y as i32);
            outline.draw(|x, y, cover| dot(left + x as i32, top + y as i32, cover));
        }
        pen += scaled.h_advance(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_do_not_fit_are_cut_until_they_do() {
        let long = "isolate the leader of batch-3 from everybody";
        let cut = fit(long, 11.0, false, 100.0);
        assert!(cut.ends_with('…') && width(&cut, 11.0, false) <= 100.0);
        assert_eq!(fit("kill", 11.0, false, 100.0), "kill");
    }

    #[test]
    fn width_grows_with_size_and_weight() {
        assert!(width("partition", 12.0, false) < width("partition", 13.0, false));
        assert!(width("partition", 12.0, false) < width("partition", 12.0, true));
        assert_eq!(width("", 12.0, false), 0.0);
    }
}
