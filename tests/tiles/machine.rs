//! Tile registers where the processor has none: each of their instructions raises SIGILL, and the handler does what Intel's
//! manual (volume 2, AMX) says it does, on registers of its own, and goes on behind it. What the manual forbids ends the
//! process with a message.

use std::cell::UnsafeCell;
use std::sync::Once;

const TILES: usize = 8;
const ROW: usize = 64;
const ROWS: usize = 16;

/// Registers of one thread.
struct Machine {
    /// Rows and bytes per row; none before LDTILECFG.
    shape: [(usize, usize); TILES],
    bytes: [[[u8; ROW]; ROWS]; TILES],
    /// Instructions done.
    count: usize,
}

thread_local! {
    static MACHINE: UnsafeCell<Machine> = const {
        UnsafeCell::new(Machine { shape: [(0, 0); TILES], bytes: [[[0; ROW]; ROWS]; TILES], count: 0 })
    };
}

/// Makes tile instructions work in this process, on processors that lack them.
pub fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler touches its thread's registers and what the instruction names, nothing else.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction =
                handle as extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) as usize;
            action.sa_flags = libc::SA_SIGINFO;
            assert_eq!(libc::sigaction(libc::SIGILL, &action, std::ptr::null_mut()), 0);
        }
    });
}

/// How many instructions this thread has had done for it.
pub fn count() -> usize {
    // SAFETY: no handler of this thread runs meanwhile. The compiler does not see those that ran: read anew.
    MACHINE.with(|machine| unsafe { (&raw const (*machine.get()).count).read_volatile() })
}

extern "C" fn handle(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the system passes the context of the thread that stopped at an instruction; nobody else uses its registers.
    unsafe {
        let registers = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
        MACHINE.with(|machine| {
            let machine = &mut *machine.get();
            match machine.step(registers) {
                Ok(length) => registers[libc::REG_RIP as usize] += length as i64,
                Err(message) => {
                    eprintln!("{message}");
                    libc::abort();
                }
            }
        });
    }
}

