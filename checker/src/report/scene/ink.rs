//! Colours by role, for both themes. The palette is Okabe and Ito's (2008), which people with
//! any colour vision tell apart; where a member has less than 3:1 contrast on a white ground
//! (orange, sky blue, yellow) the light theme takes a darker shade of it.
//!
//! This table is the only place where colours of pictures are written: the style sheet's
//! variables are generated from it.

use std::fmt::Write as _;

/// Ground on which a picture is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    /// Dark on white.
    Light,
    /// Light on black.
    Dark,
}

/// What a colour means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// Behind everything.
    Ground,
    /// Words.
    Text,
    /// Less important words.
    Muted,
    /// Lines that help the eye.
    Grid,
    /// Axes.
    Axis,
    /// It happened.
    Ok,
    /// It may have happened.
    Info,
    /// It did not happen.
    Fail,
    /// Messages read.
    Read,
    /// Something is wrong.
    Alarm,
    /// One of several series: partitions, brokers, followers.
    Series(usize),
    /// A kind of fault.
    Fault(FaultInk),
}

/// Kinds of faults, as far as pictures tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultInk {
    /// The network is cut.
    Partition,
    /// A process is killed.
    Kill,
    /// A process stands still.
    Pause,
    /// Traffic is late.
    Delay,
    /// Anything else.
    Other,
}

/// Lines over a surface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hatch {
    /// Up to the right: `/`.
    Rising(FaultInk),
    /// Up to the left: `\`.
    Falling(FaultInk),
    /// Both.
    Crossed(FaultInk),
    /// Upright.
    Upright(FaultInk),
    /// Level.
    Level(FaultInk),
}

/// How many series have a colour of their own; further ones begin again.
pub const SERIES: usize = 8;

