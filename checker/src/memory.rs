//! Memory for large tables, in huge pages and grown without copying; and how much there is.
//!
//! A check fills a few tables of gigabytes once. In pages of 4 KiB that is a fault for each of a
//! million pages, taken under one lock of the process; in pages of 2 MiB it is some thousand. So
//! every allocation of several megabytes is a mapping of its own, aligned to huge pages and marked
//! for them; growing one moves its pages, not its bytes. Everything smaller is the system
//! allocator's.
//!
//! A program chooses it by `#[global_allocator] static MEMORY: LargeTables = LargeTables;`, as the
//! `checker` binary does; the library works with any allocator. Where the kernel has no huge pages
//! to give, the mappings work all the same.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;

/// Size of a huge page, and what the size of each mapping is a multiple of: the kernel aligns such
/// mappings.
const HUGE: usize = 2 << 20;

/// Smaller allocations are left to the system: rounding them up would waste memory.
const LARGE: usize = 4 << 20;

/// Mappings are aligned to pages, which nothing in a program needs more than.
const PAGE: usize = 4096;

/// Share of what is available that a check plans to take.
const SHARE: (u64, u64) = (4, 5);

/// Bytes that a check may take on this machine: most of what is available, to the system and to
/// the process's control group. As good as no limit where the system does not say.
#[must_use]
pub fn available() -> u64 {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let number = |path: &str| read(path)?.trim().parse::<u64>().ok();
    let of_system = read("/proc/meminfo").and_then(|text| {
        let line = text
            .lines()
            .find(|line| line.starts_with("MemAvailable:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    });
    let of_system = of_system.map_or(u64::MAX, |kib| kib.saturating_mul(1024));
    let group = "/sys/fs/cgroup/memory";
    let of_group = number(&format!("{group}.max")).map_or(u64::MAX, |most| {
        most.saturating_sub(number(&format!("{group}.current")).unwrap_or(0))
    });
    of_system.min(of_group) / SHARE.1 * SHARE.0
}

/// The allocator.
#[derive(Clone, Copy, Debug, Default)]
pub struct LargeTables;

fn is_large(layout: &Layout) -> bool {
    layout.size() >= LARGE && layout.align() <= PAGE
}

/// The length of the mapping that holds so many bytes; none where that is no number.
fn mapped(bytes: usize) -> Option<usize> {
    bytes.checked_next_multiple_of(HUGE)
}

/// A fresh mapping, all zeros; null where there is no room.
fn map(bytes: usize) -> *mut u8 {
    let Some(length) = mapped(bytes) else {
        return ptr::null_mut();
    };
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: an anonymous mapping at an address of the kernel's choice touches nothing else.
    let start = unsafe { libc::mmap(ptr::null_mut(), length, access, kind, -1, 0) };
    checked(start, length)
}

/// What a mapping call gave back, marked for huge pages.
fn checked(start: *mut libc::c_void, length: usize) -> *mut u8 {
    if start == libc::MAP_FAILED {
        return ptr::null_mut();
    }
    #[cfg(target_os = "linux")]
    // SAFETY: the range was mapped just now. Advice that is not taken changes nothing.
    unsafe {
        libc::madvise(start, length, libc::MADV_HUGEPAGE);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = length;
    start.cast()
}

/// Grows or shrinks a mapping; null, and no change, where there is no room.
#[cfg(target_os = "linux")]
fn remap(start: *mut u8, from: usize, to: usize) -> *mut u8 {
    let (Some(before), Some(after)) = (mapped(from), mapped(to)) else {
        return ptr::null_mut();
    };
    if before == after {
        return start;
    }
    // SAFETY: `start` is a mapping of `before` bytes that `map` or `remap` made.
    let moved = unsafe { libc::mremap(start.cast(), before, after, libc::MREMAP_MAYMOVE) };
    checked(moved, after)
}

// SAFETY: whether an allocation is a mapping follows from its layout alone, so it is given back the
// way it was made; mappings are at least as long as asked for, zeroed, and aligned to pages.
unsafe impl GlobalAlloc for LargeTables {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_large(&layout) {
            return map(layout.size());
        }
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_large(&layout) {
            return map(layout.size());
        }
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        if !is_large(&layout) {
            // SAFETY: the caller's promises are passed on.
            return unsafe { System.dealloc(start, layout) };
        }
        if let Some(length) = mapped(layout.size()) {
            // SAFETY: it is a mapping of that length, and the caller is done with it. Should the
            // kernel refuse, the memory stays mapped, which harms nobody.
            unsafe { libc::munmap(start.cast(), length) };
        }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the size, rounded up to the alignment, is a number.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (is_large(&layout), is_large(&wanted)) {
            // SAFETY: the caller's promises are passed on.
            (false, false) => unsafe { System.realloc(start, layout, size) },
            #[cfg(target_os = "linux")]
            (true, true) => remap(start, layout.size(), size),
            _ => {
                // SAFETY: a fresh allocation overlaps no other, both hold the smaller size, and the
                // old one is given back by its own layout.
                unsafe {
                    let fresh = self.alloc(wanted);
                    if !fresh.is_null() {
                        ptr::copy_nonoverlapping(start, fresh, layout.size().min(size));
                        self.dealloc(start, layout);
                    }
                    fresh
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Byte `at` of a pattern in which neighbours and pages differ.
    fn pattern(at: usize) -> u8 {
        (at ^ at >> 8 ^ at >> 16) as u8
    }

    /// Every so many bytes one is looked at.
    const STRIDE: usize = 997;

    fn fill(start: *mut u8, range: std::ops::Range<usize>) {
        for at in range.step_by(STRIDE) {
            // SAFETY: within the allocation.
            unsafe { start.add(at).write(pattern(at)) };
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn what_was_written_stays_whatever_the_sizes(
            sizes in proptest::collection::vec(
                prop_oneof![1usize..100, LARGE - 2..LARGE + 3, LARGE..4 * LARGE], 1..6),
        ) {
            let layout = |size| Layout::from_size_align(size, 16).expect("a layout");
            let mut size = sizes[0];
            // SAFETY: each call uses the allocation by the layout of its present size.
            let mut start = unsafe { LargeTables.alloc(layout(size)) };
            fill(start, 0..size);
            for &next in &sizes[1..] {
                start = unsafe { LargeTables.realloc(start, layout(size), next) };
                prop_assert!(!start.is_null());
                let kept = size.min(next);
                for at in (0..kept).step_by(STRIDE) {
                    prop_assert_eq!(unsafe { start.add(at).read() }, pattern(at));
                }
                size = next;
                fill(start, 0..size);
            }
            unsafe { LargeTables.dealloc(start, layout(size)) };
        }

        #[test]
        fn fresh_zeros_are_zeros(size in prop_oneof![1usize..100, LARGE..3 * LARGE]) {
            let layout = Layout::from_size_align(size, 8).expect("a layout");
            // SAFETY: read within the allocation, and given back by its layout.
            unsafe {
                let start = LargeTables.alloc_zeroed(layout);
                let zero = (0..size).step_by(STRIDE).all(|at| start.add(at).read() == 0);
                LargeTables.dealloc(start, layout);
                prop_assert!(zero);
            }
        }
    }

    #[test]
    fn what_cannot_be_mapped_is_refused() {
        assert!(map(usize::MAX - 5).is_null());
        assert!(map(1 << 60).is_null());
    }
}