/// Registers of the system's context in the order of their numbers in instructions.
const NUMBERED: [i32; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

/// An instruction of the VEX encoding with three bytes of prefix, map 0F38, W0, 128 bits.
struct Instruction {
    opcode: u8,
    /// pp: 0 none, 1 of 66, 2 of F3, 3 of F2.
    prefix: u8,
    /// Tile numbers in the fields reg, vvvv and rm.
    reg: usize,
    vvvv: usize,
    rm: usize,
    memory: Option<Place>,
    length: usize,
}

/// A memory operand: its address without the index, and the scaled index, which is the stride of rows.
#[derive(Clone, Copy)]
struct Place {
    base: i64,
    index: Option<i64>,
}

impl Instruction {
    unsafe fn decode(registers: &[i64; 23]) -> Result<Instruction, String> {
        let rip = registers[libc::REG_RIP as usize];
        // SAFETY: an instruction has up to 15 bytes; those read here belong to it.
        let byte = |offset: usize| unsafe { *((rip + offset as i64) as *const u8) };
        let [first, second, third] = [0, 1, 2].map(byte);
        if first != 0xc4 || second & 0x1f != 2 || third & 0x84 != 0 {
            let bytes: Vec<u8> = (0..8).map(byte).collect();
            return Err(format!("an illegal instruction that is none of tiles: {bytes:02x?}"));
        }
        // R, X and B are stored inverted.
        let [r, x, b] = [7, 6, 5].map(|bit| usize::from(second >> bit & 1 == 0) * 8);
        let modrm = usize::from(byte(4));
        let (mode, reg, rm) = (modrm >> 6, (modrm >> 3 & 7) + r, (modrm & 7) + b);
        let (memory, length) = match mode {
            3 => (None, 5),
            // SAFETY: as above.
            _ => unsafe { Place::decode(registers, mode, rm, [x, b]) },
        };
        let vvvv = usize::from(!(third >> 3) & 15);
        Ok(Instruction { opcode: byte(3), prefix: third & 3, reg, vvvv, rm, memory, length })
    }
}

impl Place {
    /// Of an instruction with these fields, and its length.
    unsafe fn decode(
        registers: &[i64; 23],
        mode: usize,
        rm: usize,
        [x, b]: [usize; 2],
    ) -> (Option<Place>, usize) {
        let rip = registers[libc::REG_RIP as usize];
        // SAFETY: they belong to the instruction.
        let byte = |offset: usize| unsafe { *((rip + offset as i64) as *const u8) };
        let register = |number: usize| registers[NUMBERED[number] as usize];
        let sib = (rm & 7 == 4).then(|| usize::from(byte(5)));
        let of_base = sib.map_or(rm, |sib| (sib & 7) + b);
        // Without a displacement, number 5 means none.
        let base = (mode != 0 || of_base & 7 != 5).then(|| register(of_base));
        let index = sib.map(|sib| match (sib >> 3 & 7) + x {
            4 => 0,
            number => register(number) << (sib >> 6),
        });
        let at = if sib.is_some() { 6 } else { 5 };
        let (displacement, size) = match (mode, base) {
            (1, _) => (i64::from(byte(at) as i8), 1),
            // SAFETY: as above.
            (2, _) | (0, None) => {
                (i64::from(unsafe { ((rip + at as i64) as *const i32).read_unaligned() }), 4)
            }
            _ => (0, 0),
        };
        // Without base and index an address is relative to the next instruction.
        let relative = if base.is_none() && sib.is_none() { rip + (at + size) as i64 } else { 0 };
        (Some(Place { base: base.unwrap_or(relative) + displacement, index }), at + size)
    }
}

impl Machine {
    /// Does the instruction at which the thread stands; returns its length.
    unsafe fn step(&mut self, registers: &[i64; 23]) -> Result<usize, String> {
        // SAFETY: `registers` are those of a thread at an instruction.
        let instruction = unsafe { Instruction::decode(registers)? };
        let Instruction { opcode, prefix, reg, vvvv, rm, memory, length } = instruction;
        match (opcode, prefix, memory) {
            // SAFETY: (in these) the program that is tested vouches for its addresses.
            (0x49, 0, Some(place)) => unsafe { self.configure(place)? },
            (0x49, 0, None) if reg == 0 && rm == 0 => self.shape = [(0, 0); TILES],
            (0x49, 3, None) if rm == 0 => {
                self.shape_of(reg)?;
                self.bytes[reg] = [[0; ROW]; ROWS];
            }
            (0x4b, 3 | 1, Some(place)) => unsafe { self.load(reg, place)? },
            (0x4b, 2, Some(place)) => unsafe { self.store(reg, place)? },
            (0x5c, 2, None) => self.multiply(reg, rm, vvvv)?,
            _ => {
                return Err(format!("an unknown instruction of tiles: opcode {opcode:02x}, prefix {prefix}"));
            }
        }
        self.count += 1;
        Ok(length)
    }

    unsafe fn configure(&mut self, place: Place) -> Result<(), String> {
        let address = place.base + place.index.unwrap_or(0);
        // SAFETY: the operand of LDTILECFG has 64 bytes.
        let bytes = unsafe { (address as *const [u8; 64]).read_unaligned() };
        let reserved = bytes[2..16].iter().chain(&bytes[32..48]).chain(&bytes[56..]).any(|&byte| byte != 0);
        if bytes[0] != 1 || bytes[1] != 0 || reserved {
            return Err(format!("LDTILECFG of another palette, or with reserved bytes: {bytes:?}"));
        }
        for tile in 0..TILES {
            let columns = usize::from(u16::from_le_bytes([bytes[16 + 2 * tile], bytes[17 + 2 * tile]]));
            let rows = usize::from(bytes[48 + tile]);
            if columns > ROW || rows > ROWS || (columns == 0) != (rows == 0) {
                return Err(format!("LDTILECFG of {rows} rows of {columns} bytes"));
            }
            self.shape[tile] = (rows, columns);
        }
        self.bytes = [[[0; ROW]; ROWS]; TILES];
        Ok(())
    }

    fn shape_of(&self, tile: usize) -> Result<(usize, usize), String> {
        match self.shape.get(tile) {
            Some(&(rows, columns)) if rows > 0 => Ok((rows, columns)),
            _ => Err(format!("tile {tile} is not configured")),
        }
    }

    fn strided(place: Place) -> Result<impl Fn(usize) -> *mut u8, String> {
        let stride = place.index.ok_or("rows of a tile need an address with an index")?;
        Ok(move |row: usize| (place.base + row as i64 * stride) as *mut u8)
    }

    unsafe fn load(&mut self, tile: usize, place: Place) -> Result<(), String> {
        let ((rows, columns), row_at) = (self.shape_of(tile)?, Self::strided(place)?);
        self.bytes[tile] = [[0; ROW]; ROWS];
        for row in 0..rows {
            // SAFETY: the program that is tested vouches for its addresses.
            unsafe { row_at(row).copy_to(self.bytes[tile][row].as_mut_ptr(), columns) };
        }
        Ok(())
    }

    unsafe fn store(&self, tile: usize, place: Place) -> Result<(), String> {
        let ((rows, columns), row_at) = (self.shape_of(tile)?, Self::strided(place)?);
        for row in 0..rows {
            // SAFETY: as in `load`.
            unsafe { row_at(row).copy_from(self.bytes[tile][row].as_ptr(), columns) };
        }
        Ok(())
    }

    /// TDPBF16PS: sums of the earlier and of the later products of pairs apart, added before they go to C; multiply-adds rounded
    /// to nearest, subnormal operands and results count as zero.
    fn multiply(&mut self, c: usize, a: usize, b: usize) -> Result<(), String> {
        let ((rows, columns), (rows_a, depth), (rows_b, columns_b)) =
            (self.shape_of(c)?, self.shape_of(a)?, self.shape_of(b)?);
        let distinct = c != a && c != b && a != b;
        if !distinct || rows != rows_a || columns != columns_b || rows_b != depth / 4 {
            return Err(format!("TDPBF16PS of tiles {c}, {a} and {b} of shapes {:?}", self.shape));
        }
        let half = |tile: usize, row: usize, at: usize| {
            let bytes = &self.bytes[tile][row];
            flush(f32::from_bits(u32::from(u16::from_le_bytes([bytes[at], bytes[at + 1]])) << 16))
        };
        let mut result = self.bytes[c];
        for (m, n) in (0..rows).flat_map(|m| (0..columns / 4).map(move |n| (m, n))) {
            let sum = |part: usize| {
                let product = |sum: f32, k: usize| {
                    flush(half(a, m, 4 * k + 2 * part).mul_add(half(b, k, 4 * n + 2 * part), sum))
                };
                (0..rows_b).fold(0.0, product)
            };
            let entry = &mut result[m][4 * n..4 * n + 4];
            let before = flush(f32::from_le_bytes(entry.try_into().expect("four bytes")));
            let after = flush(before + flush(sum(0) + sum(1)));
            entry.copy_from_slice(&after.to_le_bytes());
        }
        self.bytes[c] = result;
        Ok(())
    }
}

fn flush(value: f32) -> f32 {
    if value.is_subnormal() { 0f32.copysign(value) } else { value }
}