/// Name, colour on light, colour on dark.
type Row = (&'static str, u32, u32);

const SERIES_ROWS: [Row; SERIES] = [
    ("s0", 0x0072b2, 0x56b4e9),
    ("s1", 0xd55e00, 0xe69f00),
    ("s2", 0x009e73, 0x009e73),
    ("s3", 0xc0608f, 0xcc79a7),
    ("s4", 0x16191d, 0xf0e442),
    ("s5", 0xa87300, 0xd55e00),
    ("s6", 0x3a93c9, 0xe8eaed),
    ("s7", 0x857d00, 0x3f8fc4),
];

const FIXED_ROWS: [Row; 15] = [
    ("ground", 0xffffff, 0x14181d),
    ("text", 0x16191d, 0xe8eaed),
    ("muted", 0x57606d, 0xa4adb8),
    ("grid", 0xe4e7eb, 0x2b323a),
    ("axis", 0x98a1ab, 0x5c6773),
    ("ok", 0x0072b2, 0x56b4e9),
    ("info", 0xd55e00, 0xe69f00),
    ("fail", 0xb0467c, 0xcc79a7),
    ("read", 0x009e73, 0x1db489),
    ("alarm", 0xc24e00, 0xff8f3f),
    ("partition", 0xd55e00, 0xe69f00),
    ("kill", 0x16191d, 0xe8eaed),
    ("pause", 0x0072b2, 0x56b4e9),
    ("delay", 0xb0467c, 0xcc79a7),
    ("fault", 0x009e73, 0x1db489),
];

impl FaultInk {
    /// Every kind, in the order of the table.
    pub const ALL: [FaultInk; 5] = [
        FaultInk::Partition,
        FaultInk::Kill,
        FaultInk::Pause,
        FaultInk::Delay,
        FaultInk::Other,
    ];

    /// The hatch of this kind.
    #[must_use]
    pub fn hatch(self) -> Hatch {
        match self {
            FaultInk::Partition => Hatch::Rising(self),
            FaultInk::Kill => Hatch::Crossed(self),
            FaultInk::Pause => Hatch::Upright(self),
            FaultInk::Delay => Hatch::Level(self),
            FaultInk::Other => Hatch::Falling(self),
        }
    }
}

impl Hatch {
    /// The ink of the lines.
    #[must_use]
    pub fn ink(self) -> Ink {
        let (Hatch::Rising(ink)
        | Hatch::Falling(ink)
        | Hatch::Crossed(ink)
        | Hatch::Upright(ink)
        | Hatch::Level(ink)) = self;
        Ink::Fault(ink)
    }

    /// Which lines it has: rising, falling, upright, level.
    #[must_use]
    pub fn lines(self) -> [bool; 4] {
        match self {
            Hatch::Rising(_) => [true, false, false, false],
            Hatch::Falling(_) => [false, true, false, false],
            Hatch::Crossed(_) => [true, true, false, false],
            Hatch::Upright(_) => [false, false, true, false],
            Hatch::Level(_) => [false, false, false, true],
        }
    }

    /// Distance between lines, in CSS pixels.
    pub const STEP: f64 = 7.0;
}

impl Ink {
    fn row(self) -> Row {
        let at = match self {
            Ink::Series(n) => return SERIES_ROWS[n % SERIES],
            Ink::Ground => 0,
            Ink::Text => 1,
            Ink::Muted => 2,
            Ink::Grid => 3,
            Ink::Axis => 4,
            Ink::Ok => 5,
            Ink::Info => 6,
            Ink::Fail => 7,
            Ink::Read => 8,
            Ink::Alarm => 9,
            Ink::Fault(FaultInk::Partition) => 10,
            Ink::Fault(FaultInk::Kill) => 11,
            Ink::Fault(FaultInk::Pause) => 12,
            Ink::Fault(FaultInk::Delay) => 13,
            Ink::Fault(FaultInk::Other) => 14,
        };
        FIXED_ROWS[at]
    }

    /// The name of its variable and class in the style sheet.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// Red, green and blue.
    #[must_use]
    pub fn rgb(self, theme: Theme) -> (u8, u8, u8) {
        let (_, light, dark) = self.row();
        let hex = match theme {
            Theme::Light => light,
            Theme::Dark => dark,
        };
        ((hex >> 16) as u8, (hex >> 8) as u8, hex as u8)
    }
}

fn rows() -> impl Iterator<Item = &'static Row> {
    FIXED_ROWS.iter().chain(SERIES_ROWS.iter())
}

/// Declarations of the variables of one theme, for a style sheet.
#[must_use]
pub fn variables(theme: Theme) -> String {
    rows().fold(String::new(), |mut css, (name, light, dark)| {
        let hex = match theme {
            Theme::Light => light,
            Theme::Dark => dark,
        };
        let _ = write!(css, "--{name}:#{hex:06x};");
        css
    })
}

/// Classes by which pictures take their colours from the variables.
#[must_use]
pub fn classes() -> String {
    rows().fold(String::new(), |mut css, (name, ..)| {
        let _ = write!(
            css,
            ".f-{name}{{fill:var(--{name})}}.l-{name}{{stroke:var(--{name});fill:none}}"
        );
        css
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn luminance(hex: u32) -> f64 {
        let channel = |shift: u32| {
            let c = f64::from((hex >> shift) & 0xff) / 255.0;
            if c <= 0.040_45 {
                c / 12.92
            } else {
                ((c + 0.055) / 1.055).powf(2.4)
            }
        };
        0.2126 * channel(16) + 0.7152 * channel(8) + 0.0722 * channel(0)
    }

    fn contrast(a: u32, b: u32) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn every_colour_that_carries_meaning_is_seen_on_both_grounds() {
        let (_, light_ground, dark_ground) = Ink::Ground.row();
        for (name, light, dark) in rows() {
            let need = match *name {
                "ground" | "grid" | "axis" => continue,
                "text" | "muted" => 4.5,
                _ => 3.0,
            };
            assert!(contrast(*light, light_ground) >= need, "{name} on light");
            assert!(contrast(*dark, dark_ground) >= need, "{name} on dark");
        }
    }
}
