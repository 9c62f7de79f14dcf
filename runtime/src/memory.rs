//! Zeroed memory with the alignment that generated code expects.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

use crate::Error;

/// Bytes of a cache line, and of the widest vector register.
pub const CACHE_LINE: usize = 64;
/// Bytes of a page: the arena starts on one.
pub const PAGE: usize = 4096;

/// Bytes of a large page where processors have them.
const LARGE_PAGE: usize = 2 << 20;
/// Bytes from which memory is worth large pages.
const LARGE: usize = 4 * LARGE_PAGE;

/// An owned, zeroed, aligned piece of memory. Pages that nobody has written take no room: the system gives them as zeros.
pub struct AlignedMemory {
    start: NonNull<u8>,
    bytes: usize,
    /// What was allocated: as much again as alignment may cost. Rust's allocator writes zeros itself where a type's own
    /// alignment is larger than the system's.
    allocated: NonNull<u8>,
    layout: Layout,
}

// Plain bytes, owned by this value alone; threads share it only through the pool's jobs.
unsafe impl Send for AlignedMemory {}
unsafe impl Sync for AlignedMemory {}

impl AlignedMemory {
    /// `bytes` zeroed bytes (at least one line) at a multiple of `align`, a power of two.
    pub fn zeroed(bytes: usize, align: usize) -> Result<Self, Error> {
        let refused = || Error::new(format!("this machine refused {bytes} bytes of memory"));
        let bytes = bytes.max(CACHE_LINE);
        // Whole large pages, so that what lies beside is not drawn in.
        let align = if bytes >= LARGE { align.max(LARGE_PAGE) } else { align };
        let room = bytes.checked_add(align).ok_or_else(refused)?;
        let layout = Layout::from_size_align(room, align_of::<u64>()).map_err(|_| refused())?;
        // SAFETY: the size is not zero.
        let allocated = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(refused)?;
        let offset = allocated.align_offset(align);
        // SAFETY: the offset is below `align`, which the room was enlarged by.
        let start = unsafe { allocated.add(offset) };
        if bytes >= LARGE {
            ask_for_large_pages(start, bytes);
        }
        Ok(AlignedMemory { start, bytes, allocated, layout })
    }

    pub fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Bytes.
    pub fn size(&self) -> usize {
        self.bytes
    }

    pub fn bytes(&self) -> &[u8] {
        // SAFETY: initialised at allocation, and borrowed with `self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.size()) }
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.size()) }
    }
}

/// Patches of an image lie on more pages than a processor remembers the places of; of large ones it takes few. Many
/// systems give them to those who ask; others give them anyway or never, so that the answer does not matter.
#[cfg(target_os = "linux")]
fn ask_for_large_pages(start: NonNull<u8>, bytes: usize) {
    let whole = bytes / LARGE_PAGE * LARGE_PAGE;
    // SAFETY: the range lies in memory that was just allocated; the advice changes none of its contents.
    unsafe { libc::madvise(start.as_ptr().cast(), whole, libc::MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn ask_for_large_pages(_: NonNull<u8>, _: usize) {}

impl AlignedMemory {
    /// `len` floats at a byte offset that is a multiple of 4.
    pub fn floats_mut(&mut self, offset: usize, len: usize) -> &mut [f32] {
        let bytes = &mut self.bytes_mut()[offset..offset + 4 * len];
        // SAFETY: every bit pattern is an f32, and the memory starts on a cache line at least.
        let (head, floats, _) = unsafe { bytes.align_to_mut() };
        assert!(head.is_empty(), "misaligned offset {offset}");
        floats
    }
}

impl Drop for AlignedMemory {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.allocated.as_ptr(), self.layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_zero_and_aligned() {
        for (bytes, align) in [(0, 64), (100, 64), (5000, PAGE), (1 << 20, PAGE)] {
            let mut memory = AlignedMemory::zeroed(bytes, align).unwrap();
            assert_eq!(memory.as_ptr() as usize % align, 0);
            assert_eq!(memory.size(), bytes.max(CACHE_LINE));
            assert!(memory.bytes().iter().all(|byte| *byte == 0));
            memory.bytes_mut().fill(1);
        }
        assert!(AlignedMemory::zeroed(usize::MAX - 8, 64).is_err());
    }
}
