//! The allocator of a plugin: small things lie in the room that its memory has anyway, the rest is the standard
//! library's business.
//!
//! A fresh instance is made for each call, and what costs most in one is the operating system: pages touched for the
//! first time and memory grown. A program's data ends somewhere in a page of 64 KiB, and the standard library's allocator
//! never uses what is left of it: its first byte grows the memory. Here the rest of that page comes first, handed out
//! from its start to its end; it is as good as new whenever all that lay there is freed, which after a call it is.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr;

#[global_allocator]
static MEMORY: Memory = Memory::unopened();

/// Everything is aligned to this, because the gateway asks for bytes and writes 8-byte numbers.
const ALIGNMENT: usize = 16;
const PAGE_BYTES: usize = 64 << 10;

unsafe extern "C" {
    /// Where the program's data ends; the linker knows.
    static __heap_base: u8;
}

/// Addresses: `room_start ≤ kept ≤ next ≤ room_end`.
struct Memory {
    room_start: Cell<usize>,
    /// What lies before is kept for good.
    kept: Cell<usize>,
    next: Cell<usize>,
    room_end: Cell<usize>,
    /// How many things lie from `kept` on.
    alive: Cell<usize>,
}

// SAFETY: a plugin has one thread; a component with shared memory is refused by the gateway.
unsafe impl Sync for Memory {}

/// Keeps what lies in the room now, so that the rest of it is used again and again. Called when the instance is bound.
pub fn keep() {
    MEMORY.kept.set(MEMORY.next.get());
    MEMORY.alive.set(0);
}

impl Memory {
    const fn unopened() -> Self {
        Self {
            room_start: Cell::new(0),
            kept: Cell::new(0),
            next: Cell::new(0),
            room_end: Cell::new(0),
            alive: Cell::new(0),
        }
    }

    /// Nothing else grows the memory, so before the first allocation it ends where the linker made it end.
    #[cold]
    fn open(&self) {
        let start = (&raw const __heap_base).addr();
        let end = core::arch::wasm32::memory_size(0) * PAGE_BYTES;
        self.room_start.set(start);
        self.kept.set(start);
        self.next.set(start);
        self.room_end.set(end.max(start));
    }

    fn is_in_room(&self, place: *mut u8) -> bool {
        (self.room_start.get()..self.room_end.get()).contains(&place.addr())
    }

    /// Where something of this layout begins and ends, if it fits into the room.
    fn place(&self, layout: Layout) -> Option<(usize, usize)> {
        let start = self.next.get().checked_next_multiple_of(layout.align().max(ALIGNMENT))?;
        let end = start.checked_add(layout.size())?;
        (end <= self.room_end.get()).then_some((start, end))
    }
}

// SAFETY: places in the room are handed out once, from its start to its end, and again only when nothing lies there: the
// last thing is freed, or all things are. All other places are the standard library's.
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if self.room_end.get() == 0 {
            self.open();
        }
        match self.place(layout) {
            Some((start, end)) => {
                self.next.set(end);
                self.alive.set(self.alive.get() + 1);
                ptr::with_exposed_provenance_mut(start)
            }
            // SAFETY: the caller's promises are those that `System` asks for.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        if !self.is_in_room(place) {
            // SAFETY: what is not in the room came from `System`, with this layout.
            return unsafe { System.dealloc(place, layout) };
        }
        if place.addr() < self.kept.get() {
            return;
        }
        self.alive.set(self.alive.get() - 1);
        if self.alive.get() == 0 {
            self.next.set(self.kept.get());
        } else if place.addr() + layout.size() == self.next.get() {
            self.next.set(place.addr());
        }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !self.is_in_room(place) {
            // SAFETY: as in `dealloc`.
            return unsafe { System.realloc(place, layout, size) };
        }
        let is_last = place.addr() >= self.kept.get() && place.addr() + layout.size() == self.next.get();
        if is_last && size <= self.room_end.get() - place.addr() {
            self.next.set(place.addr() + size);
            return place;
        }
        // SAFETY: the caller promises that `size` makes a layout with this alignment and that `place` has `layout`; a new
        // place does not overlap with one that is alive.
        unsafe {
            let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !moved.is_null() {
                ptr::copy_nonoverlapping(place, moved, layout.size().min(size));
                self.dealloc(place, layout);
            }
            moved
        }
    }
}
