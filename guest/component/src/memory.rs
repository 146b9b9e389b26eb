//! The component's allocator: a small arena for what one call needs, in front of the system's allocator.
//!
//! A call leaves nothing behind: what it allocates is gone when its result has been read. So its blocks are cut from
//! an arena one after the other, and when the last of them is freed the arena is empty again: neither end costs more
//! than a few instructions. What does not fit goes to the system's allocator, and so does everything that
//! [`lasting`] makes. If a block of a call did stay, the arena would only fill up; nothing would be lost.
#![expect(unsafe_code, reason = "an allocator hands out raw memory")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};
use std::mem::MaybeUninit;

/// Bytes of the arena: room for all that a common exchange's largest call allocates. Pages that are not used cost
/// nothing.
const SIZE: usize = 256 << 10;

#[global_allocator]
static MEMORY: Memory = Memory {
    arena: Arena(UnsafeCell::new([MaybeUninit::uninit(); SIZE])),
    open: Cell::new(false),
    next: Cell::new(0),
    live: Cell::new(0),
};

/// Does what makes things to be kept; then, calls may use the arena.
pub fn lasting<T>(make: impl FnOnce() -> T) -> T {
    MEMORY.open.set(false);
    let made = make();
    MEMORY.open.set(true);
    made
}

struct Memory {
    arena: Arena,
    /// Whether blocks are cut from the arena.
    open: Cell<bool>,
    /// Where the next block is cut. INVARIANT: at most [`SIZE`], and no live block reaches beyond it.
    next: Cell<usize>,
    /// How many blocks of the arena are in use.
    live: Cell<usize>,
}

#[repr(align(16))]
struct Arena(UnsafeCell<[MaybeUninit<u8>; SIZE]>);

// SAFETY: a component has one thread.
unsafe impl Sync for Memory {}

impl Memory {
    fn start(&self) -> *mut u8 {
        self.arena.0.get().cast()
    }

    /// Where in the arena a block begins; none if it is the system's.
    fn offset(&self, block: *mut u8) -> Option<usize> {
        let offset = block.addr().wrapping_sub(self.start().addr());
        (offset < SIZE).then_some(offset)
    }

    /// Cuts a block; none if there is no room.
    fn cut(&self, layout: Layout) -> Option<*mut u8> {
        let start = self.start().addr();
        let address = start.wrapping_add(self.next.get()).checked_next_multiple_of(layout.align())?;
        let offset = address.wrapping_sub(start);
        let end = offset.checked_add(layout.size())?;
        if end > SIZE || !self.open.get() {
            return None;
        }
        self.next.set(end);
        self.live.set(self.live.get().wrapping_add(1));
        Some(self.start().wrapping_add(offset))
    }
}

// SAFETY: a block is either the system's, and then all its calls are, or cut from the arena: between `next` as it was,
// aligned, and `next` as it is then. `next` only moves back to where a block began that was freed and was the last, or
// to the start when none is in use. So no two blocks in use overlap.
unsafe impl GlobalAlloc for Memory {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the system's.
        self.cut(layout).unwrap_or_else(|| unsafe { System.alloc(layout) })
    }

    #[inline(never)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(offset) = self.offset(block) else {
            // SAFETY: it is not the arena's, so it is the system's.
            return unsafe { System.dealloc(block, layout) };
        };
        let live = self.live.get().wrapping_sub(1);
        self.live.set(live);
        if live == 0 {
            self.next.set(0);
        } else if offset.wrapping_add(layout.size()) == self.next.get() {
            self.next.set(offset);
        }
    }

    #[inline(never)]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some(offset) = self.offset(block) else {
            // SAFETY: it is not the arena's, so it is the system's.
            return unsafe { System.realloc(block, layout, size) };
        };
        let is_last = offset.wrapping_add(layout.size()) == self.next.get();
        if is_last && size <= SIZE.wrapping_sub(offset) {
            self.next.set(offset.wrapping_add(size));
            return block;
        }
        if size <= layout.size() {
            return block;
        }
        // SAFETY: the caller promises that the size, rounded up to the alignment, is within bounds; the new block is
        // another one and is longer than the old, which is in use until it is freed.
        unsafe {
            let larger = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !larger.is_null() {
                larger.copy_from_nonoverlapping(block, layout.size());
                self.dealloc(block, layout);
            }
            larger
        }
    }
}
