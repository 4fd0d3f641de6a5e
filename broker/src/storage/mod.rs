//! The one place where files are touched (the seam that simulation replaces).
